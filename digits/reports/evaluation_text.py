"""Writes the result of `evaluation.evaluate` as text for the terminal."""

from collections.abc import Iterator, Sequence
import itertools
import os
from typing import Any

from digits.analysis import statistics
from digits.config.values import short_names
from digits.runtime import screen

IMAGES = {"test": "test", "validation": "validation", "train": "training"}
_MISTAKES, _WRITERS = 8, 5


def text(found: dict[str, Any]) -> str:
    """Writes aligned tables, in lines that a terminal shows."""
    images = IMAGES[found["split"]]
    first, *lines = _run_lines(found, images) if found["kind"] == "run" else _sweep_lines(found, images)
    notes = [screen.wrap(f"note: {note}") for note in found["notes"]]
    written = [screen.wrap(f"{screen.pasted(found['path'])}: {first}"), *lines, *notes]
    return "\n".join(map(str.rstrip, written))


def _run_lines(run: dict[str, Any], images: str) -> list[str]:
    cells = _cells(run)
    where = f"{run['n']:,} {images} images of {', '.join(run['data'])}"
    accuracy = f"accuracy {cells['accuracy']} (95% interval {cells['95% interval']}, n = {run['n']:,})"
    lines = [f"the weights of epoch {run['epoch']} on {where}", f"{accuracy}  loss {cells['loss']}", ""]
    lines += [*_class_lines(run), "", *_confusion_lines(run), "", *_calibration_lines(run["calibration"]), ""]
    names = [of["name"] for of in run["per_class"]]
    if run["mistakes"]:
        rows = [["image", "true", "predicted", "probability", "of the true class"]]
        for entry in run["mistakes"][:_MISTAKES]:
            rows.append([f"{entry['index']}", names[entry["label"]], names[entry["prediction"]]])
            rows[-1] += [f"{entry[key]:.4f}" for key in ("probability", "probability_of_label")]
        lines += ["the most confident mistakes (images count from 0)", *_aligned(rows), ""]
    if run["writers"]:
        lines += [*_writer_lines(run["writers"]), ""]
    if run["robustness"]:
        lines += [*_robustness_lines(run["robustness"]), ""]
    if run["pictures"]:
        folder = os.path.dirname(run["pictures"][0])
        names = ", ".join(map(os.path.basename, run["pictures"]))
        lines.append(screen.wrap(f"pictures in {screen.pasted(folder)}: {names}"))
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns columns two spaces apart, the first left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _class_lines(run: dict[str, Any]) -> list[str]:
    keys = ("precision", "recall", "f1")

    def measured(of):
        return ["-" if of[key] is None else f"{of[key]:.4f}" for key in keys]

    rows = [["class", "images", "precision", "recall", "F1"]]
    rows += [[of["name"], f"{of['support']:,}", *measured(of)] for of in run["per_class"]]
    return _aligned([*rows, ["mean", "", *measured(run["macro"])]])


def _confusion_lines(run: dict[str, Any]) -> list[str]:
    """Shows the matrix, or the most frequent confusions if it is too wide."""
    names, matrix = [of["name"] for of in run["per_class"]], run["confusion"]
    first = max(map(len, names))
    room = (screen.COLUMNS - first) // len(names) - 2
    if room < max(len(f"{count}") for row in matrix for count in row):
        pairs = [(matrix[i][j], names[i], names[j]) for i, j in itertools.permutations(range(len(names)), 2)]
        most = sorted(filter(lambda pair: pair[0], pairs), key=lambda pair: -pair[0])[:10]
        return ["the most frequent confusions", *(f"{count:,} of {i} taken for {j}" for count, i, j in most)]
    rows = [["", *(name[:room] for name in names)]]
    rows += [[name, *(f"{count}" if count else "." for count in row)] for name, row in zip(names, matrix)]
    return ["confusion matrix: a row a true class, a column a predicted one", *_aligned(rows)]


def _calibration_lines(calibration: dict[str, Any]) -> list[str]:
    errors = f"expected calibration error {calibration['ece']:.4f}, maximum {calibration['mce']:.4f}"
    over = f"over {len(calibration['bins'])} bins of confidence"
    return [f"{errors}, {over}", f"cross-entropy {calibration['nll']:.4f} nats, Brier score {calibration['brier']:.4f}"]


