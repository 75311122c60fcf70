"""The learning curves of runs: loss, accuracy and learning rate over the epochs."""

from collections.abc import Mapping, Sequence
import math
import textwrap
from typing import Any

from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from digits.analysis.figures.style import COLOURS, DARK, looks, new_figure, styled

# Title, name of the axis, and the columns that are drawn dashed (training) and solid (validation).
_PANELS = {
    "Loss": ("cross-entropy (nats)", "loss", "val_loss"),
    "Accuracy": ("accuracy (fraction)", "accuracy", "val_accuracy"),
    "Learning rate": ("learning rate", None, "learning_rate"),
}


@styled
def curves(runs: Sequence[Any] | Mapping[str, Any], documented: Mapping[str, Sequence] | None = None) -> Figure:
    """Draws loss, accuracy and, where it varies, learning rate over the epochs.

    curves([digits.load("runs/simple_cnn")]).savefig("curves.png")

    Args:
      runs: objects with a `history` (a table, as of `loading.Run`, or a list of dicts), or a dict of them by name, for
        the legend. A list in the place of one run, such as the members of a sweep, is drawn as its mean and range.
      documented: the epochs that a notebook printed, drawn as marks: columns named as in `history`, with None where the
        notebook lost an epoch.

    Returns:
      A matplotlib figure with two or three panels.
    """
    groups, titles = _groups(runs)
    figure = new_figure(10 if len(titles) == 2 else 12.5, 4.2)
    for axes, title in zip(figure.subplots(1, len(titles)), titles):
        _panel(axes, title, groups, documented or {})
    handles = [*_names_of(groups), *_kinds(groups, documented or {})]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if len(groups) > 1 else 4, frameon=False)
    return figure


@styled
def panels(
    runs: Sequence[Any] | Mapping[str, Any], documented: Mapping[str, Sequence] | None = None
) -> dict[str, Figure]:
    """Draws the panels of `curves` as a figure each, by name; their legends leave out the names of the runs."""
    groups, titles = _groups(runs)
    figures = {}
    for title in titles:
        figures[title.lower().replace(" ", "_")] = figure = new_figure(5, 3.8)
        _panel(figure.subplots(), title, groups, documented or {})
        figure.legend(handles=_kinds(groups, documented or {}), loc="outside lower center", ncols=2, frameon=False)
    return figures


def _groups(runs: Sequence[Any] | Mapping[str, Any]) -> tuple[dict[str, list[dict]], list[str]]:
    """The histories of each run by epoch, several for a sweep, and the titles of the panels that they need."""
    named = runs if isinstance(runs, Mapping) else dict(zip(_default_names(len(runs)), runs))
    groups = {
        name: [_by_epoch(run.history) for run in (group if isinstance(group, (list, tuple)) else [group])]
        for name, group in named.items()
    }
    return groups, list(_PANELS)[: 3 if _rate_varies(groups) else 2]


def _panel(axes: Any, title: str, groups: Mapping[str, list[dict]], documented: Mapping[str, Sequence]) -> None:
    label, *columns = _PANELS[title]
    shown = [v for column in columns if column for record in _records(groups) if _number(v := record.get(column))]
    shown += [v for column in columns for v in documented.get(column, ()) if _number(v)]
    # Not beyond 1e5: a schedule that ends near zero would press all other rates together.
    spread = max(shown) / min(shown) if shown and min(shown) > 0 else 1
    logarithmic = title != "Accuracy" and 10 <= spread <= 1e5
    for i, (group, look) in enumerate(zip(groups.values(), looks(groups).values())):
        for column, style in zip(columns, ({"ls": "--", "lw": 1.2}, {"ls": "-", "lw": 1.8})):
            # The markers of several runs lie at different epochs, so that they do not hide each other.
            marks = {"marker": look.marker, "ms": 5, "markevery": (i % 4 / 20, 0.2)} if len(groups) > 1 else {}
            _line(axes, group, column, color=look.colour, **style, **marks)
    for column, mark in zip(columns, "xo"):
        known = [(epoch, v) for epoch, v in enumerate(documented.get(column, ()), start=1) if _number(v)]
        if known:
            axes.plot(*zip(*known), mark, color=DARK, ms=4, mfc="none", mew=0.8, zorder=3)
    axes.set(title=title, xlabel="epoch", ylabel=label)
    if logarithmic:
        axes.set_ylabel(f"{label}, log scale")
        _set_log_axis(axes, shown)
    _set_epoch_axis(axes)


