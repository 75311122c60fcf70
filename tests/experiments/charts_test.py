"""The figures of the pages of results."""

import dataclasses
import math

import pytest

from experiments.judging import comparison, verdicts
from experiments.judging.study import (
    TEST_ACCURACY,
    TEST_LOSS,
    VALIDATION_ACCURACY,
    Arm,
    Claim,
    Difference,
    Level,
    Member,
    Study,
    Undecidable,
)
from experiments.rendering import charts
from tests.result_pages import made_up


def test_figures_draw_the_documented_marks_and_the_band():
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum")
    few, one = (comparison.compare(arm, made_up(n)) for n in (4, 1))
    for picture in (charts.curves([few, one]), charts.overview([few] * 5 + [one]), charts.deviations([few])):
        assert picture.startswith(b"\x89PNG")
    assert charts.curves([few]) != charts.curves([dataclasses.replace(few, members=made_up(4, shift=0.1)[:3])])


def drawn(monkeypatch, chart, *args):
    """The figure that a chart saves."""
    kept = []
    monkeypatch.setattr(charts, "png", lambda figure: kept.append(figure) or b"")
    chart(*args)
    return kept[0]


def test_two_seeds_have_no_interval_that_would_set_the_axis(monkeypatch):
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum")
    for n, lines in ((2, 2), (4, 4)):  # The mark and the line of zero; with the two intervals.
        (axes,) = drawn(monkeypatch, charts.deviations, [comparison.compare(arm, made_up(n))]).axes
        assert len(axes.lines) == lines


def test_runs_without_validation_share_two_panels(monkeypatch):
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum")
    twin = dataclasses.replace(arm, name="twin")
    runs = [comparison.compare(one, made_up(4, shift=0)) for one in (arm, twin, arm)]
    figure = drawn(monkeypatch, charts.curves, runs)
    assert [axes.get_title() for axes in figure.axes] == ["training error", "training loss"]
    means = [line for line in figure.axes[0].lines if len(line.get_xdata()) and line.get_marker() == "None"]
    assert sorted(line.get_linestyle() for line in means) == ["-", "-", "--"] and means[-1].get_linestyle() == "--"
    for member in runs[1].members:
        for record in member.history:
            record["val_accuracy"] = 0.9
    assert len(drawn(monkeypatch, charts.curves, runs).axes) == 6


def judged(tests, shift=0.1, sentence="One is better."):
    """Claims of a study whose second arm is `shift` more accurate, with their verdicts."""
    claims = tuple(Claim(name, "notebook 999, line 4", sentence, test, "as run") for name, test in tests.items())
    study = Study("s", "S", "?", (Arm("a", "x"), Arm("b", "x")), claims, ())
    return verdicts.judge(study, {"a": made_up(4), "b": made_up(4, shift=shift)})


def test_the_figure_of_claims_has_what_accuracies_decide():
    """Neither a level nor a loss nor what nothing decides."""
    tests = {
        "wider-higher": Difference("a", "b", TEST_ACCURACY, "higher"),
        "level": Level("a", TEST_ACCURACY, "higher", 0.1),
        "lost": Undecidable("no times were printed"),
        "loss": Difference("a", "b", TEST_LOSS, "lower"),
    }
    selected = charts.about_accuracy(judged(tests))
    assert [one.claim.name for one in selected] == ["wider-higher"] and selected[0].verdict == verdicts.SUPPORTED
    study = Study("s", "S", "?", (Arm("a", "x"), Arm("b", "x")), (selected[0].claim,), ())
    assert charts.about_accuracy(verdicts.judge(study, {"a": made_up(4)})) == []


def test_claims_are_sentences_in_the_order_of_their_verdicts_on_linear_axes(monkeypatch):
    two = {
        "a": Difference("a", "b", TEST_ACCURACY, "lower"),
        "b": Difference("a", "b", TEST_ACCURACY, "higher"),
        "c": Difference("a", "b", VALIDATION_ACCURACY, "higher"),
    }
    small = charts.about_accuracy(judged(two, shift=0.001))
    large = charts.about_accuracy(judged(two, shift=0.03))
    huge = charts.about_accuracy(judged(two, shift=-0.5))
    figure = drawn(monkeypatch, charts.claims, {"Small": small, "Large": large, "Huge": huge})
    assert [axes.get_title("left") for axes in figure.axes] == ["Small", "Large", "Huge"]
    assert [axes.get_xscale() for axes in figure.axes] == ["linear"] * 3
    assert [axes.get_xlim()[1] for axes in figure.axes] == [1.6, 4.0, 1.6]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["One is better (as\N{NO-BREAK SPACE}run)"] * 2
    colours = [[line.get_color() for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes]
    assert colours[:2] == [[charts.BLUE, charts.VERMILLION]] * 2 and colours[2] == []
    assert [text.get_text() for text in figure.axes[2].texts] == ["-50 (-50 to -50), beyond this axis"] * 2


def test_bands_are_of_logarithms_and_skip_a_zero():
    """Losses of 1 and 4 have the geometric mean 2, and their interval is as wide a factor below it as above."""
    members = [
        Member(seed, {}, [{"epoch": 1, "loss": loss}, {"epoch": 2, "loss": seed}])
        for seed, loss in [(0, 1.0), (1, 4.0)]
    ]
    bands = list(charts._bands(members, "loss", lambda loss: loss))
    ((epoch, (low, middle, high)),) = bands
    assert epoch == 1 and middle == pytest.approx(2) and 0 < low
    # t(0.975; 1) = 12.706, the deviation of the logarithms is ln 4 / sqrt 2.
    factor = math.exp(12.706 * math.log(4) / math.sqrt(2) * math.sqrt(1.5))
    assert high / middle == pytest.approx(factor, rel=1e-3) and middle / low == pytest.approx(factor, rel=1e-3)
    assert list(charts._bands(members[1:], "loss", lambda loss: loss))[0] == (1, pytest.approx((4, 4, 4)))