def _writer_lines(writers: dict[str, Any]) -> list[str]:
    over = statistics.Summary(**writers["accuracy"])
    perfect = f"{writers['without_errors']:,} of them without an error"
    lines = [f"{writers['n']:,} writers, {perfect}; accuracy {over} over them"]
    rows = [["written by", "writers", "images", "accuracy", "95% interval"]]
    for group in writers["groups"]:
        sizes = [f"{group['writers']:,}", f"{group['n']:,}"]
        rows.append([group["name"], *sizes, f"{group['accuracy']:.4f}", _interval(group)])
    lines += _aligned(rows)
    worst = [f"{of['writer']} {of['errors']}/{of['n']}" for of in writers["worst"][:_WRITERS]]
    if worst:
        lines.append(screen.wrap(f"worst writers, errors/images: {', '.join(worst)}"))
    return lines


def _robustness_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields two lines for each change: its amounts, and the accuracy at each."""
    by_change = {name: list(of) for name, of in itertools.groupby(rows, lambda row: row["change"])}
    (unchanged,) = by_change.pop("none")
    figure = f"{unchanged['accuracy']:.4f} (95% interval {_interval(unchanged)})"
    yield f"robustness: accuracy on {unchanged['n']:,} images"
    yield f"unchanged {figure}, changed by"
    for name, of in by_change.items():
        amounts, accuracies = [f"{row['amount']:g}" for row in of], [f"{row['accuracy']:.4f}" for row in of]
        for label, values in ((name, amounts), (f"  {of[0]['unit']}", accuracies)):
            yield label.ljust(screen.COLUMNS - 7 * len(values)) + "".join(f"{value:>7}" for value in values)


def _sweep_lines(sweep: dict[str, Any], images: str) -> list[str]:
    """Shows the points, best first, with mean ± std and ensemble of each; then all members."""
    points = sweep["points"]
    members = [member for point in points for member in point["members"]]
    finished = [member for member in members if "accuracy" in member]
    sizes = " or ".join(f"{n:,}" for n in sorted({member["n"] for member in finished}))
    where = f"{sizes} {images} images of {', '.join(sweep['data'])}"
    lines = [f"{len(finished)} of {len(members)} runs are finished, on {where}"]
    if len(points) > 1:
        lines.append(f"best point by {sweep['chooses']} first; each has an ensemble of its own")
    means, ensembles = [], []
    for point in points:
        accuracy, loss = (statistics.Summary(**point[figure]) for figure in ("accuracy", "loss"))
        names = short_names(point["values"])
        values = {names[field]: str(value) for field, value in point["values"].items()}
        unfinished = len(point["members"]) - accuracy.n
        row = values | {"n": str(accuracy.n), "accuracy": str(accuracy), "loss": str(loss)}
        means.append(row | {"not finished": str(unfinished) if unfinished else ""})
        if point["ensemble"]:
            ensembles.append(values | {"n": str(accuracy.n)} | _cells(point["ensemble"]))
    lines += ["", "mean ± std over n runs", *_table(means), ""]
    if ensembles:
        lines += ["the ensemble of these", *_table(ensembles), ""]
    problems = {point["no_ensemble"] for point in points if point["accuracy"]["n"]} - {None}
    if problems:
        lines += [*(screen.wrap(f"no ensemble, for {problem}") for problem in sorted(problems)), ""]
    rows = [_cells(member) | {"state": "" if member in finished else member["state"]} for member in members]
    names = ["run", *(member["name"] for member in members)]  # Last, for they may be long.
    return [*lines, *(f"{row}  {name}" for row, name in zip(_table(rows), names)), ""]


def _table(rows: Sequence[dict[str, str]]) -> list[str]:
    """The lines of a table with aligned columns, without empty ones."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    return _aligned([names, *([row[name] for name in names] for row in rows)])


def _cells(figures: dict[str, Any] | None) -> dict[str, str]:
    """Formats figures for a row of a table; the cells are empty if there are none."""
    if not figures or "accuracy" not in figures:
        return dict.fromkeys(("accuracy", "95% interval", "loss"), "")
    accuracy, loss = f"{figures['accuracy']:.4f}", f"{figures['loss']:.4f}"
    return {"accuracy": accuracy, "95% interval": _interval(figures), "loss": loss}


def _interval(figures: dict[str, Any]) -> str:
    low, high = figures["accuracy_interval"]
    return f"{low:.4f} to {high:.4f}"
