"""The figures of the pages of results."""

import dataclasses
import math

import pytest

from experiments.judging import comparison, verdicts
from experiments.judging.study import (
    TEST_ACCURACY,
    TEST_LOSS,
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


def test_the_figure_of_claims_has_what_accuracies_decide():
    """Neither a level nor a loss nor what nothing decides; a verdict shows."""
    tests = {
        "wider-higher": Difference("a", "b", TEST_ACCURACY, "higher"),
        "level": Level("a", TEST_ACCURACY, "higher", 0.1),
        "lost": Undecidable("no times were printed"),
        "loss": Difference("a", "b", TEST_LOSS, "lower"),
    }
    claims = tuple(Claim(name, "notebook 999, line 4", "S.", test) for name, test in tests.items())
    study = Study("s", "S", "?", (Arm("a", "x"), Arm("b", "x")), claims, ())
    members = {"a": made_up(4), "b": made_up(4, shift=0.1)}
    drawn = charts.about_accuracy(verdicts.judge(study, members))
    assert [judgement.claim.name for judgement in drawn] == ["wider-higher"] and drawn[0].verdict == verdicts.SUPPORTED
    picture = charts.claims(drawn)
    assert picture.startswith(b"\x89PNG")
    assert picture != charts.claims([dataclasses.replace(drawn[0], verdict=verdicts.CONTRADICTED)])
    assert charts.about_accuracy(verdicts.judge(study, {"a": members["a"]})) == []


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
