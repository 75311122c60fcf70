"""Reads the folder of a sweep, while the sweep runs or afterwards. Needs no JAX.

    read_sweep("runs/rates").points[0].summary("val_accuracy")

A *member* is one run of a sweep; a *point* is a combination of the swept values, with one member for each seed or fold.
"""

import collections
from collections.abc import Iterable
import dataclasses
import functools
import math
import os
import pathlib
from typing import Any

from digits.analysis.statistics import AccuracySummary, LossSummary, Summary, summarize
from digits.config.values import flat, to_json
from digits.errors import UserError
from digits.runs import files
from digits.runs.workdir import Workdir

FIGURES = ("val_accuracy", "val_loss", "test_accuracy", "test_loss")
# Fields whose values repeat a point instead of making another one, and the plural of each.
REPETITIONS = {"seed": "seeds", "data.fold": "folds"}

# Stands wherever figures of a run that was validated on the test set are shown.
VALIDATED_ON_TEST = "validation was the test set: no figure here is of unseen images"


@dataclasses.dataclass(frozen=True)
class SweptRun:
    """A run of a sweep, as its folder shows it; the run that trains is a `population.Member`."""

    name: str
    values: dict[str, Any]  # Of the swept fields.
    state: str  # "finished", "unfinished", or how it failed: "diverged", "out of memory", "error".
    message: str  # Of the failure.
    trained_epochs: int  # Recorded so far.
    tested_epoch: int | None
    seconds: float | None
    figures: dict[str, float | None]  # FIGURES, of the tested epoch's weights; all None unless finished.


def kind_of(figure: str) -> type[Summary]:
    """The kind of summary that suits one of FIGURES."""
    return AccuracySummary if figure.endswith("accuracy") else LossSummary


@dataclasses.dataclass(frozen=True)
class Point:
    """A combination of swept values; its members differ only in seed and fold."""

    values: dict[str, Any]
    members: tuple[SweptRun, ...]

    def summary(self, figure: str) -> Summary:
        """Mean and standard deviation of one of FIGURES over the finished members."""
        return summarize((member.figures[figure] for member in self.members), kind_of(figure))

    def count(self, *states: str) -> int:
        """The number of members in any of these states."""
        return sum(member.state in states for member in self.members)

    def rest(self) -> str:
        """Counts the members that are not finished, see `rest`."""
        return rest(self.members)


def rest(members: Iterable[SweptRun]) -> str:
    """Counts the members that are not finished, by state: "1 diverged, 2 unfinished"; empty if all are."""
    states = collections.Counter(member.state for member in members if member.state != "finished")
    return ", ".join(f"{n} {state}" for state, n in sorted(states.items()))


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep, finished or not."""

    folder: pathlib.Path
    config_file: str
    fields: tuple[str, ...]
    chooses: str  # Which of FIGURES orders the points.
    validation_is_test: bool
    members: tuple[SweptRun, ...]

    @property
    def point_fields(self) -> tuple[str, ...]:
        """The swept fields that tell points apart: all but seed and fold."""
        return tuple(field for field in self.fields if field not in REPETITIONS)

    @functools.cached_property
    def points(self) -> tuple[Point, ...]:
        """The points, best first; those without a finished member last."""
        groups = collections.defaultdict(list)
        for member in self.members:
            groups[tuple(member.values[field] for field in self.point_fields)].append(member)
        points = [Point(dict(zip(self.point_fields, key)), tuple(members)) for key, members in groups.items()]

        def rank(point: Point) -> tuple[bool, bool, float]:
            mean = point.summary(self.chooses).mean
            known = mean is not None and not math.isnan(mean)
            sign = 1 if self.chooses.endswith("loss") else -1
            return not point.count("finished"), not known, sign * mean if known else 0.0

        return tuple(sorted(points, key=rank))

    @property
    def is_grid(self) -> bool:
        """Whether the points are all combinations of the fields' values, as those of a random search are not."""
        values = [{repr(point.values[field]) for point in self.points} for field in self.point_fields]
        return len(self.points) == math.prod(map(len, values))

    @property
    def chosen_by_test(self) -> bool:
        """Whether test images decided which point is the best."""
        return len(self.points) > 1 and (self.validation_is_test or self.chooses.startswith("test_"))


def read_sweep(folder: str | os.PathLike) -> Sweep:
    """Reads a sweep, finished or not; UserError if the folder is no sweep, or one of its files is damaged.

    read_sweep("runs/simple_cnn_sweep").points[0].values
    """
    folder = pathlib.Path(folder).expanduser()
    path = folder / "sweep.json"
    if not path.exists():
        raise UserError(f"{folder} is no sweep, for it holds no sweep.json: name the folder that a sweep has written.")
    about = files.read_object(path, config_file=str, fields=list, chooses=str, validation_is_test=bool, members=list)
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
    return Sweep(folder, about["config_file"], fields, chooses, about["validation_is_test"], tuple(members))


def _read_member(path: pathlib.Path, name: str, values: dict[str, Any]) -> SweptRun:
    workdir = Workdir(path)
    if (path / "config.json").exists():
        config = flat(workdir.about()["config"])
        for field, value in to_json(values).items():
            if config.get(field) != value:
                raise UserError(
                    f"{path} is not the run that sweep.json names: its config.{field} is {config.get(field)!r}, not "
                    f"{value!r}. Copy the sweep's whole folder again."
                )
    (history, result), failure = workdir.read(), workdir.failure()
    state, message, tested, seconds, figures = "unfinished", "", None, None, dict.fromkeys(FIGURES)
    # The result first: a member that failed may have been run again.
    if result:
        state, tested, seconds = "finished", result["tested_epoch"], result.get("seconds")
        of_tested = history[tested - 1]
        figures = {key: (result if key.startswith("test_") else of_tested).get(key) for key in FIGURES}
    elif failure:
        state, message = failure["kind"], failure["message"]
    return SweptRun(name, values, state, message, len(history), tested, seconds, figures)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
