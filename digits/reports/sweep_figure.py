"""Draws a sweep: the figure that chooses the best point against the swept fields.

One field gets a panel. Two fields of which every combination was trained get a heat map; two or three others, such as
those of a random search, get a scatter of the points for each pair, coloured by the figure. Each field gets a panel
beside or below them. More fields get a panel each. If only seeds or folds were swept, all members are on one line.
"""

from collections.abc import Sequence
import itertools
import math
import textwrap
from typing import Any

from matplotlib import colors, patches
import numpy as np

from digits.analysis.figures.style import BLUE, VERMILLION, new_figure, png, styled, text_colour
from digits.analysis.statistics import summarize
from digits.reports.sweep_axes import (
    axis_kind,
    figures,
    labelled,
    log_scale,
    set_field_axis,
    set_figure_axis,
    set_limits,
    set_ticks,
    values_of,
)
from digits.runs.sweep_folder import Sweep, kind_of

PANELS_A_ROW = 4
# A grey of middle brightness is seen on a dark page too, where pictures are turned over.
_MEMBER, _MEAN, _LOST = "#767676", BLUE, VERMILLION


@styled
def draw(sweep: Sweep) -> bytes | None:
    """Draws a sweep as a PNG file, 1200 pixels wide; None if nothing varies or no member has finished.

    picture = draw(read_sweep("runs/simple_cnn_sweep"))
    """
    if len(sweep.members) < 2 or not figures(sweep.members, sweep.chooses):
        return None
    fields = _varying(sweep)
    by = ", ".join(fields) or " and ".join(sweep.fields)
    marked = "chosen by" if sweep.chosen_by_test else "validated on" if sweep.validation_is_test else ""
    title = f"{sweep.config_file}: {sweep.chooses} by {by}" + (f", {marked} the test set" if marked else "")
    pairs = _pairs(sweep)
    rows = math.ceil(len(fields) / PANELS_A_ROW)
    columns = math.ceil(len(fields) / max(rows, 1))
    height = {0: 3.0, 1: 5.0, 2: 7.0}.get(len(fields), 1.0 + 3.4 * (rows + bool(pairs)))
    figure = new_figure(10, height)
    figure.suptitle(textwrap.fill(title, 110))
    if not fields:
        _strip(figure.subplots(), sweep)
    elif len(fields) == 2:
        places = figure.subplot_mosaic([["map", "0"], ["map", "1"]], width_ratios=(3, 2))
        places["0"].sharey(places["1"])
        if pairs:
            _scatters([places["map"]], sweep, pairs, room=50)
        else:
            _heat_map(places["map"], sweep, fields, room=(55, 34))
        _panels([places["0"], places["1"]], sweep, fields, room=34)
    else:
        halves = figure.subfigures(2, squeeze=False).flatten() if pairs else [figure]
        if pairs:
            _scatters(halves[0].subplots(1, len(pairs)), sweep, pairs, room=24)
        places = halves[-1].subplots(rows, columns, sharey=True, squeeze=False).flatten()
        _panels(places[: len(fields)], sweep, fields, room=90 // columns)
        for i, axes in enumerate(places):
            if i >= len(fields):
                axes.remove()
            elif i % columns:
                axes.set_ylabel("")
    return png(figure)


@styled
def panels(sweep: Sweep) -> dict[str, bytes]:
    """Draws the parts of `draw` as PNG files of their own, 600 pixels wide, by their descriptions; none if it is None.

    for description, picture in panels(read_sweep("runs/simple_cnn_sweep")).items(): ...
    """
    if len(sweep.members) < 2 or not figures(sweep.members, sweep.chooses):
        return {}
    fields, parts = _varying(sweep), {}

    def part(description: str, height: float) -> Any:
        parts[description] = figure = new_figure(5, height)
        return figure.subplots()

    if not fields:
        _strip(part(f"{sweep.chooses} of every member", 3), sweep)
    if len(fields) == 2 and sweep.is_grid:
        _heat_map(part(f"{sweep.chooses} by {' and '.join(fields)}", 5), sweep, fields, room=(44, 24))
    for pair in _pairs(sweep):
        _scatters([part(f"{sweep.chooses} by {' and '.join(pair)}", 4.4)], sweep, [pair], room=40)
    for field in fields:
        _panels([part(f"{sweep.chooses} by {field}", 3.8)], sweep, [field], room=48)
    return {description: png(figure) for description, figure in parts.items()}


def _varying(sweep: Sweep) -> list[str]:
    """The fields of the points that have several values."""
    return [field for field in sweep.point_fields if len(values_of(sweep, field)) > 1]


def _pairs(sweep: Sweep) -> list[tuple[str, str]]:
    """The pairs of fields that get a scatter."""
    fields = _varying(sweep)
    return list(itertools.combinations(fields, 2)) if len(fields) in (2, 3) and not sweep.is_grid else []


def _panels(places: Sequence[Any], sweep: Sweep, fields: list[str], room: int) -> None:
    """Draws the choosing figure against each field: all members, and for every value their mean.

    The mean of members that differ in another field too has a bar of their standard deviation, if they are of a grid;
    without one they differ by chance, and there are only the members.
    """
    alone, grid = len(_varying(sweep)) == 1, sweep.is_grid
    for axes, field in zip(places, fields):
        values = values_of(sweep, field)
        x = set_field_axis(axes, "x", sweep, field, room)
        set_figure_axis(axes, "y", sweep)
        means, bars = [], []  # (place, mean), and (place, mean, length below, length above).
        for value in values:
            members = [member for member in sweep.members if member.values[field] == value]
            shown = figures(members, sweep.chooses)
            axes.plot([x[value]] * len(shown), shown, "o", color=_MEMBER, alpha=0.6, mew=0, ms=6, label="a member")
            if shown and grid:
                summary = summarize(shown, kind_of(sweep.chooses))
                means.append((x[value], summary.mean))
                low, high = (summary.mean - (summary.std or 0.0), summary.mean + (summary.std or 0.0))
                if interval := summary.interval() if alone else (low, high):
                    bars.append((x[value], summary.mean, summary.mean - interval[0], interval[1] - summary.mean))
            if len(shown) < len(members):
                _mark_lost(axes, x[value], f"{len(members) - len(shown)} of {len(members)}" if grid else "")
        line = "" if axis_kind(values) == "categorical" else "-"
        if len(means) == len(sweep.members):  # Every member is a mean.
            axes.plot(*zip(*means), ls=line, color=_MEAN, lw=1, zorder=1)
        elif means:
            name = "mean" if alone else "mean of each value's members"
            axes.plot(*zip(*means), f"o{line}", color=_MEAN, ms=5, label=name)
        if bars:
            at, mean, below, above = zip(*bars)
            name = "95% interval of the mean" if alone else "± std"
            axes.errorbar(at, mean, (below, above), fmt="none", ecolor=_MEAN, capsize=4, label=name)
    set_limits(places[0], sweep)
    legend = {label: handle for axes in places for handle, label in zip(*axes.get_legend_handles_labels())}
    _legend(places[0], legend.values(), legend.keys())


def _legend(axes: Any, *handles_and_labels: Any) -> None:
    """Adds a legend below the figure, with as many columns as there is room for."""
    columns = round(axes.get_figure(root=True).get_figwidth() / 2.5)
    axes.figure.legend(*handles_and_labels, loc="outside lower center", ncols=columns, frameon=False)


def _mark_lost(axes: Any, x: float, number: str) -> None:
    """Marks at the foot of a panel how many members of a value failed or are unfinished."""
    at_foot = axes.get_xaxis_transform()
    style = {"color": _LOST, "ms": 9, "mec": "white", "zorder": 5, "clip_on": False, "ls": ""}
    axes.plot(x, 0, "X", transform=at_foot, label="failed or unfinished", **style)
    style = {"textcoords": "offset points", "ha": "center", "color": _LOST, "fontsize": 8, "zorder": 4}
    white = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}
    axes.annotate(number, (x, 0), (0, 7), xycoords=at_foot, bbox=white, **style)


