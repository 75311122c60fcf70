"""Writes a sweep as tables (CSV, Markdown, aligned lines of text), and its best point as a sentence."""

import csv
import importlib.util
import io
import os
from typing import Any

from digits.analysis.statistics import LEAST_MEMBERS
from digits.config.values import short_names
from digits.runs.files import write
from digits.runs.sweep_folder import FIGURES, REPETITIONS, VALIDATED_ON_TEST, Sweep, read_sweep
from digits.runtime import screen

_MOST_ROWS = 12  # Of the table on the terminal.


def headline(sweep: Sweep) -> str:
    """Says which figure chose the best point, and whether the choice makes that figure too good."""
    if sweep.chosen_by_test:
        holds_out = '`--config.data.validation="last(10000)"` holds out a validation set'
        return f"chosen by the test set: its figures are too good; {holds_out}"
    if len(sweep.points) > 1:
        return f"chosen by {sweep.chooses}, reported on the test set"
    repetitions = _repetitions(sweep)
    only = "there is only one point" if sweep.point_fields or not repetitions else f"only {repetitions} differ"
    return f"nothing is chosen: {only}" + (f"; {VALIDATED_ON_TEST}" if sweep.validation_is_test else "")


def result(sweep: Sweep) -> str:
    """Says how good the best point is, or all runs where nothing was chosen:

    best: optimizer.learning_rate=0.001, val accuracy 0.9876 ± 0.0011 (n 3), test accuracy 0.9866 ± 0.0010
    """
    best = sweep.points[0]
    if not best.count("finished"):
        return "no run has finished"
    parts = [f"{field}={value}" for field, value in best.values.items()]
    for figure in _shown(sweep):
        n = f" (n {best.count('finished')})" if _repetitions(sweep) and figure == sweep.chooses else ""
        parts.append(f"{figure.replace('_', ' ')} {best.summary(figure)}{n}")
    return f"{'best' if len(sweep.points) > 1 else 'result'}: {', '.join(parts)}"


def _shown(sweep: Sweep) -> list[str]:
    """The figure that chooses, and the same of the test set."""
    return list(dict.fromkeys([sweep.chooses, f"test_{sweep.chooses.partition('_')[2]}"]))


def _repetitions(sweep: Sweep) -> str:
    """The swept fields that repeat a point: "seeds", "folds", "seeds and folds" or ""."""
    return " and ".join(name for field, name in REPETITIONS.items() if field in sweep.fields)


def sweep_markdown(sweep: Sweep) -> str:
    """Writes the headline and the table of points, with mean ± standard deviation over their n finished members."""
    repetitions = _repetitions(sweep)
    over = f"mean ± std over n {repetitions}" if repetitions else "one member a point"
    lines = [headline(sweep), "", f"`{sweep.config_file}`, {over}:", "", *table(points(sweep))]
    lines += ["", without] if (without := _without_interval(sweep)) else []
    return "\n".join(lines) + "\n"


def text(sweep: Sweep, width: int | None) -> list[str]:
    """The lines of a table of the best points with aligned columns, as many as fit into `width` characters.

    print(*text(read_sweep("runs/simple_cnn_sweep"), 80), sep="\n")
    """
    rows, interval = points(sweep)[:_MOST_ROWS], _interval_name(sweep)
    titles = short_names(sweep.point_fields)
    titles |= {"n": "n"} if _repetitions(sweep) else {}
    chosen, *tested = _shown(sweep)
    titles |= {chosen: chosen.replace("_", " "), interval: "95% interval"}
    titles |= {figure: figure.replace("_", " ") for figure in tested} | {"not finished": "not finished"}
    titles = {name: title for name, title in titles.items() if any(row[name] for row in rows)}

    def lines() -> list[str]:
        cells = [list(titles.values()), *([row[name] for name in titles] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        return ["  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip() for row in cells]

    left_out = []
    for name in ("not finished", interval, _shown(sweep)[-1]):
        if width and name in titles and max(map(len, lines())) > width:
            left_out.append(titles.pop(name))
    found = [screen.cut(line, width) for line in lines()]
    if len(sweep.points) > _MOST_ROWS:
        found.append(f"the best {_MOST_ROWS} of {len(sweep.points)} points; sweep.md has all")
    if left_out:
        found.append(f"sweep.md also has: {', '.join(left_out)}")
    return found + ([without] if (without := _without_interval(sweep)) else [])


def _interval_name(sweep: Sweep) -> str:
    return f"95% interval of {sweep.chooses}"


def _without_interval(sweep: Sweep) -> str:
    """Says why a point that was repeated has no interval; "" if all have one, or none is to have one."""
    finished = [point for point in sweep.points if point.count("finished")]
    if len(sweep.points) == 1 or not _repetitions(sweep):
        return ""
    lacking = any(point.summary(sweep.chooses).interval() is None for point in finished)
    return f"no interval below {LEAST_MEMBERS} finished runs, or where all are equal" if lacking else ""


def points(sweep: Sweep) -> list[dict[str, str]]:
    """Makes a row for each point, best first: by column its values, n, each figure's mean ± std, an interval."""
    interval_name = _interval_name(sweep)
    rows = []
    for point in sweep.points:
        row = {field: str(value) for field, value in point.values.items()}
        row |= {"n": str(point.count("finished"))} | {figure: str(point.summary(figure)) for figure in FIGURES}
        interval = point.summary(sweep.chooses).interval() if len(sweep.points) > 1 else None
        row |= {interval_name: f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""}
        rows.append(row | {"not finished": point.rest()})
    return rows


def table(rows: list[dict[str, str]]) -> list[str]:
    """Writes the lines of a Markdown table, without empty columns.

    table([{"n": "1", "loss": ""}]) == ["| n |", "| --- |", "| 1 |"]
    """
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
    """Writes sweep.csv (a row for each point, best first), members.csv, sweep.md and figures/sweep.png.

    The figure needs matplotlib, two swept values and a finished member.

    Raises:
      UserError: the folder is no sweep, one of its files is damaged, or it cannot be written.
    """
    sweep = read_sweep(folder)
    text = sweep_markdown(sweep)
    for name, rows in (("sweep.csv", _point_rows(sweep)), ("members.csv", _member_rows(sweep))):
        content = io.StringIO()
        writer = csv.DictWriter(content, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write(sweep.folder / name, content.getvalue().encode())
    if importlib.util.find_spec("matplotlib") is None:
        text += "\nNo figure, for matplotlib is not installed: `pip install matplotlib`.\n"
    else:
        from digits.reports import sweep_figure  # Imports matplotlib.

        if picture := sweep_figure.draw(sweep):
            write(sweep.folder / "figures" / "sweep.png", picture)
            text += f"\n![{sweep.chooses} against what was swept](figures/sweep.png)\n"
    write(sweep.folder / "sweep.md", text.encode())
    return sweep
