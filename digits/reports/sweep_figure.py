"""Draws a sweep: the figure that chooses the best point against the swept fields.

One field gets a panel; two get a heat map with a panel each beside it; more get a panel each. If only seeds or folds
were swept, all members are drawn on one line.
"""

from collections.abc import Callable, Iterable, Sequence
import math
import textwrap
from typing import Any, NamedTuple

from matplotlib import colors, patches, ticker
import numpy as np

from digits.analysis.figures.style import BLUE, SKY, VERMILLION, new_figure, png, styled, text_colour
from digits.analysis.statistics import summarize
from digits.runs.sweep_folder import Sweep, SweptRun

PANELS_A_ROW = 4
_UNITS = {
    "batch_size": "images",
    "early_stopping.patience": "epochs",
    "schedule.warmup_epochs": "epochs",
    "schedule.start_epoch": "epochs",
    "schedule.patience": "epochs",
    "schedule.cooldown": "epochs",
    "augment.rotation": "± degrees",
    "augment.shear": "± degrees",
    "augment.height_shift": "± fraction of the height",
    "augment.width_shift": "± fraction of the width",
    "val_accuracy": "fraction",
    "test_accuracy": "fraction",
    "val_loss": "nats",
    "test_loss": "nats",
}
_MEMBER, _MEAN, _LOST = SKY, BLUE, VERMILLION


def values_of(sweep: Sweep, field: str) -> list[Any]:
    """Lists the values that a field was swept over: numbers in ascending order, others in the order of the sweep."""
    values = list(dict.fromkeys(member.values[field] for member in sweep.members))
    return sorted(values) if _are_numbers(values) else values


def axis_kind(values: Sequence[Any]) -> str:
    """Chooses "log", "linear" or "categorical": log for positive numbers over a factor of 10, or in geometric steps.

    axis_kind([0.001, 0.01, 0.1]) == "log"
    """
    if not _are_numbers(values):
        return "categorical"
    values = sorted(values)
    if values[0] <= 0 or values[-1] < 2 * values[0]:
        return "linear"
    steps = [math.log(b / a) for a, b in zip(values, values[1:])]
    geometric = len(steps) > 1 and max(steps) - min(steps) < 0.01 * min(steps)
    return "log" if geometric or values[-1] >= 10 * values[0] else "linear"


