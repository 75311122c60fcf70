"""Draws the figures of the pages: documented against reproduced figures and curves, differences that decide claims."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
import math
import textwrap
from typing import Any, NamedTuple

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from digits.analysis.differences import prediction_interval
from digits.analysis.figures.style import BLUE, COLOURS, DARK, DPI, SKY, VERMILLION, png, styled
from digits.analysis.statistics import summarize
from digits.runs.documented import reported
from experiments.judging.comparison import Comparison
from experiments.judging.study import TEST_ACCURACY, VALIDATION_ACCURACY, Claim, Difference, Member, Metric, at
from experiments.judging.verdicts import CONTRADICTED, NOT_SUPPORTED, SUPPORTED, Judgement


class _Line(NamedTuple):
    """A line of a panel: its name, style and colour; the mark of the notebook's figures, and its colour."""

    name: str
    style: str | tuple
    colour: str
    mark: str
    mark_colour: str = DARK


_TRAINING = _Line("training", "--", BLUE, "x")
_VALIDATION = _Line("validation", "-", VERMILLION, "o")
_FEW = 3  # Up to so many members are drawn themselves, because their band would fill a panel.
_PANELS = 4  # In a row of `overview`.


@styled
def deviations(comparisons: Sequence[Comparison]) -> bytes:
    """Draws each documented figure's distance from the reproduced mean, a row a run, as a PNG file.

    Args:
      comparisons: each with at least two members. Intervals are drawn from three on.
    """
    figure = Figure(figsize=(8, 1.3 + 0.28 * len(comparisons)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, comparison in enumerate(comparisons):
        summary = comparison.summary
        if interval := summary.interval():
            ends = [100 * (end - summary.mean) for end in prediction_interval(summary)]
            axes.plot(ends, [row, row], color=SKY, lw=7, solid_capstyle="butt", alpha=0.5, zorder=1)
            ends = [100 * (end - summary.mean) for end in interval]
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


# The colour of a verdict, and the legend's words for it; a study's rows have this order.
_COLOURS = {SUPPORTED: BLUE, CONTRADICTED: VERMILLION, NOT_SUPPORTED: "#888888"}
_WORDS = {SUPPORTED: "confirmed", CONTRADICTED: "refuted", NOT_SUPPORTED: "undecided"}
_ENDS = (1.6, 4.0)  # Of an axis, in percentage points: CNNs differ by tenths of a point, dense networks by points.
_LABEL = 64  # Characters in a line of a claim's sentence.


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
def claims(judged: Mapping[str, Sequence[Judgement]]) -> bytes:
    """Draws the differences of accuracy that decide claims with 95% intervals, a row a claim, as a PNG file.

    The shaded part of a row is where the claim says that the difference lies. Differences beyond the axis are written
    at its end.

    Args:
      judged: `about_accuracy` of each study, at least one, by the study's title.
    """
    rows = [len(judgements) for judgements in judged.values()]
    figure = Figure(figsize=(11, 1.2 + 0.75 * len(rows) + 0.36 * sum(rows)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(rows), squeeze=False, height_ratios=[count + 0.4 for count in rows]).flat
    for axes, (title, judgements) in zip(panels, judged.items(), strict=True):
        _claims_of_study(axes, sorted(judgements, key=lambda one: list(_COLOURS).index(one.verdict)))
        axes.set_title(title, loc="left", fontweight="bold")
    figure.axes[-1].set_xlabel("difference of accuracy in percentage points: dot the mean, line its 95% interval")
    verdicts = [({"color": _COLOURS[one], "lw": 2, "marker": "o"}, f"{_WORDS[one]}: {one}") for one in _COLOURS]
    _legend(figure, [({"color": SKY, "lw": 9, "alpha": 0.3}, "where the claim puts it"), *verdicts], columns=4)
    return png(figure)


def _claims_of_study(axes: Axes, judgements: Sequence[Judgement]) -> None:
    """Draws a row for each claim on one linear axis."""
    means = [100 * one.summary.mean for one in judgements]
    end = next((end for end in _ENDS if all(abs(mean) < end for mean in means if abs(mean) < _ENDS[-1])), _ENDS[-1])
    for row, (judgement, mean) in enumerate(zip(judgements, means)):
        test, colour, margin = judgement.claim.test, _COLOURS[judgement.verdict], 100 * judgement.claim.test.margin
        claimed = {"higher": (0, end), "lower": (-end, 0), "same": (-margin, margin), "not higher": (-end, margin)}
        low, high = claimed[test.expected]
        axes.barh(row, high - low, 0.7, low, color=SKY, alpha=0.3, zorder=1)
        ends = [100 * side for side in judgement.summary.interval()]
        if abs(mean) < end:
            axes.plot(ends, [row, row], color=colour, lw=2, solid_capstyle="butt", zorder=2)
            axes.plot(mean, row, "o", color=colour, ms=5, zorder=3)
        else:
            side = math.copysign(1, mean)
            axes.plot(0.97 * side * end, row, "<" if mean < 0 else ">", color=colour, ms=7, zorder=3)
            beyond = f"{mean:.0f} ({ends[0]:.0f} to {ends[1]:.0f}), beyond this axis"
            axes.text(0.94 * side * end, row, beyond, ha="left" if mean < 0 else "right", va="center", fontsize=9)
    axes.axvline(0, color=DARK, lw=0.8, zorder=1.5)
    axes.set(xlim=(-end, end), ylim=(len(judgements) - 0.4, -0.6))
    axes.set_yticks(range(len(judgements)), [_sentence(judgement.claim) for judgement in judgements], fontsize=9)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+g}" if x else "0")


def _sentence(claim: Claim) -> str:
    """The claim's sentence in lines, with what it does not say: its variant, and another accuracy than the test's."""
    of = claim.test.metric.name.split(",")[0]
    besides = filter(None, [claim.variant.replace(" ", "\N{NO-BREAK SPACE}"), "" if of == TEST_ACCURACY.name else of])
    added = "".join(f" ({one})" for one in besides)
    return textwrap.fill(claim.sentence.removesuffix(".") + added, _LABEL)


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
        _errors(axes, comparison, _TRAINING, _VALIDATION)
        axes.set_title(_title(comparison), fontsize=9)
        axes.set_ylabel("")
        axes.tick_params(labelsize=8)
    for axes in figure.axes[-_PANELS:]:
        axes.set_xlabel("epoch", fontsize=9)
    figure.supylabel("error (%)", fontsize=9)
    _legend_of_curves(figure, comparisons, columns=1)
    return png(figure)


@styled
def curves(comparisons: Sequence[Comparison]) -> bytes:
    """Draws error and loss by epoch, two panels a run, as a PNG file; runs without validation share two panels.

    Marks are the notebook's figures, lines the geometric means of the reproduced ones. Around a line is a band or, of
    so few members that a band would fill the panel, the members themselves.

    Args:
      comparisons: each with a member.
    """
    if not any(VALIDATION_ACCURACY.of(member) for comparison in comparisons for member in comparison.members):
        return _overlaid(comparisons)
    figure = Figure(figsize=(10, 0.9 + 2.6 * len(comparisons)), dpi=DPI, layout="constrained")
    for axes, comparison in zip(figure.subplots(len(comparisons), 2, squeeze=False), comparisons, strict=True):
        _errors(axes[0], comparison, _TRAINING, _VALIDATION)
        _losses(axes[1], comparison, _TRAINING, _VALIDATION)
        axes[0].set(title=_title(comparison))
    for axes in figure.axes[-2:]:
        axes.set_xlabel("epoch")
    _legend_of_curves(figure, comparisons)
    return png(figure)


def _overlaid(comparisons: Sequence[Comparison]) -> bytes:
    """Draws the training curves of all runs in the same two panels, a colour a run.

    The legend has the order of the last errors. Every second line is dashed and drawn above the others, so that two
    that coincide are both seen.
    """
    figure = Figure(figsize=(11, 6.5), dpi=DPI, layout="constrained")
    errors, losses = figure.subplots(1, 2)
    by_error = sorted(comparisons, key=lambda one: summarize(map(at("accuracy", -1).of, one.members)).mean)
    lines = [
        _Line(_title(comparison), ("-", (0, (3, 3)))[number % 2], colour, "x", colour)
        for number, (comparison, colour) in enumerate(zip(by_error, itertools.cycle(COLOURS)))
    ]
    for comparison, line in sorted(zip(by_error, lines), key=lambda pair: pair[1].style != "-"):
        _errors(errors, comparison, line)
        _losses(losses, comparison, line)
    styles = [({"color": line.colour, "ls": line.style}, line.name) for line in lines]
    errors.set(title="training error", xlabel="epoch")
    losses.set(title="training loss", xlabel="epoch")
    styles += [({"color": DARK, "marker": "x", "ls": ""}, "documented, in the run's colour")]
    _legend(figure, [*styles, ({"color": DARK, "lw": 7, "alpha": 0.18}, "95% of single runs")], columns=2)
    return png(figure)


def _title(comparison: Comparison) -> str:
    return f"{comparison.arm.name} (n = {len(comparison.members)})"


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
    for line in (_TRAINING, _VALIDATION):
        if line.colour in drawn:
            shown = line.name + where if line is _VALIDATION else line.name
            styles.append(({"color": line.colour, "ls": line.style}, f"{shown}, mean and {around}"))
            styles.append(({"color": DARK, "marker": line.mark, "ls": "", "mfc": "none"}, f"documented, {shown}"))
    _legend(figure, styles, columns)


def _errors(axes: Axes, comparison: Comparison, *lines: _Line) -> None:
    _panel(axes, comparison, dict(zip(("accuracy", "val_accuracy"), lines)), _error)
    axes.set_ylabel("error (%)")


def _losses(axes: Axes, comparison: Comparison, *lines: _Line) -> None:
    _panel(axes, comparison, dict(zip(("loss", "val_loss"), lines)), lambda loss: loss)
    axes.set_ylabel("loss (nats)")


def _panel(axes: Axes, comparison: Comparison, lines: Mapping[str, _Line], shown: Callable[[float], float]) -> None:
    """Draws columns of the members' histories and of the notebook's by epoch; `shown` converts their values."""
    members, history = comparison.members, reported()[comparison.arm.documented]["history"]
    for column, line in lines.items():
        bands = [(epoch, *band) for epoch, band in _bands(members, column, shown)]
        if bands:
            epochs, low, middle, high = zip(*bands)
            axes.plot(epochs, middle, ls=line.style, lw=1.2, color=line.colour)
            if len(members) > _FEW:
                axes.fill_between(epochs, low, high, color=line.colour, alpha=0.18, lw=0)
            for member in members if len(members) <= _FEW else ():
                found = [at(column, epoch).of(member) for epoch in epochs]
                values = [math.nan if value is None else shown(value) for value in found]
                axes.plot(epochs, values, ls=line.style, lw=0.6, color=line.colour, alpha=0.5)
        documented = [(epoch, shown(v)) for epoch, v in enumerate(history.get(column, ()), start=1) if v is not None]
        if documented:
            axes.plot(*zip(*documented), line.mark, color=line.mark_colour, ms=4, mfc="none", mew=0.8)
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
