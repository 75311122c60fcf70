"""The axes of the figure of a sweep: scales, ticks and limits of swept fields and of the figure that chooses."""

from collections.abc import Callable, Iterable, Sequence
import math
import textwrap
from typing import Any, NamedTuple

from matplotlib import ticker
import numpy as np

from digits.runs.sweep_folder import Sweep, SweptRun

_MOST_LABELS = 8  # Of an axis of numbers; more values get round numbers on their scale.
_LONGEST_ROUND = 7  # Characters of a round number.
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
    "augment.elastic": "pixels",
    "augment.elastic_sigma": "pixels",
    "augment.erasing": "fraction of the side",
    "val_accuracy": "fraction",
    "test_accuracy": "fraction",
    "val_loss": "nats",
    "test_loss": "nats",
}


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


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def figures(members: Iterable[SweptRun], name: str) -> list[float]:
    """The members' figures of this name that are finite numbers."""
    values = [member.figures[name] for member in members]
    return [value for value in values if value is not None and math.isfinite(value)]


def labelled(name: str) -> str:
    return f"{name} ({_UNITS[name]})" if name in _UNITS else name


def text_of(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else textwrap.fill(str(value), 24)


class _LogScale(NamedTuple):
    """The functions to and from a logarithmic scale, and its ticks."""

    to: Callable
    back: Callable
    ticks: list[float]


def log_scale(sweep: Sweep) -> _LogScale | None:
    """Chooses the scale of the figure that chooses; None for a linear one.

    On a linear scale, one learning rate that is too high would press all other points into a line. The scale of a loss
    is its logarithm, that of an accuracy the logarithm of its distance from 1. Both are increased by 1e-4, so that zero
    stays finite.
    """
    least, is_loss = 1e-4, sweep.chooses.endswith("loss")
    distances = [figure if is_loss else 1 - figure for figure in figures(sweep.members, sweep.chooses)]
    low, high = min(distances), max(distances)
    if low < 0 or high + least < 10 * (low + least):
        return None
    steps = (1, 2, 5) if high < 1000 * (low + least) else (1,)
    ticks = [step * 10.0**power for power in range(-4, 4) for step in steps]
    if is_loss:
        return _LogScale(lambda x: np.log10(np.maximum(x + least, 1e-12)), lambda y: 10**y - least, ticks)
    ticks = [0.0, 0.5, *(1 - tick for tick in ticks if tick < 0.5)]
    return _LogScale(lambda x: -np.log10(np.maximum(1 + least - x, 1e-12)), lambda y: 1 + least - 10**-y, ticks)


def set_figure_axis(axes: Any, xy: str, sweep: Sweep) -> None:
    """Sets name, scale and ticks of the "x" or "y" axis that shows the choosing figure."""
    scale = log_scale(sweep)
    axes.set(**{f"{xy}label": labelled(sweep.chooses) + ("\nlog scale" if scale else "")})
    if scale:
        getattr(axes, f"set_{xy}scale")("function", functions=(scale.to, scale.back))
        axis = getattr(axes, f"{xy}axis")
        axis.set_major_locator(ticker.FixedLocator(scale.ticks))
        axis.set_minor_locator(ticker.NullLocator())
        axis.set_major_formatter("{x:.4g}")


def set_field_axis(axes: Any, xy: str, sweep: Sweep, field: str, room: int) -> dict[Any, float]:
    """Sets name, scale and ticks of the "x" or "y" axis of a swept field; returns each value's place.

    An x axis is `room` characters wide, a y axis `room` lines high.
    """
    values = values_of(sweep, field)
    kind = axis_kind(values)
    along = list(range(len(values))) if kind == "categorical" else values
    if kind == "log":
        getattr(axes, f"set_{xy}scale")("log")
    if kind != "categorical" and (len(values) > _MOST_LABELS or not sweep.is_grid):
        _set_round_ticks(axes, xy, values, room, kind)
    else:
        set_ticks(axes, xy, along, values, room, kind)
    axes.margins(**{xy: 0.5 / len(values) if kind == "categorical" else 0.08})
    axes.set(**{f"{xy}label": labelled(field)})
    return dict(zip(values, along))


def _set_round_ticks(axes: Any, xy: str, values: Sequence[float], room: int, kind: str) -> None:
    """Labels an axis at round numbers, for values that were drawn by chance or are many."""
    axis = getattr(axes, f"{xy}axis")
    if kind == "log":
        needed = 3 * math.log10(values[-1] / values[0]) * (_LONGEST_ROUND if xy == "x" else 1.5)
        steps = (1.0, 2.0, 5.0) if needed <= room else (1.0,)
        axis.set_major_locator(ticker.LogLocator(subs=steps, numticks=12))
    else:
        axis.set_major_locator(ticker.MaxNLocator(5 if xy == "x" else 7))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter("{x:.4g}")


def set_ticks(axes: Any, xy: str, places: Sequence[float], values: Sequence[Any], room: int, kind: str) -> None:
    """Labels an axis at those values whose labels have room beside each other, in characters or in lines."""
    turned: dict[str, Any] = {}
    getattr(axes, f"{xy}axis").set_minor_locator(ticker.NullLocator())
    labels = [text_of(value) for value in values]
    lengths = [max(map(len, label.split("\n"))) if xy == "x" else 1.5 * (label.count("\n") + 1) for label in labels]
    if xy == "x" and kind == "categorical" and sum(lengths) + len(lengths) > room:
        turned, lengths = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}, [2.5] * len(labels)
    shown_at = [math.log(place) for place in places] if kind == "log" else list(places)
    per_character = (shown_at[-1] - shown_at[0] or 1.0) * (1.0 if kind != "categorical" else 1 + 1 / len(values)) / room
    ticks = [0]
    for i in range(1, len(values)):
        needed = (lengths[i] + lengths[ticks[-1]]) / 2 + (1 if xy == "x" else 0)
        if shown_at[i] - shown_at[ticks[-1]] >= needed * per_character:
            ticks.append(i)
    getattr(axes, f"set_{xy}ticks")([places[i] for i in ticks], [labels[i] for i in ticks], **turned)


def set_limits(axes: Any, sweep: Sweep) -> None:
    """Sets the limits of the shared y axis to all members, with room for the failures at the foot; bars are cut off."""
    shown, scale = figures(sweep.members, sweep.chooses), log_scale(sweep)
    to, back = (scale.to, scale.back) if scale else (float, float)
    low, high = to(min(shown)), to(max(shown))
    length = high - low or 0.01
    foot = 0.05 if len(shown) == len(sweep.members) else 0.13
    axes.set_ylim(back(low - foot * length), back(high + 0.05 * length))
