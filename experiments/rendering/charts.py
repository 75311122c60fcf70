"""Draws the figures of the pages: documented against reproduced figures and curves, differences that decide claims."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
import math
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from digits.analysis.differences import prediction_interval
from digits.analysis.figures.style import BLUE, DARK, DPI, SKY, VERMILLION, png, styled
from digits.analysis.statistics import summarize
from digits.runs.documented import reported
from experiments.judging.comparison import Comparison
from experiments.judging.study import TEST_ACCURACY, Difference, Member, Metric, at
from experiments.judging.verdicts import CONTRADICTED, NOT_SUPPORTED, SUPPORTED, Judgement

# A column's name, the style and colour of its line, and the mark of the notebook's figures.
_TRAINING = ("training", "--", BLUE, "x")
_VALIDATION = ("validation", "-", VERMILLION, "o")
_FEW = 3  # Up to so many members are drawn themselves, because their band would fill a panel.
_ACCURACIES = {"accuracy": _TRAINING, "val_accuracy": _VALIDATION}
_LOSSES = {"loss": _TRAINING, "val_loss": _VALIDATION}
_PANELS = 4  # In a row of `overview`.


@styled
def deviations(comparisons: Sequence[Comparison]) -> bytes:
    """Draws each documented figure's distance from the reproduced mean, a row a run, as a PNG file.

    Args:
      comparisons: each with at least two members.
    """
    figure = Figure(figsize=(8, 1.3 + 0.28 * len(comparisons)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, comparison in enumerate(comparisons):
        summary = comparison.summary
        ends = [100 * (end - summary.mean) for end in prediction_interval(summary)]
        axes.plot(ends, [row, row], color=SKY, lw=7, solid_capstyle="butt", alpha=0.5, zorder=1)
        ends = [100 * (end - summary.mean) for end in summary.interval()]
        axes.plot(ends, [row, row], color=BLUE, lw=3, solid_capstyle="butt", zorder=2)
        colour, mark = (DARK, "o") if comparison.inside else (VERMILLION, "D")
        axes.plot(100 * (comparison.documented - summary.mean), row, mark, color=colour, ms=5, zorder=3)
    axes.axvline(0, color=BLUE, lw=0.8)

    def of(metric: Metric) -> str:
        return "" if metric is TEST_ACCURACY else f", {metric.name.split()[0]}"

    axes.set_yticks(range(len(comparisons)), [f"{c.arm.name}{of(c.metric)} (n = {c.summary.n})" for c in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy (test, if not named) minus its reproduced mean (% points)")
    _legend(figure, [
        ({"color": DARK, "marker": "o", "ls": ""}, "documented, inside"),
        ({"color": VERMILLION, "marker": "D", "ls": ""}, "documented, outside"),
        ({"color": SKY, "lw": 7, "alpha": 0.5}, "95% of single runs"),
        ({"color": BLUE, "lw": 3}, "95% interval of the mean"),
    ], columns=4)  # fmt: skip
    return png(figure)


# The colour of a verdict; the mark of a claim and its words.
_COLOURS = {SUPPORTED: BLUE, NOT_SUPPORTED: "#888888", CONTRADICTED: VERMILLION}
_MARKS = {
    "higher": (">", "higher"),
    "lower": ("<", "lower"),
    "same": ("s", "the same (band)"),
    "not higher": ("v", "not higher (band)"),
}


def about_accuracy(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Selects the judgements that the accuracies of two arms decided; `claims` draws them."""
    return [
        judgement
        for judgement in judgements
        if isinstance(test := judgement.claim.test, Difference)
        and test.metric.unit == "fraction"
        and judgement.verdict in _COLOURS
    ]


@styled
def claims(judgements: Sequence[Judgement]) -> bytes:
    """Draws the differences of accuracy that decide claims with 95% intervals, a row a claim, as a PNG file.

    Args:
      judgements: `about_accuracy`, at least one.
    """
    figure = Figure(figsize=(8, 1.6 + 0.24 * len(judgements)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, judgement in enumerate(judgements):
        test, colour = judgement.claim.test, _COLOURS[judgement.verdict]
        axes.plot([100 * end for end in judgement.summary.interval()], [row, row], color=colour, lw=1.5, zorder=2)
        axes.plot(100 * judgement.summary.mean, row, _MARKS[test.expected][0], color=colour, ms=5, zorder=3)
    axes.axvline(0, color=DARK, lw=0.8, zorder=0)
    axes.set_xscale("symlog", linthresh=0.2)  # CNNs differ by tenths of a point, dense networks by points.
    ends = [1.3 * end for end in axes.get_xlim()]  # Room for the marks at the ends.
    axes.set_xlim(ends)
    for row, test in enumerate(judgement.claim.test for judgement in judgements):
        if test.margin:
            band = [-100 * test.margin if test.expected == "same" else ends[0], 100 * test.margin]
            axes.plot(band, [row, row], color=SKY, lw=7, solid_capstyle="butt", alpha=0.5, zorder=1)
    ticks = [sign * value for sign in (-1, 1) for value in (0.1, 0.3, 1, 3, 10, 30, 100)]
    axes.xaxis.set_major_locator(ticker.FixedLocator([0, *(tick for tick in ticks if ends[0] <= tick <= ends[1])]))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(judgements)), [judgement.claim.name for judgement in judgements])
    axes.set_ylim(len(judgements) - 0.4, -0.6)
    axes.set_xlabel("difference of accuracy (percentage points), mean and 95% interval")
    claimed = [({"color": DARK, "marker": mark, "ls": ""}, f"claimed {word}") for mark, word in _MARKS.values()]
    verdicts = [({"color": colour, "lw": 3}, verdict) for verdict, colour in _COLOURS.items()]
    _legend(figure, [one for pair in itertools.zip_longest(claimed, verdicts) for one in pair if one], columns=4)
    return png(figure)


