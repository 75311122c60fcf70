"""Computes the content of the page that compares runs; templates/comparison.html.j2 lays it out."""

from collections.abc import Iterable, Sequence
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from digits.analysis import statistics
from digits.analysis.figures import curves
from digits.analysis.figures.style import COLOURS, colours, png
from digits.config.values import flat
from digits.errors import UserError
from digits.reports import sweep_figure, tables
from digits.reports.judged_run import JudgedRun, SharedByRuns
from digits.runs.sweep_folder import Sweep, read_sweep

MOST = len(COLOURS)  # Of runs: each has a colour of its own.


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run that takes part, or a sweep with those members of its best point that have begun."""

    name: str
    runs: tuple[JudgedRun, ...]
    sweep: Sweep | None = None

    @property
    def finished(self) -> JudgedRun | None:
        """The run, if this is one and it is finished."""
        return self.runs[0] if self.sweep is None and self.runs[0].result else None


def content(paths: Sequence[str | os.PathLike], shared: SharedByRuns) -> dict[str, Any]:
    """Computes the template's variables.

    Args:
      paths: the folders of runs and sweeps, at most `MOST`; the others are compared with the first.
      shared: shares datasets and compiled evaluations among the runs.

    Raises:
      UserError: there are too many paths, none, or one twice; or as of `JudgedRun` and `read_sweep`.
    """
    folders = [pathlib.Path(path).expanduser() for path in paths]
    if not 1 <= len(folders) <= MOST:
        raise UserError(f"{len(folders)} runs are given, but a comparison takes 2 to {MOST}; a sweep counts as one.")
    for i, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:i]]:
            raise UserError(f"{folder} is given twice: a comparison needs different runs.")
    entries = [_entry(folder, name, shared) for folder, name in zip(folders, _names(folders))]
    digests = {run.about["data"]["digest"] for entry in entries for run in entry.runs}
    return {
        "title": f"{len(entries)} runs compared" if len(entries) > 1 else f"{entries[0].name}: a sweep",
        "entries": entries,
        "several_datasets": len(digests) > 1,
        "colours": colours([entry.name for entry in entries]),
        "result_rows": [_result_row(entry) for entry in entries],
        "differences": _differences(entries),
        "curves": _curves(entries),
        "config_rows": _config_rows(entries),
        "sweeps": [_of_sweep(entry) for entry in entries if entry.sweep],
    }


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """The folders' names, each with as many of the folders above it as all need to differ."""
    parts, depth = [path.resolve().parts for path in paths], 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _entry(path: pathlib.Path, name: str, shared: SharedByRuns) -> Entry:
    if not (path / "sweep.json").exists():
        return Entry(name, (JudgedRun(path, shared),))
    sweep = read_sweep(path)
    started = [member for member in sweep.points[0].members if (path / member.name / "config.json").exists()]
    return Entry(name, tuple(JudgedRun(path / member.name, shared) for member in started), sweep)


def _result_row(entry: Entry) -> dict[str, str]:
    """Makes a row of the table of results. It begins with the columns of the table that notebook 001 ends with."""
    finished = [run for run in entry.runs if run.result]
    documented = {run.config.documented.test_accuracy for run in entry.runs}
    theirs = documented.pop() if len(documented) == 1 else None
    interval = _interval(entry)
    seconds = sum(run.result.get("seconds") or 0 for run in finished)
    return {
        "model": entry.name,
        "test accuracy": _over(run.result["test_accuracy"] for run in finished),
        "training loss": _over(run.tested.get("loss") for run in finished),
        "training accuracy": _over(run.tested.get("accuracy") for run in finished),
        "test loss": _over(run.result["test_loss"] for run in finished),
        "95% interval": f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "",
        "documented": "" if theirs is None else f"{theirs:.4f}",
        "validation accuracy": _over(run.tested.get("val_accuracy") for run in finished),
        "parameters": f"{sum(row.trainable + row.rest for row in entry.runs[0].layers):,}" if entry.runs else "",
        "epochs": ", ".join(sorted({str(run.result["epochs"]) for run in finished}, key=int)),
        "seconds": f"{seconds:,.1f}" if finished else "",
        "runs": f"{len(finished)} of {len(entry.sweep.points[0].members)}" if entry.sweep else "",
    }


def _over(values: Iterable[float | None]) -> str:
    return str(statistics.summarize(values))


def _interval(entry: Entry) -> tuple[float, float] | None:
    """The 95% interval of test accuracy: Wilson's for a run, that of the mean for a sweep."""
    if entry.sweep:
        return entry.sweep.points[0].summary("test_accuracy").interval()
    return statistics.wilson(*_correct(entry.finished)) if entry.finished else None


def _correct(run: JudgedRun) -> tuple[int, int]:
    """The numbers of rightly classified test images and of all, by result.json."""
    n = run.about["data"]["test"]
    return round(run.result["test_accuracy"] * n), n


def _differences(entries: Sequence[Entry]) -> dict[str, Any]:
    """Compares finished runs with the first: "rows" of a table, and whether any interval is "paired" or "unpaired"."""
    first, rows, paired = entries[0].finished, [], []
    others = [entry for entry in entries[1:] if entry.finished] if first else []
    for entry in others:
        other, alone = entry.finished, ("", "")
        paired.append(other.about["data"]["digest"] == first.about["data"]["digest"] and not first.other_data)
        if paired[-1]:
            both, only_other, only_first, neither = (
                int(np.sum(x & y)) for x in (other.right, ~other.right) for y in (first.right, ~first.right)
            )
            low, high = statistics.paired_difference(both, only_other, only_first, neither)
            difference = (only_other - only_first) / len(first.right)
            alone = f"{only_other:,}", f"{only_first:,}"
        else:
            low, high = statistics.difference(*_correct(other), *_correct(first))
            difference = other.result["test_accuracy"] - first.result["test_accuracy"]
        rows.append({
            "run": entry.name,
            "difference": f"{difference:+.4f}",
            "95% interval": f"{low:+.4f} to {high:+.4f}",
            "only this one is right": alone[0],
            "only the first is right": alone[1],
        })  # fmt: skip
    return {"rows": rows, "paired": any(paired), "unpaired": not all(paired)}


def _curves(entries: Sequence[Entry]) -> bytes:
    documented = [run.documented for entry in entries for run in entry.runs]
    # The epochs that a notebook printed are drawn only if all runs are of its experiment.
    theirs = documented[0] if documented and all(one is documented[0] for one in documented) else None
    runs = {entry.name: list(entry.runs) if entry.sweep else entry.runs[0] for entry in entries}
    return png(curves.curves(runs, theirs))


def _config_rows(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Lists the fields that differ. A sweep has the config of its best point's first member."""
    configs = {entry.name: flat(entry.runs[0].config.to_dict()) for entry in entries if entry.runs}
    fields = dict.fromkeys(field for config in configs.values() for field in config)
    return [
        {"field": f"config.{field}"} | {name: str(config.get(field, "")) for name, config in configs.items()}
        for field in fields
        if len({str(config.get(field)) for config in configs.values()}) > 1 and not field.startswith("documented.")
    ]


def _of_sweep(entry: Entry) -> dict[str, Any]:
    """Makes the variables of a sweep: its points as a table, and its figure."""
    return {
        "name": entry.name,
        "headline": tables.headline(entry.sweep).replace("`", ""),  # It is Markdown.
        "rows": [{"point": str(i)} | row for i, row in enumerate(tables.points(entry.sweep), start=1)],
        "chooses": entry.sweep.chooses,
        "figure": sweep_figure.draw(entry.sweep),
    }
