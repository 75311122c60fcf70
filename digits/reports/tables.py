"""Writes a sweep as tables: CSV for programs, Markdown for people."""

import csv
import importlib.util
import io
import os
from typing import Any

from digits.runs.files import write
from digits.runs.sweep_folder import FIGURES, REPETITIONS, VALIDATED_ON_TEST, Sweep, read_sweep


def headline(sweep: Sweep) -> str:
    """Says which figure chose the best point, and whether the choice makes that figure too good."""
    if sweep.chosen_by_test:
        holds_out = '`--config.data.validation="last(10000)"` holds out a validation set'
        return f"chosen by the test set: its figures are too good; {holds_out}"
    if len(sweep.points) > 1:
        return f"chosen by {sweep.chooses}, reported on the test set"
    repetitions = _repetitions(sweep)
    alone = "one point alone chooses" if sweep.point_fields or not repetitions else f"{repetitions} alone choose"
    return f"{alone} nothing" + (f"; {VALIDATED_ON_TEST}" if sweep.validation_is_test else "")


def _repetitions(sweep: Sweep) -> str:
    """The swept fields that repeat a point: "seeds", "folds", "seeds and folds" or ""."""
    return " and ".join(name for field, name in REPETITIONS.items() if field in sweep.fields)


def sweep_markdown(sweep: Sweep) -> str:
    """Writes the headline and the table of points, with mean ± standard deviation over their n finished members."""
    repetitions = _repetitions(sweep)
    over = f"mean ± std over n {repetitions}" if repetitions else "one member a point"
    lines = [headline(sweep), "", f"`{sweep.config_file}`, {over}:", "", *table(points(sweep))]
    return "\n".join(lines) + "\n"


def points(sweep: Sweep) -> list[dict[str, str]]:
    """Makes a row for each point, best first: by column its values, n, each figure's mean ± std, an interval."""
    interval_name = f"95% interval of {sweep.chooses}"
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