@styled
def overview(comparisons: Sequence[Comparison]) -> bytes:
    """Draws the error of every documented run by epoch, a panel each, as a PNG file; lines and marks as for `curves`.

    Args:
      comparisons: each with a member.
    """
    rows = math.ceil(len(comparisons) / _PANELS)
    figure = Figure(figsize=(11, 0.9 + 1.9 * rows), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, _PANELS, squeeze=False).flat
    for axes, comparison in itertools.zip_longest(panels, comparisons):
        if comparison is None:
            axes.remove()
            continue
        history = reported()[comparison.arm.documented]["history"]
        _panel(axes, comparison.members, history, _ACCURACIES, _error)
        axes.set_title(f"{comparison.arm.name} (n = {len(comparison.members)})", fontsize=9)
        axes.tick_params(labelsize=8)
    for axes in figure.axes[-_PANELS:]:
        axes.set_xlabel("epoch", fontsize=9)
    figure.supylabel("error (%)", fontsize=9)
    _legend_of_curves(figure, comparisons, columns=1)
    return png(figure)


@styled
def curves(comparisons: Sequence[Comparison]) -> bytes:
    """Draws error and loss by epoch, two panels a run, as a PNG file.

    Marks are the notebook's figures, lines the geometric means of the reproduced ones. Around a line is a band or, of
    so few members that a band would fill the panel, the members themselves.

    Args:
      comparisons: each with a member; a row of panels each.
    """
    figure = Figure(figsize=(10, 0.9 + 2.6 * len(comparisons)), dpi=DPI, layout="constrained")
    for axes, comparison in zip(figure.subplots(len(comparisons), 2, squeeze=False), comparisons, strict=True):
        history = reported()[comparison.arm.documented]["history"]
        _panel(axes[0], comparison.members, history, _ACCURACIES, _error)
        _panel(axes[1], comparison.members, history, _LOSSES, lambda loss: loss)
        axes[0].set(title=f"{comparison.arm.name} (n = {len(comparison.members)})", ylabel="error (%)")
        axes[1].set(ylabel="loss (nats)")
    for axes in figure.axes[-2:]:
        axes.set_xlabel("epoch")
    _legend_of_curves(figure, comparisons)
    return png(figure)


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)


def _legend_of_curves(figure: Figure, comparisons: Sequence[Comparison], columns: int = 2) -> None:
    """Adds a legend of the kinds of lines that the figure has."""
    few = {len(comparison.members) <= _FEW for comparison in comparisons}
    around = f"95% of single runs, or the {_FEW} runs"
    if len(few) == 1:
        around = "the runs" if few == {True} else "95% of single runs"
    on_test = [member.result["validation_is_test"] for comparison in comparisons for member in comparison.members]
    where = ""
    if any(on_test):
        where = " (on the test set)" if all(on_test) else " (on the test set where the table says so)"
    drawn = {line.get_color() for axes in figure.axes for line in axes.lines}
    styles = []
    for name, line, colour, mark in (_TRAINING, _VALIDATION):
        if colour in drawn:
            shown = name + where if name == "validation" else name
            styles.append(({"color": colour, "ls": line}, f"{shown}, geometric mean and {around}"))
            styles.append(({"color": DARK, "marker": mark, "ls": "", "mfc": "none"}, f"documented, {shown}"))
    _legend(figure, styles, columns)


def _panel(
    axes: Axes,
    members: Sequence[Member],
    history: Mapping[str, Sequence[float | None]],
    lines: Mapping[str, tuple],
    shown: Callable[[float], float],
) -> None:
    """Draws columns of the members' histories and of the notebook's by epoch; `shown` converts their values."""
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
            axes.plot(*zip(*documented), mark, color=DARK, ms=4, mfc="none", mew=0.8)
    axes.set_yscale("log")
    # The axis is that of lines and marks, because bands of two or three seeds are wide.
    values = [value for drawn in axes.lines for value in drawn.get_ydata() if value > 0]
    if values:
        axes.set_ylim(min(values) / 1.3, max(values) * 1.3)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:.4g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _bands(
    members: Sequence[Member], column: str, shown: Callable[[float], float]
) -> Iterator[tuple[int, tuple[float, float, float]]]:
    """Yields (epoch, (low, mean, high)): a column's geometric mean and the ends of its prediction interval.

    Mean and interval are of logarithms. On a logarithmic axis, errors and losses of several seeds lie evenly around
    such a mean, and no interval reaches zero. An epoch in which a member has a value of zero is left out. The interval
    of one member is its value.
    """
    for epoch in range(1, max(len(member.history) for member in members) + 1):
        values = [shown(v) for v in map(at(column, epoch).of, members) if v is not None]
        if values and min(values) > 0:
            summary = summarize(map(math.log, values))
            low, high = prediction_interval(summary) or (summary.mean, summary.mean)
            yield epoch, (math.exp(low), math.exp(summary.mean), math.exp(high))


def _legend(figure: Figure, styles: Sequence[tuple[dict[str, Any], str]], columns: int) -> None:
    handles = [Line2D([], [], label=label, **style) for style, label in styles]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
