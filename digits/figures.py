"""The figures of runs: learning curves, first-layer weights, augmented digits; and the style that all figures share.

Drawn without pyplot, so that a notebook's own figures stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import io
import math
import sys
import textwrap
import typing
from typing import Any

import numpy as np

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure
    from ml_collections import ConfigDict

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, VERMILLION, SKY, DARK = "#0072B2", "#D55E00", "#56B4E9", "#333333"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", SKY, "#000000", "#999999")
STYLE = {
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.3,
    "text.parse_math": False,  # A value may hold a $.
}
DPI = 120
# Title, name of the axis, and the columns that are drawn dashed (training) and solid (validation).
_PANELS = {
    "Loss": ("cross-entropy (nats)", "loss", "val_loss"),
    "Accuracy": ("accuracy (fraction)", "accuracy", "val_accuracy"),
    "Learning rate": ("learning rate", None, "learning_rate"),
}


def styled(draw: Callable) -> Callable:
    """Decorates a function that makes a figure, or a picture of one: it does so in the style."""

    @functools.wraps(draw)
    def in_style(*args, **kwargs):
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def enable_in_notebook() -> None:
    """Has the notebook, if this is one, show figures: otherwise it learns to from the first figure of pyplot's."""
    from matplotlib.figure import Figure

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell and Figure not in shell.display_formatter.formatters["image/png"]:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each run, the same in every figure and table of a report. They repeat after eight."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


@styled
def png(figure: "Figure") -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    # With optimize, saving takes nearly twice as long and the file is a twentieth smaller.
    figure.savefig(file, format="png", pil_kwargs={"compress_level": 4})
    return file.getvalue()


@styled
def curves(runs: Sequence[Any] | Mapping[str, Any], documented: Mapping[str, Sequence] | None = None) -> "Figure":
    """Loss, accuracy and, where it varies, learning rate over the epochs.

    Args:
      runs: what has a `history` (a table or a list of dicts, as `loading.Run` has it), or several; by name, for the
        legend. A list in the place of one, such as the members of a sweep, is drawn as its mean and its range.
      documented: the epochs that a notebook printed, drawn as marks: columns named as those of `history`, None where
        nothing is left.

    Returns:
      A matplotlib figure with two or three panels.
    """
    from matplotlib.figure import Figure

    named = runs if isinstance(runs, Mapping) else dict(zip(_default_names(len(runs)), runs))
    groups = {
        name: [_by_epoch(run.history) for run in (group if isinstance(group, (list, tuple)) else [group])]
        for name, group in named.items()
    }
    records = [record for group in groups.values() for history in group for record in history.values()]
    varies = any(len({record["learning_rate"] for record in history.values() if record.get("learning_rate")}) > 1
                 for group in groups.values() for history in group)  # fmt: skip
    panels = list(_PANELS)[: 3 if varies else 2]
    figure = Figure(figsize=(10 if len(panels) == 2 else 12.5, 4.2), dpi=DPI, layout="constrained")
    for axes, title in zip(figure.subplots(1, len(panels)), panels):
        label, *columns = _PANELS[title]
        shown = [v for column in columns if column for record in records if _number(v := record.get(column))]
        shown += [v for column in columns for v in (documented or {}).get(column, ()) if _number(v)]
        # A rate that a schedule takes to nearly nothing would press all others together.
        spread = max(shown) / min(shown) if shown and min(shown) > 0 else 1
        logarithmic = title != "Accuracy" and 10 <= spread <= 1e5
        for (name, group), colour in zip(groups.items(), colours(groups).values()):
            for column, style in zip(columns, ({"ls": "--", "lw": 1.2}, {"ls": "-", "lw": 1.8})):
                _line(axes, group, column, color=colour, **style)
        for column, mark in zip(columns, "xo"):
            values = (documented or {}).get(column, ())
            known = [(epoch, v) for epoch, v in enumerate(values, start=1) if _number(v)]
            if known:
                axes.plot(*zip(*known), mark, color=DARK, ms=4, mfc="none", mew=0.8, zorder=3)
        axes.set(title=title, xlabel="epoch", ylabel=label + ", log scale" * logarithmic)
        if logarithmic:
            _set_log_axis(axes, shown)
        _set_epoch_axis(axes)
    _legend(figure, groups, records, documented)
    return figure


def _default_names(count: int) -> list[str]:
    return [""] if count == 1 else [f"run {i + 1}" for i in range(count)]


def _by_epoch(history: Any) -> dict[int, dict[str, Any]]:
    """The records of a history by epoch: of a list of dicts, or of a table whose index is the epoch."""
    if hasattr(history, "to_dict"):
        return {int(epoch): record for epoch, record in history.to_dict("index").items()}
    return {record["epoch"]: record for record in history}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _line(axes: Any, group: list[dict], column: str | None, color: str, **style: Any) -> None:
    """A run's column; the mean of several, and the range from the least to the greatest."""
    points = []  # Epoch, mean, least, greatest.
    for epoch in sorted(set().union(*group)):
        values = [
            history[epoch][column] for history in group if epoch in history and _number(history[epoch].get(column))
        ]
        if values:
            points.append((epoch, sum(values) / len(values), min(values), max(values)))
    if points:
        epochs, means, least, greatest = zip(*points)
        axes.plot(epochs, means, color=color, marker="." if len(points) == 1 else "", **style)
        if len(group) > 1:
            axes.fill_between(epochs, least, greatest, color=color, alpha=0.15, lw=0)


