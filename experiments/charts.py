"""The figures of the results page: documented figures and curves against reproduced ones, and what decides claims."""

from collections.abc import Iterator, Mapping, Sequence
import itertools
import math
from typing import Any

from digits import style as figures
from digits.documented import reported
from digits.statistics import summarize
from experiments.documented import Comparison
from experiments.judging import CONTRADICTED, NOT_SUPPORTED, SUPPORTED, Judgement, prediction_interval
from experiments.study import TEST_ACCURACY, Difference, Member, at

# What a column is, its line's style and colour, and the mark of what the notebook printed of it.
_TRAINING = ("training", "--", figures.BLUE, "x")
_VALIDATION = ("validation", "-", figures.VERMILLION, "o")
_FEW = 3  # Members whose band would fill a panel.
_ACCURACIES = {"accuracy": _TRAINING, "val_accuracy": _VALIDATION}
_LOSSES = {"loss": _TRAINING, "val_loss": _VALIDATION}


@figures.styled
def deviations(comparisons: Sequence[Comparison]) -> bytes:
    """How far the documented figures lie from the means of the reproduced ones, a row a run, as a PNG file.

    Args:
      comparisons: each with at least two members.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.3 + 0.28 * len(comparisons)), dpi=figures.DPI, layout="constrained")
    axes = figure.subplots()
    for row, comparison in enumerate(comparisons):
        summary, points = comparison.summary, lambda value, mean=comparison.summary.mean: 100 * (value - mean)
        low, high = map(points, prediction_interval(summary))
        axes.plot([low, high], [row, row], color=figures.SKY, lw=7, solid_capstyle="butt", alpha=0.5, zorder=1)
        low, high = map(points, summary.interval())
        axes.plot([low, high], [row, row], color=figures.BLUE, lw=3, solid_capstyle="butt", zorder=2)
        colour, mark = (figures.DARK, "o") if comparison.inside else (figures.VERMILLION, "D")
        axes.plot(points(comparison.documented), row, mark, color=colour, ms=5, zorder=3)
    axes.axvline(0, color=figures.BLUE, lw=0.8)
    of = lambda metric: "" if metric is TEST_ACCURACY else f", {metric.name.split()[0]}"
    axes.set_yticks(range(len(comparisons)), [f"{c.arm.name}{of(c.metric)} (n = {c.summary.n})" for c in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy (test, if not named) minus its reproduced mean (% points)")
    _legend(figure, [
        ({"color": figures.DARK, "marker": "o", "ls": ""}, "documented, inside"),
        ({"color": figures.VERMILLION, "marker": "D", "ls": ""}, "documented, outside"),
        ({"color": figures.SKY, "lw": 7, "alpha": 0.5}, "95% of single runs"),
        ({"color": figures.BLUE, "lw": 3}, "95% interval of the mean"),
    ], columns=4)  # fmt: skip
    return figures.png(figure)


# By the verdict, and by what was claimed.
_COLOURS = {SUPPORTED: figures.BLUE, NOT_SUPPORTED: "#888888", CONTRADICTED: figures.VERMILLION}
_MARKS = {
    "higher": (">", "higher"),
    "lower": ("<", "lower"),
    "same": ("s", "the same (band)"),
    "not higher": ("v", "not higher (band)"),
}


def about_accuracy(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Those that were decided by the accuracies of two arms: what `claims` draws."""
    return [
        judgement
        for judgement in judgements
        if isinstance(test := judgement.claim.test, Difference)
        and test.metric.unit == "fraction"
        and judgement.verdict in _COLOURS
    ]


@figures.styled
def claims(judgements: Sequence[Judgement]) -> bytes:
    """The differences of accuracy that decide claims, with their 95% intervals, a row a claim, as a PNG file.

    Args:
      judgements: `about_accuracy`, at least one.
    """
    from matplotlib import ticker
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.6 + 0.24 * len(judgements)), dpi=figures.DPI, layout="constrained")
    axes = figure.subplots()
    for row, judgement in enumerate(judgements):
        test, colour = judgement.claim.test, _COLOURS[judgement.verdict]
        axes.plot([100 * end for end in judgement.summary.interval()], [row, row], color=colour, lw=1.5, zorder=2)
        axes.plot(100 * judgement.summary.mean, row, _MARKS[test.expected][0], color=colour, ms=5, zorder=3)
    axes.axvline(0, color=figures.DARK, lw=0.8, zorder=0)
    axes.set_xscale("symlog", linthresh=0.2)  # CNNs differ by tenths of a point, dense networks by points.
    ends = [1.3 * end for end in axes.get_xlim()]  # Room for the marks at the ends.
    axes.set_xlim(ends)
    for row, test in enumerate(judgement.claim.test for judgement in judgements):
        if test.margin:
            band = [-100 * test.margin if test.expected == "same" else ends[0], 100 * test.margin]
            axes.plot(band, [row, row], color=figures.SKY, lw=7, solid_capstyle="butt", alpha=0.5, zorder=1)
    ticks = [sign * value for sign in (-1, 1) for value in (0.1, 0.3, 1, 3, 10, 30, 100)]
    axes.xaxis.set_major_locator(ticker.FixedLocator([0, *(tick for tick in ticks if ends[0] <= tick <= ends[1])]))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(judgements)), [judgement.claim.name for judgement in judgements])
    axes.set_ylim(len(judgements) - 0.4, -0.6)
    axes.set_xlabel("difference of accuracy (percentage points), mean and 95% interval")
    claimed = [({"color": figures.DARK, "marker": mark, "ls": ""}, f"claimed {word}") for mark, word in _MARKS.values()]
    verdicts = [({"color": colour, "lw": 3}, verdict) for verdict, colour in _COLOURS.items()]
    _legend(figure, [one for pair in itertools.zip_longest(claimed, verdicts) for one in pair if one], columns=4)
    return figures.png(figure)