def _norm(sweep: Sweep, means: Sequence[float]) -> dict[str, Any]:
    """The colours of the choosing figure: the better, the lighter."""
    known, scale = [mean for mean in means if mean is not None and math.isfinite(mean)], log_scale(sweep)
    ends = min(known), max(known)
    norm = colors.FuncNorm((scale.to, scale.back), *ends) if scale else colors.Normalize(*ends)
    return {"cmap": "cividis_r" if sweep.chooses.endswith("loss") else "cividis", "norm": norm}


def _colour_bar(image: Any, places: Sequence[Any], sweep: Sweep, best: str) -> None:
    scale = log_scale(sweep)
    style = {"ticks": scale.ticks, "format": "{x:.4g}"} if scale else {}
    label = f"{labelled(sweep.chooses)}, mean; {best}: the best"
    places[0].figure.colorbar(image, ax=places, location="bottom", aspect=40, label=label, **style)


def _scatters(places: Sequence[Any], sweep: Sweep, pairs: list[tuple[str, str]], room: int) -> None:
    """Draws the points against each pair of fields, coloured by their means; those without one are crosses."""
    means = [point.summary(sweep.chooses).mean for point in sweep.points]
    known = [i for i, mean in enumerate(means) if mean is not None and math.isfinite(mean)]
    lost = [i for i in range(len(means)) if i not in known]
    colour = _norm(sweep, means)
    for axes, (across, up) in zip(places, pairs):
        x, y = (
            [set_field_axis(axes, xy, sweep, field, size)[point.values[field]] for point in sweep.points]
            for xy, field, size in (("x", across, room), ("y", up, 12))
        )
        axes.plot([x[i] for i in lost], [y[i] for i in lost], "x", color=_LOST, ms=8, mew=2)
        # The best is drawn last, above the others.
        place = [(x[i], y[i]) for i in reversed(known)]
        shown = [means[i] for i in reversed(known)]
        image = axes.scatter(*zip(*place), c=shown, s=70, ec="#555555", lw=0.5, zorder=2, **colour)
        axes.plot(*place[-1], "o", ms=14, mfc="none", mec=_LOST, mew=2, zorder=3)
    _colour_bar(image, places, sweep, "ringed")