def _set_log_axis(axes: Any, shown: list[float]) -> None:
    """A logarithmic y axis with ticks that are read as numbers."""
    from matplotlib import ticker

    axes.set_yscale("log")
    steps = (1, 2, 5) if max(shown) < 300 * min(shown) else (1,)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=steps, numticks=12))
    axes.yaxis.set_major_formatter("{x:.4g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _set_epoch_axis(axes: Any) -> None:
    from matplotlib import ticker

    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    left, right = axes.get_xlim()
    if right - left < 1:  # A single epoch.
        axes.set_xlim(round(left) - 0.5, round(right) + 0.5)


def _legend(figure: "Figure", groups: Mapping, records: list[dict], documented: Mapping[str, Sequence] | None) -> None:
    """Colours say the run, lines the split, marks the documented figures."""
    from matplotlib.lines import Line2D

    several = len(groups) > 1
    handles = []
    for (name, group), colour in zip(groups.items(), colours(groups).values()):
        many = f" (mean and range of {len(group)})" if len(group) > 1 else ""
        if several or name and many:
            handles.append(Line2D([], [], color=colour, lw=4, label=textwrap.fill(name + many, 60)))
    colour = DARK if several else COLOURS[0]
    handles.append(Line2D([], [], color=colour, ls="--", lw=1.2, label="training"))
    if any(_number(record.get("val_loss")) for record in records):
        handles.append(Line2D([], [], color=colour, ls="-", lw=1.8, label="validation"))
    for column, mark, name in (("accuracy", "x", "training"), ("val_accuracy", "o", "validation")):
        if any(map(_number, (documented or {}).get(column, ()))):
            style = {"ls": "", "color": DARK, "mfc": "none", "ms": 4, "mew": 0.8}
            handles.append(Line2D([], [], marker=mark, label=f"documented, {name}", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if not several else 3, frameon=False)


@styled
def filters(kernel: np.ndarray, most: int = 64) -> "Figure":
    """The weights of a first layer, each unit's as a picture of the pixels that it sees.

    Args:
      kernel: of a convolution, HxWx1xC, or of a dense layer, (H*H)xC, on images of one channel.
      most: units shown, the first ones.

    Returns:
      A matplotlib figure: negative weights blue, positive ones red, zero white, one scale for all.
    """
    from matplotlib.figure import Figure

    kernel = np.asarray(kernel)
    units = kernel.shape[-1]
    side = math.isqrt(kernel.shape[0]) if kernel.ndim == 2 else kernel.shape[0]
    pictures = np.moveaxis(kernel.reshape(side, -1, units), -1, 0)[:most]
    columns = min(len(pictures), 16 if side < 10 else 8)
    rows = math.ceil(len(pictures) / columns)
    gap = max(1, side // 10)
    wall = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap), np.nan)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (side + gap), i % columns * (side + gap)
        wall[top : top + side, left : left + side] = picture
    width = 1.2 + 7.6 * columns / (16 if side < 10 else 8)
    figure = Figure(figsize=(max(width, 4), 0.9 + 7.6 * rows / (16 if side < 10 else 8)), dpi=DPI, layout="constrained")
    axes, largest = figure.subplots(), float(np.abs(pictures).max()) or 1.0
    image = axes.imshow(wall, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    axes.set_axis_off()
    some = f"the first {len(pictures)} of " if len(pictures) < units else ""
    axes.set_title(f"First layer: {some}{units} units of {side}x{side} weights")
    figure.colorbar(image, ax=axes, label="weight", fraction=0.05, aspect=12 * rows**0.5)
    return figure


def samples(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], most: int = 60) -> np.ndarray:
    """The first examples of every class, as a picture of at most `most` digits, with their classes: HxWx3, uint8."""
    from digits import sheet

    classes = len(class_names)
    order = first_of_each(labels, classes, max(1, min(3, most // classes)))[:most]
    # With up to ten classes, a column is a class.
    return sheet.sheet(np.asarray(images)[order], [str(class_names[labels[i]]) for i in order], min(classes, 10))


def first_of_each(labels: np.ndarray, classes: int, times: int = 1) -> list[int]:
    """Indices: of the first example of each class, then of the second of each, and so on."""
    first = [np.flatnonzero(np.asarray(labels) == c)[:times] for c in range(classes)]
    return [int(of[i]) for i in range(times) for of in first if i < len(of)]


def augmentation(images: np.ndarray, config: "ConfigDict", draws: int = 4, seed: int = 0) -> np.ndarray:
    """What training sees of images: a row of originals over rows of draws, as a picture, HxWx3, uint8.

    Args:
      images: Nx28x28, uint8.
      config: `config.augment`, with a range that is on.
      draws: rows of draws.
      seed: of the draws.
    """
    import jax

    from digits import augment, sheet

    transform = jax.jit(lambda key, images: augment.random_affine(key, images, config))
    many = np.tile(np.asarray(images, np.float32), (draws, 1, 1))[..., None]
    drawn = np.asarray(transform(jax.random.key(seed), many))[..., 0]
    rows = np.concatenate([images, np.round(np.clip(drawn, 0, 255)).astype(np.uint8)])
    return sheet.sheet(rows, columns=len(images))