def _records(groups: Mapping[str, list[dict]]) -> list[dict]:
    return [record for group in groups.values() for history in group for record in history.values()]


def _default_names(count: int) -> list[str]:
    return [""] if count == 1 else [f"run {i + 1}" for i in range(count)]


def _rate_varies(groups: Mapping[str, list[dict]]) -> bool:
    """Whether the learning rate changes within a run."""
    histories = [history for group in groups.values() for history in group]
    rates = [{record.get("learning_rate") for record in history.values()} - {None, 0} for history in histories]
    return any(len(of_run) > 1 for of_run in rates)


def _by_epoch(history: Any) -> dict[int, dict[str, Any]]:
    """Orders a history, a list of dicts or a table whose index is the epoch, by epoch."""
    if hasattr(history, "to_dict"):
        return {int(epoch): record for epoch, record in history.to_dict("index").items()}
    return {record["epoch"]: record for record in history}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _line(axes: Any, group: list[dict], column: str | None, **style: Any) -> None:
    """Draws a column of a run; of several runs the mean, and the range from the least to the greatest."""
    points = []  # Epoch, mean, least, greatest.
    for epoch in sorted(set().union(*group)):
        values = [
            history[epoch][column] for history in group if epoch in history and _number(history[epoch].get(column))
        ]
        if values:
            points.append((epoch, sum(values) / len(values), min(values), max(values)))
    if points:
        epochs, means, least, greatest = zip(*points)
        axes.plot(epochs, means, **({"marker": "."} if len(points) == 1 else {}) | style)
        if len(group) > 1:
            axes.fill_between(epochs, least, greatest, color=style["color"], alpha=0.15, lw=0)


def _set_log_axis(axes: Any, shown: list[float]) -> None:
    """Makes the y axis logarithmic, with ticks written as plain numbers."""
    axes.set_yscale("log")
    steps = (1, 2, 5) if max(shown) < 300 * min(shown) else (1,)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=steps, numticks=12))
    axes.yaxis.set_major_formatter("{x:.4g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _set_epoch_axis(axes: Any) -> None:
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    left, right = axes.get_xlim()
    if right - left < 1:  # A single epoch.
        axes.set_xlim(round(left) - 0.5, round(right) + 0.5)


def _names_of(groups: Mapping[str, list[dict]]) -> list[Line2D]:
    """The legend's entries of runs: colours and markers."""
    handles = []
    for (name, group), look in zip(groups.items(), looks(groups).values()):
        many = f" (mean and range of {len(group)})" if len(group) > 1 else ""
        if len(groups) > 1 or name and many:
            marker = look.marker if len(groups) > 1 else ""
            handles.append(Line2D([], [], color=look.colour, lw=3, marker=marker, label=textwrap.fill(name + many, 60)))
    return handles


def _kinds(groups: Mapping[str, list[dict]], documented: Mapping[str, Sequence]) -> list[Line2D]:
    """The legend's entries of splits, which are kinds of lines, and of documented figures, which are marks."""
    colour = DARK if len(groups) > 1 else COLOURS[0]
    handles = [Line2D([], [], color=colour, ls="--", lw=1.2, label="training")]
    if any(_number(record.get("val_loss")) for record in _records(groups)):
        handles.append(Line2D([], [], color=colour, ls="-", lw=1.8, label="validation"))
    for column, mark, name in (("accuracy", "x", "training"), ("val_accuracy", "o", "validation")):
        if any(map(_number, documented.get(column, ()))):
            style = {"ls": "", "color": DARK, "mfc": "none", "ms": 4, "mew": 0.8}
            handles.append(Line2D([], [], marker=mark, label=f"documented, {name}", **style))
    return handles