@figures.styled
def curves(comparisons: Sequence[Comparison]) -> bytes:
    """Error and loss over the epochs, documented ones as marks, reproduced ones as geometric means, as a PNG file.

    Around these are bands or, of so few members that a band would fill the panel, the members themselves.

    Args:
      comparisons: each with a member; a row of panels each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 2.6 * len(comparisons)), dpi=figures.DPI, layout="constrained")
    for axes, comparison in zip(figure.subplots(len(comparisons), 2, squeeze=False), comparisons, strict=True):
        history = reported()[comparison.arm.documented]["history"]
        _panel(axes[0], comparison.members, history, _ACCURACIES, lambda accuracy: 100 * (1 - accuracy))
        _panel(axes[1], comparison.members, history, _LOSSES, lambda loss: loss)
        axes[0].set(title=f"{comparison.arm.name} (n = {len(comparison.members)})", ylabel="error (%)")
        axes[1].set(ylabel="loss (nats)")
    for axes in figure.axes[-2:]:
        axes.set_xlabel("epoch")
    styles = []
    few = {len(comparison.members) <= _FEW for comparison in comparisons}
    around = {(True,): "the runs", (False,): "95% of single runs"}.get(
        tuple(few), f"95% of single runs, or the {_FEW} runs"
    )
    on_test = any(member.result["validation_is_test"] for comparison in comparisons for member in comparison.members)
    for name, line, colour, mark in (_TRAINING, _VALIDATION):
        if not any(drawn.get_color() == colour for axes in figure.axes for drawn in axes.lines):
            continue
        what = f"{name} (on the test set)" if on_test and name == "validation" else name
        styles.append(({"color": colour, "ls": line}, f"{what}, geometric mean and {around}"))
        styles.append(({"color": figures.DARK, "marker": mark, "ls": "", "mfc": "none"}, f"documented, {what}"))
    _legend(figure, styles, columns=2)
    return figures.png(figure)


def _panel(axes: Any, members: Sequence[Member], history: Mapping, lines: Mapping[str, tuple], shown: Any) -> None:
    from matplotlib import ticker

    for column, (_, line, colour, mark) in lines.items():
        bands = [(epoch, *band) for epoch, band in _bands(members, column, shown)]
        if bands:
            epochs, low, middle, high = zip(*bands)
            axes.plot(epochs, middle, ls=line, lw=1.2, color=colour)
            if len(members) > _FEW:
                axes.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
            for member in members if len(members) <= _FEW else ():
                found = [at(column, epoch).of(member) for epoch in epochs]
                values = [math.nan if value is None else shown(value) for value in found]
                axes.plot(epochs, values, ls=line, lw=0.6, color=colour, alpha=0.5)
        documented = [(epoch, shown(v)) for epoch, v in enumerate(history.get(column, ()), start=1) if v is not None]
        if documented:
            axes.plot(*zip(*documented), mark, color=figures.DARK, ms=4, mfc="none", mew=0.8)
    axes.set_yscale("log")
    # Bands of two or three seeds are wide: the axis is that of lines and marks.
    values = [value for drawn in axes.lines for value in drawn.get_ydata() if value > 0]
    if values:
        axes.set_ylim(min(values) / 1.3, max(values) * 1.3)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:.4g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _bands(members: Sequence[Member], column: str, shown: Any) -> Iterator[tuple[int, tuple[float, float, float]]]:
    """By epoch, where a column's geometric mean and the ends of the prediction interval lie, which is of logarithms.

    On a logarithmic axis, as these are shown, errors and losses of several seeds lie evenly around their mean, and no
    interval of them reaches zero. Epochs without a value above zero in every member that has one are left out, and the
    interval of one member is its value.
    """
    for epoch in range(1, max(len(member.history) for member in members) + 1):
        values = [shown(v) for v in map(at(column, epoch).of, members) if v is not None]
        if values and min(values) > 0:
            summary = summarize(map(math.log, values))
            low, high = prediction_interval(summary) or (summary.mean, summary.mean)
            yield epoch, (math.exp(low), math.exp(summary.mean), math.exp(high))


def _legend(figure: Any, styles: Sequence[tuple[dict, str]], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **style) for style, label in styles]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