def _heat_map(axes: Any, sweep: Sweep, fields: Sequence[str], room: tuple[int, int]) -> None:
    """Draws the mean of every point into its cell; points without a finished member are hatched, the best is framed.

    The first field goes up, the second across. There is room for so many characters across, and lines up.
    """
    up, across = fields
    rows, columns = values_of(sweep, up), values_of(sweep, across)
    cells = {(rows.index(p.values[up]), columns.index(p.values[across])): p for p in sweep.points}
    means = np.full((len(rows), len(columns)), np.nan)
    for place, point in cells.items():
        means[place] = summarize(figures(point.members, sweep.chooses)).mean
    image = axes.imshow(means, aspect="auto", origin="lower", **_norm(sweep, means.flatten().tolist()))
    for (row, column), point in cells.items():
        lines = point.rest().split(", ")
        if np.isnan(means[row, column]):
            box, colour = ((column - 0.5, row - 0.5), 1, 1), "black"
            axes.add_patch(patches.Rectangle(*box, fc="#EEEEEE", ec="#CCCCCC", hatch="///", lw=0))
        else:
            lines = str(point.summary(sweep.chooses)).replace(" ±", "\n±").split("\n") + lines
            colour = text_colour(image, means[row, column])
        # As large as the cell allows. Very small cells have no text, only colours.
        size = min(10, 9.8 * room[0] / len(columns) / max(map(len, lines)), 3 * room[1] / len(rows))
        if size > 4:
            style = {"ha": "center", "va": "center", "fontsize": size, "color": colour}
            axes.text(column, row, "\n".join(filter(None, lines)), **style)
    best = next(place for place, point in cells.items() if point is sweep.points[0])
    axes.add_patch(patches.Rectangle((best[1] - 0.48, best[0] - 0.48), 0.96, 0.96, fill=False, ec=_LOST, lw=2.5))
    axes.grid(False)
    axes.set_xlabel(labelled(across))
    axes.set_ylabel(labelled(up))
    set_ticks(axes, "x", range(len(columns)), columns, room[0], "categorical")
    set_ticks(axes, "y", range(len(rows)), rows, room[1], "categorical")
    _colour_bar(image, [axes], sweep, "framed")


def _strip(axes: Any, sweep: Sweep) -> None:
    """Draws all members on one line, spread a little across it, and their mean ± std."""
    shown = figures(sweep.members, sweep.chooses)
    summary = summarize(shown)
    across = [0.4 * ((i * 0.618) % 1 - 0.5) for i in range(len(shown))]
    axes.plot(shown, across, "o", color=_MEMBER, alpha=0.7, mew=0, ms=8, label="a member")
    text = f"mean ± std: {summary} (n = {summary.n})"
    axes.errorbar(summary.mean, -0.4, xerr=summary.std or 0.0, fmt="o", color=_MEAN, capsize=5, label=text)
    set_figure_axis(axes, "x", sweep)
    axes.set(ylim=(-0.6, 0.4), yticks=[])
    axes.spines.left.set_visible(False)
    if rest := sweep.points[0].rest():
        axes.plot([], [], "X", color=_LOST, label=rest)
    _legend(axes)
