"""What a sweep found: its directory read as members and points, and written as tables (CSV, Markdown) and a figure.

Only reads what the runs wrote, and needs no JAX: it works beside a running sweep, and on a machine without one. A
*member* is one run of the sweep; a *point* is a combination of the swept values, with one member for each seed or fold.
"""

import collections
from collections.abc import Iterable
import csv
import dataclasses
import io
import json
import math
import os
import pathlib
from typing import Any

from digits.errors import UserError

FIGURES = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")
REPETITIONS = {"seed": "seeds", "data.fold": "folds"}  # Members that differ in these alone belong to one point.


@dataclasses.dataclass(frozen=True)
class Summary:
    """A figure over n members. `std` is the sample standard deviation, None below two members."""

    n: int
    mean: float | None
    std: float | None

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.4f}"
        return "" if self.mean is None else f"{self.mean:.4f}{spread}"

    def interval(self) -> tuple[float, float] | None:
        """The 95% confidence interval of the mean, by Student's t; None below two members."""
        if self.std is None:
            return None
        from scipy.special import stdtrit  # scipy.stats takes a second to import.

        half = float(stdtrit(self.n - 1, 0.975)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


def summarize(values: Iterable[float | None]) -> Summary:
    """Mean and standard deviation of what is not None."""
    values = [value for value in values if value is not None]
    n = len(values)
    mean = sum(values) / n if n else None
    std = math.sqrt(sum((v - mean) * (v - mean) for v in values) / (n - 1)) if n > 1 else None
    return Summary(n, mean, std)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion, `correct` of `n`: Wilson's score interval (Wilson 1927).

    It holds its level near 1 too, where mean ± 1.96 standard errors does not (Brown, Cai and DasGupta 2001).
    """
    z = 1.959963984540054  # The normal distribution's 97.5% point.
    p, spread = correct / n, z * z / n
    center = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    name: str
    values: dict[str, Any]  # Of the swept fields.
    state: str  # finished, unfinished, or how it failed: diverged, out of memory, error.
    message: str  # Of the failure.
    trained_epochs: int  # Recorded so far.
    tested_epoch: int | None
    seconds: float | None
    figures: dict[str, float | None]  # FIGURES, of the tested epoch's weights; all None unless finished.


@dataclasses.dataclass(frozen=True)
class Point:
    """The members that differ in seed and fold alone."""

    values: dict[str, Any]
    members: tuple[Member, ...]

    def summary(self, figure: str) -> Summary:
        return summarize(member.figures[figure] for member in self.members)

    def count(self, *states: str) -> int:
        return sum(member.state in states for member in self.members)

    def rest(self) -> str:
        """What did not finish: "1 diverged, 2 unfinished"."""
        states = collections.Counter(member.state for member in self.members if member.state != "finished")
        return ", ".join(f"{n} {state}" for state, n in sorted(states.items()))


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep as far as it has come."""

    folder: pathlib.Path
    config_file: str
    fields: tuple[str, ...]
    chooses: str  # The one of FIGURES that orders the points.
    validation_is_test: bool
    members: tuple[Member, ...]
    points: tuple[Point, ...]  # Best first; those without a finished member last.

    @property
    def point_fields(self) -> tuple[str, ...]:
        return tuple(field for field in self.fields if field not in REPETITIONS)

    @property
    def chosen_by_test(self) -> bool:
        return len(self.points) > 1 and (self.validation_is_test or self.chooses.startswith("test_"))


def read_sweep(folder: str | os.PathLike) -> Sweep:
    """Reads a sweep, finished or not.

    Raises:
      UserError: the folder is no sweep, or one of its files is damaged.
    """
    folder = pathlib.Path(folder).expanduser()
    path = folder / "sweep.json"
    if not path.exists():
        raise UserError(f"{folder} is no sweep, for it holds no sweep.json: name the folder that a sweep has written.")
    about = _read_object(path, config_file=str, fields=list, chooses=str, validation_is_test=bool, members=list)
    fields, chooses = tuple(about["fields"]), about["chooses"]
    if chooses not in FIGURES:
        raise UserError(f"{path} says that {chooses!r} chooses, which must be one of {', '.join(FIGURES)}.")
    if not about["members"]:
        raise UserError(f"{path} is damaged: it names no members.")
    members = []
    for entry in about["members"]:
        try:
            name, values = str(entry["name"]), {field: _with_tuples(entry["values"][field]) for field in fields}
        except (TypeError, KeyError) as error:
            raise UserError(
                f"{path} has a member without its name or a value for each swept field: {entry}."
            ) from error
        members.append(_read_member(folder / name, name, values))
    sweep = Sweep(folder, about["config_file"], fields, chooses, about["validation_is_test"], tuple(members), ())
    return dataclasses.replace(sweep, points=_points(sweep))


def _read_object(path: pathlib.Path, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """A JSON file that must be an object with these keys, each of its type."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from error
    for key, type_ in types.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), type_):
            raise UserError(f"{path} is damaged: it has no valid {key!r}.")
    return content


def _read_history(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    """The records of metrics.jsonl by epoch, without a line that a kill has torn or that is still being written."""
    if not path.exists():
        return {}
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return {record["epoch"]: record for record in records}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged: a line before the last is no record of an epoch ({error!r}).") from error


def _read_member(path: pathlib.Path, name: str, values: dict[str, Any]) -> Member:
    history = _read_history(path / "metrics.jsonl")
    state, message, tested, seconds, figures = "unfinished", "", None, None, dict.fromkeys(FIGURES)
    # The result first: a member that failed may have been run again.
    if (path / "result.json").exists():
        number = (int, float)
        result = _read_object(path / "result.json", test_loss=number, test_accuracy=number, tested_epoch=int)
        state, tested, seconds = "finished", result["tested_epoch"], result.get("seconds")
        if tested not in history:
            raise UserError(f"{path / 'metrics.jsonl'} is damaged: epoch {tested}, which was tested, is not in it.")
        figures = {key: (result if key.startswith("test_") else history[tested]).get(key) for key in FIGURES}
    elif (path / "failure.json").exists():
        failure = _read_object(path / "failure.json", kind=str, message=str)
        state, message = failure["kind"], failure["message"]
    return Member(name, values, state, message, len(history), tested, seconds, figures)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _points(sweep: Sweep) -> tuple[Point, ...]:
    groups = collections.defaultdict(list)
    for member in sweep.members:
        groups[tuple(member.values[field] for field in sweep.point_fields)].append(member)
    points = [Point(dict(zip(sweep.point_fields, key)), tuple(members)) for key, members in groups.items()]

    def rank(point: Point) -> tuple[bool, bool, float]:
        mean = point.summary(sweep.chooses).mean
        known = mean is not None and not math.isnan(mean)
        sign = 1 if sweep.chooses.endswith("loss") else -1
        return not point.count("finished"), not known, sign * mean if known else 0.0

    return tuple(sorted(points, key=rank))


def headline(sweep: Sweep) -> str:
    """What chooses among the points, and what is wrong with that."""
    if sweep.chosen_by_test:
        holds_out = '`--config.data.validation="last(10000)"` holds out a validation set'
        return f"chosen by the test set: its figures are too good; {holds_out}"
    if len(sweep.points) > 1:
        return f"chosen by {sweep.chooses}, reported on the test set"
    repetitions = [name for field, name in REPETITIONS.items() if field in sweep.fields]
    alone = "one point" if sweep.point_fields or not repetitions else " and ".join(repetitions)
    unseen = "; validation was the test set: no figure here is of unseen images" * sweep.validation_is_test
    return f"{alone} alone choose{'s' * (alone == 'one point')} nothing{unseen}"


def sweep_markdown(sweep: Sweep) -> str:
    """What chose, and the table of points: mean ± standard deviation over the n finished members of each."""
    repetitions = [name for field, name in REPETITIONS.items() if field in sweep.fields]
    interval_name = f"95% interval of {sweep.chooses}"
    rows = []
    for point in sweep.points:
        row = {field: str(value) for field, value in point.values.items()}
        row |= {"n": str(point.count("finished"))} | {figure: str(point.summary(figure)) for figure in FIGURES}
        interval = point.summary(sweep.chooses).interval() if len(sweep.points) > 1 else None
        row |= {interval_name: f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""}
        rows.append(row | {"not finished": point.rest()})
    over = f"mean ± std over n {' and '.join(repetitions)}" if repetitions else "one member a point"
    lines = [headline(sweep), "", f"`{sweep.config_file}`, {over}:", "", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, str]]) -> list[str]:
    """The lines of a Markdown table, without the columns that are empty."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    cells = [names, ["---"] * len(names)] + [[row[name].replace("|", r"\|") for name in names] for row in rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def _point_rows(sweep: Sweep) -> list[dict[str, Any]]:
    rows = []
    for point in sweep.points:
        row = point.values | {"n": point.count("finished")}
        for figure in FIGURES:
            summary = point.summary(figure)
            row |= {f"{figure}_mean": summary.mean, f"{figure}_std": summary.std}
        low, high = point.summary(sweep.chooses).interval() or (None, None)
        row |= {f"{sweep.chooses}_low": low, f"{sweep.chooses}_high": high}
        unfinished = point.count("unfinished")
        row |= {"failed": len(point.members) - row["n"] - unfinished, "unfinished": unfinished}
        rows.append(row | {"validation_is_test": sweep.validation_is_test})
    return rows


def _member_rows(sweep: Sweep) -> list[dict[str, Any]]:
    return [
        {"name": member.name, **member.values, "state": member.state, **member.figures}
        | {key: getattr(member, key) for key in ("tested_epoch", "trained_epochs", "seconds", "message")}
        | {"validation_is_test": sweep.validation_is_test}
        for member in sweep.members
    ]


def write_sweep(folder: str | os.PathLike) -> Sweep:
    """Writes sweep.csv (a row a point, best first), members.csv, sweep.md and figures/sweep.png into a sweep's folder.

    There is no figure before two values have been swept and a member has finished, nor without matplotlib.

    Raises:
      UserError: the folder is no sweep, one of its files is damaged, or it cannot be written.
    """
    sweep = read_sweep(folder)
    text = sweep_markdown(sweep)
    for name, rows in (("sweep.csv", _point_rows(sweep)), ("members.csv", _member_rows(sweep))):
        table = io.StringIO()
        writer = csv.DictWriter(table, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _write(sweep.folder / name, table.getvalue().encode())
    try:
        from digits import figures

        if picture := figures.sweep_figure(sweep):
            _write(sweep.folder / "figures" / "sweep.png", picture)
            text += f"\n![{sweep.chooses} against what was swept](figures/sweep.png)\n"
    except ImportError:
        text += "\nNo figure, for matplotlib is not installed: `pip install matplotlib`.\n"
    _write(sweep.folder / "sweep.md", text.encode())
    return sweep


def _write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error