@styled
def draw(sweep: Sweep) -> bytes | None:
    """Draws a sweep as a PNG file, 1200 pixels wide; None if nothing varies or no member has finished.

    picture = draw(read_sweep("runs/simple_cnn_sweep"))
    """
    if len(sweep.members) < 2 or not _figures(sweep.members, sweep.chooses):
        return None
    fields = [field for field in sweep.point_fields if len(values_of(sweep, field)) > 1]
    by = ", ".join(fields) or " and ".join(sweep.fields)
    marked = "chosen by" if sweep.chosen_by_test else "validated on" if sweep.validation_is_test else ""
    title = f"{sweep.config_file}: {sweep.chooses} by {by}" + (f", {marked} the test set" if marked else "")
    rows = math.ceil(len(fields) / PANELS_A_ROW)
    columns = math.ceil(len(fields) / max(rows, 1))
    height = {0: 3.0, 1: 5.0, 2: 7.0}.get(len(fields), 1.0 + 3.4 * rows)
    figure = new_figure(10, height)
    figure.suptitle(textwrap.fill(title, 110))
    if not fields:
        _strip(figure.subplots(), sweep)
    elif len(fields) == 2:
        places = figure.subplot_mosaic([["map", "0"], ["map", "1"]], width_ratios=(3, 2))
        places["0"].sharey(places["1"])
        _heat_map(places["map"], sweep, *fields)
        _panels([places["0"], places["1"]], sweep, fields, room=34)
    else:
        places = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
        _panels(places[: len(fields)], sweep, fields, room=100 // columns)
        for i, axes in enumerate(places):
            if i >= len(fields):
                axes.remove()
            elif i % columns:
                axes.set_ylabel("")
    return png(figure)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _figures(members: Iterable[SweptRun], name: str) -> list[float]:
    """The members' figures of this name that are finite numbers."""
    values = [member.figures[name] for member in members]
    return [value for value in values if value is not None and math.isfinite(value)]


def _label(name: str) -> str:
    return f"{name} ({_UNITS[name]})" if name in _UNITS else name


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else textwrap.fill(str(value), 24)


class _LogScale(NamedTuple):
    """The functions to and from a logarithmic scale, and its ticks."""

    to: Callable
    back: Callable
    ticks: list[float]


def _log_scale(sweep: Sweep) -> _LogScale | None:
    """Chooses the scale of the figure that chooses; None for a linear one.

    On a linear scale, one learning rate that is too high would press all other points into a line. The scale of a loss
    is its logarithm, that of an accuracy the logarithm of its distance from 1. Both are increased by 1e-4, so that zero
    stays finite.
    """
    least, is_loss = 1e-4, sweep.chooses.endswith("loss")
    distances = [figure if is_loss else 1 - figure for figure in _figures(sweep.members, sweep.chooses)]
    low, high = min(distances), max(distances)
    if low < 0 or high + least < 10 * (low + least):
        return None
    steps = (1, 2, 5) if high < 1000 * (low + least) else (1,)
    ticks = [step * 10.0**power for power in range(-4, 4) for step in steps]
    if is_loss:
        return _LogScale(lambda x: np.log10(np.maximum(x + least, 1e-12)), lambda y: 10**y - least, ticks)
    ticks = [0.0, 0.5, *(1 - tick for tick in ticks if tick < 0.5)]
    return _LogScale(lambda x: -np.log10(np.maximum(1 + least - x, 1e-12)), lambda y: 1 + least - 10**-y, ticks)


def _set_figure_axis(axes: Any, xy: str, sweep: Sweep) -> None:
    """Sets name, scale and ticks of the "x" or "y" axis that shows the choosing figure."""
    scale = _log_scale(sweep)
    axes.set(**{f"{xy}label": _label(sweep.chooses) + ("\nlog scale" if scale else "")})
    if scale:
        getattr(axes, f"set_{xy}scale")("function", functions=(scale.to, scale.back))
        axis = getattr(axes, f"{xy}axis")
        axis.set_major_locator(ticker.FixedLocator(scale.ticks))
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_major_formatter("{x:.4g}")


def _set_field_axis(axes: Any, field: str, values: list[Any], room: int) -> dict[Any, float]:
    """Sets name, scale and ticks of the x axis of a swept field; returns each value's place.

    The axis is `room` characters wide.
    """
    kind = axis_kind(values)
    along = list(range(len(values))) if kind == "categorical" else values
    if kind == "log":
        axes.set_xscale("log")
    shown_at = [math.log(place) for place in along] if kind == "log" else along
    apart = 0.09 * (shown_at[-1] - shown_at[0])
    ticks = [0]  # A number too close to the one before gets no label.
    for i in range(1, len(values)):
        if kind == "categorical" or shown_at[i] - shown_at[ticks[-1]] > apart:
            ticks.append(i)
    _set_ticks(axes, [along[i] for i in ticks], [values[i] for i in ticks], room)
    axes.minorticks_off()
    axes.margins(x=0.5 / len(values) if kind == "categorical" else 0.08)
    axes.set_xlabel(_label(field))
    return dict(zip(values, along))


def _set_ticks(axes: Any, places: Sequence[float], values: Sequence[Any], room: int) -> None:
    """Labels an x axis with values, turned where they are longer than its `room` in characters."""
    labels = [_text(value) for value in values]
    length = sum(max(map(len, label.split("\n"))) for label in labels)
    turned = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if length > room else {}
    axes.set_xticks(places, labels, **turned)


def _panels(places: Sequence[Any], sweep: Sweep, fields: list[str], room: int) -> None:
    """Draws the choosing figure against each field: all members, and for every value their mean."""
    # With other fields, the members of a value differ in these too, and their mean has no interval.
    alone = len(fields) == 1
    ends = []
    for axes, field in zip(places, fields):
        values = values_of(sweep, field)
        x = _set_field_axis(axes, field, values, room)
        _set_figure_axis(axes, "y", sweep)
        bars = []  # Place, mean, half the length.
        for value in values:
            members = [member for member in sweep.members if member.values[field] == value]
            shown = _figures(members, sweep.chooses)
            axes.plot([x[value]] * len(shown), shown, "o", color=_MEMBER, alpha=0.6, mew=0, ms=6, label="a member")
            if shown:
                summary = summarize(shown)
                low, high = summary.interval() or (math.nan, math.nan)
                half = (high - low) / 2 if alone else summary.std
                bars.append((x[value], summary.mean, math.nan if half is None else half))
            if len(shown) < len(members):
                _mark_lost(axes, x[value], f"{len(members) - len(shown)} of {len(members)}")
        known = [(mean - half, mean + half) for _, mean, half in bars if not math.isnan(half)]
        ends += sum(known, ())
        line = "" if axis_kind(values) == "categorical" else "-"
        if known:
            what = "mean and its 95% interval" if alone else "mean ± std of all members with the value"
            axes.errorbar(*zip(*bars), fmt="o" + line, color=_MEAN, capsize=4, ms=5, label=what)
        elif alone and line:
            axes.plot(*list(zip(*bars))[:2], line, color=_MEAN, lw=1, zorder=1)
    _set_limits(places[0], sweep, ends)
    legend = {label: handle for axes in places for handle, label in zip(*axes.get_legend_handles_labels())}
    places[0].figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False)


