"""Computes the content of the page that compares runs; templates/comparison.html.j2 lays it out."""

from collections.abc import Iterable, Sequence
import os
import pathlib
from typing import Any

from digits.analysis import statistics
from digits.analysis.figures import curves
from digits.analysis.figures.style import COLOURS, looks, png
from digits.config.fields import FIELDS
from digits.config.values import flat
from digits.errors import UserError
from digits.reports import compared_runs, sweep_figure, tables
from digits.reports.compared_runs import Comparison, Entry
from digits.reports.judged_run import JudgedRun, SharedByRuns
from digits.runs import found
from digits.runs.sweep_folder import read_sweep

MOST = len(COLOURS)  # Of runs: each has a colour of its own.


def content(paths: Sequence[str | os.PathLike], shared: SharedByRuns) -> dict[str, Any]:
    """Computes the template's variables.

    content(["runs/dense_32_32", "runs/dense_64_64"], SharedByRuns())["verdict"]

    Args:
      paths: the folders of runs and sweeps, at most `MOST`; the others are compared with the first.
      shared: shares datasets and compiled evaluations among the runs.

    Raises:
      UserError: there are too many paths, none, or one twice; or as of `JudgedRun` and `read_sweep`.
    """
    folders = [pathlib.Path(path).expanduser() for path in paths]
    if not 1 <= len(folders) <= MOST:
        raise UserError(
            f"{len(folders)} runs are given, but a comparison takes 2 to {MOST}; a sweep counts as one. "
            "digits.runs lists any number."
        )
    for i, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:i]]:
            raise UserError(f"{folder} is given twice: a comparison needs different runs.")
    entries = [_entry(folder, name, shared) for folder, name in zip(folders, _names(folders))]
    digests = {run.about["data"]["digest"] for entry in entries for run in entry.runs}
    comparisons = compared_runs.compare(entries)
    return {
        "title": f"{len(entries)} {_kinds(entries)} compared" if len(entries) > 1 else f"{entries[0].name}: a sweep",
        "verdict": compared_runs.verdict(entries, comparisons) if len(entries) > 1 else _best_point(entries[0]),
        "first": compared_runs.first_finished(entries),
        "entries": entries,
        "several_datasets": len(digests) > 1,
        "looks": looks([entry.name for entry in entries]),
        "result_rows": [_result_row(entry) for entry in entries],
        "differences": [_difference_row(comparison) for comparison in comparisons],
        "tests": sum(comparison.difference is not None for comparison in comparisons),
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
    if not found.is_sweep(path):
        return Entry(name, (JudgedRun(path, shared),))
    sweep = read_sweep(path)
    started = [member for member in sweep.points[0].members if (path / member.name / "config.json").exists()]
    return Entry(name, tuple(JudgedRun(path / member.name, shared) for member in started), sweep)


def _kinds(entries: Sequence[Entry]) -> str:
    return " and ".join(dict.fromkeys("sweeps" if entry.sweep else "runs" for entry in entries))


def _best_point(entry: Entry) -> str:
    """Says how good the best point of a sweep is."""
    point = entry.sweep.points[0]
    if not entry.finished:
        return "Nothing is finished yet."
    values = ", ".join(f"{field} = {value}" for field, value in point.values.items())
    best = f"Of {len(entry.sweep.points)} points {values} is best: test accuracy" if values else "Test accuracy"
    return f"{best} {entry.accuracy}, n = {entry.accuracy.n}."


def _result_row(entry: Entry) -> dict[str, str]:
    """Makes a row of the table of results. Notebook 001 ends with such a table; its columns are among these."""
    finished = entry.finished
    interval = _interval(entry)
    seconds = sum(run.result.get("seconds") or 0 for run in finished)
    return {
        "model": entry.name,
        "test accuracy": str(entry.accuracy),
        "95% interval": f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "",
        "documented": _documented(entry),
        "test loss": _over(run.result["test_loss"] for run in finished),
        "training accuracy": _over(run.tested.get("accuracy") for run in finished),
        "training loss": _over(run.tested.get("loss") for run in finished),
        "validation accuracy": _over(run.tested.get("val_accuracy") for run in finished),
        "parameters": f"{sum(row.trainable + row.rest for row in entry.runs[0].layers):,}" if entry.runs else "",
        "epochs": ", ".join(sorted({str(run.result["epochs"]) for run in finished}, key=int)),
        "seconds": f"{seconds:,.1f}" if finished else "",
        "runs": f"{len(finished)} of {len(entry.sweep.points[0].members)}" if entry.sweep else "",
        "not finished": entry.state,
    }


def _over(values: Iterable[float | None]) -> str:
    return str(statistics.summarize(values))


def _interval(entry: Entry) -> tuple[float, float] | None:
    """The 95% interval of test accuracy: Wilson's for a run, that of the mean for a sweep of enough runs."""
    if not entry.finished:
        return None
    if not entry.sweep:
        return statistics.wilson(*compared_runs.correct(entry.finished[0]))
    return entry.accuracy.interval()


def _documented(entry: Entry) -> str:
    """The documented test accuracy, if all runs are of the experiment as it is."""
    theirs = {None if run.differing else run.config.documented.test_accuracy for run in entry.runs}
    value = theirs.pop() if len(theirs) == 1 else None
    return "" if value is None else f"{value:.4f}"


def _difference_row(comparison: Comparison) -> dict[str, str]:
    value, difference = comparison.value, comparison.difference
    only_this, only_first = comparison.alone or (None, None)
    return {
        "model": comparison.entry.name,
        "difference": "" if value is None else f"{value:+.4f}",
        "95% interval": f"{difference.low:+.4f} to {difference.high:+.4f}" if difference else "",
        "p, corrected": comparison.p_text.removeprefix("= "),
        "told apart": "" if comparison.p is None else "yes" if comparison.apart else "no",
        "only this one is right": "" if only_this is None else f"{only_this:,}",
        "only the first is right": "" if only_first is None else f"{only_first:,}",
        "compared as": comparison.how,
    }


def _curves(entries: Sequence[Entry]) -> dict[str, bytes]:
    """Draws the curves, a picture for each panel."""
    documented = [None if run.differing else run.documented for entry in entries for run in entry.runs]
    # The epochs that a notebook printed are drawn only if all runs are of its experiment.
    theirs = documented[0] if documented and all(one is documented[0] for one in documented) else None
    runs = {entry.name: list(entry.runs) if entry.sweep else entry.runs[0] for entry in entries}
    return {name: png(figure) for name, figure in curves.panels(runs, theirs).items()}


def _config_rows(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Lists the fields that differ. A sweep has the config of its best point's first member."""
    configs = {entry.name: flat(entry.runs[0].config.to_dict()) for entry in entries if entry.runs}
    rows = {field: {name: str(config[field]) for name, config in configs.items()} for field in FIELDS}
    return [
        {"field": f"config.{field}"} | values
        for field, values in rows.items()
        if len(set(values.values())) > 1 and not field.startswith("documented.")
    ]


def _of_sweep(entry: Entry) -> dict[str, Any]:
    """Makes the variables of a sweep: its points as a table, and its pictures."""
    return {
        "name": entry.name,
        "headline": tables.headline(entry.sweep).replace("`", ""),  # It is Markdown.
        "rows": [{"point": str(i)} | row for i, row in enumerate(tables.points(entry.sweep), start=1)],
        "pictures": sweep_figure.panels(entry.sweep),
    }