def _mark_lost(axes: Any, x: float, number: str) -> None:
    """Marks at the foot of a panel how many members of a value failed or are unfinished."""
    at_foot = axes.get_xaxis_transform()
    style = {"color": _LOST, "ms": 9, "mec": "white", "zorder": 5, "clip_on": False, "ls": ""}
    axes.plot(x, 0, "X", transform=at_foot, label="failed or unfinished", **style)
    style = {"textcoords": "offset points", "ha": "center", "color": _LOST, "fontsize": 8, "zorder": 4}
    white = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8}
    axes.annotate(number, (x, 0), (0, 7), xycoords=at_foot, bbox=white, **style)


def _set_limits(axes: Any, sweep: Sweep, ends: list[float]) -> None:
    """Sets the limits of the shared y axis to all members and bars, with room for the failures at the foot."""
    scale, shown = _log_scale(sweep), _figures(sweep.members, sweep.chooses)
    if scale:  # A bar may reach beyond the values that this scale can show: it is cut off.
        to, back = scale.to, scale.back
    else:
        to = back = float
        shown += ends
    low, high = to(min(shown)), to(max(shown))
    length = high - low or 0.01
    foot = 0.05 if len(_figures(sweep.members, sweep.chooses)) == len(sweep.members) else 0.13
    axes.set_ylim(back(low - foot * length), back(high + 0.05 * length))


def _heat_map(axes: Any, sweep: Sweep, down: str, across: str) -> None:
    """Draws the mean of every point into its cell; points without a finished member are hatched, the best is framed."""
    rows, columns = values_of(sweep, down), values_of(sweep, across)
    cells = {(rows.index(p.values[down]), columns.index(p.values[across])): p for p in sweep.points}
    means = np.full((len(rows), len(columns)), np.nan)
    for place, point in cells.items():
        means[place] = summarize(_figures(point.members, sweep.chooses)).mean
    scale = _log_scale(sweep)
    norm = colors.FuncNorm((scale.to, scale.back), np.nanmin(means), np.nanmax(means)) if scale else None
    better_is_lighter = "cividis_r" if sweep.chooses.endswith("loss") else "cividis"
    image = axes.imshow(means, cmap=better_is_lighter, norm=norm, aspect="auto", origin="lower")
    for (row, column), point in cells.items():
        lines = point.rest().split(", ")
        if np.isnan(means[row, column]):
            box, colour = ((column - 0.5, row - 0.5), 1, 1), "black"
            axes.add_patch(patches.Rectangle(*box, fc="#EEEEEE", ec="#CCCCCC", hatch="///", lw=0))
        else:
            lines = str(point.summary(sweep.chooses)).replace(" ±", "\n±").split("\n") + lines
            colour = text_colour(image, means[row, column])
        # As large as the cell allows. Very small cells have no text, only colours.
        size = min(10, 540 / len(columns) / max(map(len, lines)), 100 / len(rows))
        if size > 4:
            style = {"ha": "center", "va": "center", "fontsize": size, "color": colour}
            axes.text(column, row, "\n".join(filter(None, lines)), **style)
    best = next(place for place, point in cells.items() if point is sweep.points[0])
    axes.add_patch(patches.Rectangle((best[1] - 0.48, best[0] - 0.48), 0.96, 0.96, fill=False, ec=_LOST, lw=2.5))
    axes.grid(False)
    axes.set_xlabel(_label(across))
    axes.set_ylabel(_label(down))
    _set_ticks(axes, range(len(columns)), columns, room=55)
    axes.set_yticks(range(len(rows)), map(_text, rows))
    style = {"ticks": scale.ticks, "format": "{x:.4g}"} if scale else {}
    label = f"{_label(sweep.chooses)}, mean; framed: the best"
    axes.figure.colorbar(image, ax=axes, location="bottom", aspect=40, label=label, **style)


def _strip(axes: Any, sweep: Sweep) -> None:
    """Draws all members on one line, spread a little across it, and their mean ± std."""
    shown = _figures(sweep.members, sweep.chooses)
    summary = summarize(shown)
    across = [0.4 * ((i * 0.618) % 1 - 0.5) for i in range(len(shown))]
    axes.plot(shown, across, "o", color=_MEMBER, alpha=0.7, mew=0, ms=8, label="a member")
    text = f"mean ± std: {summary} (n = {summary.n})"
    axes.errorbar(summary.mean, -0.4, xerr=summary.std or 0.0, fmt="o", color=_MEAN, capsize=5, label=text)
    _set_figure_axis(axes, "x", sweep)
    axes.set(ylim=(-0.6, 0.4), yticks=[])
    axes.spines.left.set_visible(False)
    if rest := sweep.points[0].rest():
        axes.plot([], [], "X", color=_LOST, label=rest)
    axes.figure.legend(loc="outside lower center", ncols=3, frameon=False)
