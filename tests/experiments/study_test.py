"""Claims are judged as a hand would: each verdict, pairing by seed, Holm's correction, prediction intervals."""

import math
import subprocess
import sys

import pytest

from digits.analysis import differences
from digits.analysis.statistics import Summary, summarize
from experiments.judging import study, verdicts
from experiments.judging.study import TEST_ACCURACY, Arm, Claim, Difference, Finding, Level, Member, Study, Undecidable


def member(seed, test_accuracy, /, **history):
    epochs = max(map(len, history.values()), default=0)
    records = [{"epoch": i + 1} | {column: values[i] for column, values in history.items()} for i in range(epochs)]
    return Member(seed, {"test_accuracy": test_accuracy}, records)


def members(*accuracies):
    return [member(seed, accuracy) for seed, accuracy in enumerate(accuracies)]


def claim(test, name="claim"):
    return Claim(name, "notebook 999", "A sentence.", test)


def judged(test, **arms):
    """The judgement of one claim on the arms."""
    one = Study("s", "S", "?", tuple(Arm(name, "dense_32_32") for name in arms), (claim(test),), ())
    return verdicts.judge(one, arms)[0]


# Differences 0.01, 0.02, 0.03: mean 0.02, s 0.01, e 0.01 / sqrt(3), t 3.4641 with 2 degrees of freedom.
FIRST, SECOND = members(0.90, 0.90, 0.90), members(0.91, 0.92, 0.93)


def test_a_mean_difference_by_hand():
    found = judged(Difference("a", "b", TEST_ACCURACY, "higher"), a=FIRST, b=SECOND)
    assert (
        found.summary.n == 3 and found.summary.mean == pytest.approx(0.02) and found.summary.std == pytest.approx(0.01)
    )
    # With 2 degrees of freedom, P(|T| > t) = 1 - t / sqrt(2 + t^2).
    t = 0.02 / (0.01 / math.sqrt(3))
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t)) == found.adjusted
    assert found.verdict == "not supported"  # p = 0.074


@pytest.mark.parametrize(
    "expected, margin, second, verdict",
    [
        ("higher", 0.0, (0.910, 0.911, 0.912), "supported"),
        ("lower", 0.0, (0.910, 0.911, 0.912), "contradicted"),
        ("lower", 0.0, (0.888, 0.889, 0.890), "supported"),
        ("higher", 0.0, (0.888, 0.889, 0.890), "contradicted"),
        ("higher", 0.0, (0.890, 0.900, 0.911), "not supported"),
        ("same", 0.02, (0.910, 0.911, 0.912), "supported"),
        ("same", 0.005, (0.910, 0.911, 0.912), "contradicted"),
        ("same", 0.005, (0.888, 0.889, 0.890), "contradicted"),
        ("same", 0.01, (0.910, 0.911, 0.912), "not supported"),
        ("same", 0.01, (0.880, 0.900, 0.920), "not supported"),
        ("same", 0.01, (0.9, 0.9, 0.9), "supported"),  # The same bits leave no doubt.
        ("not higher", 0.005, (0.910, 0.911, 0.912), "contradicted"),
        ("not higher", 0.02, (0.910, 0.911, 0.912), "supported"),
        ("not higher", 0.005, (0.888, 0.889, 0.890), "supported"),  # Lower by twice the margin.
        ("not higher", 0.01, (0.910, 0.911, 0.912), "not supported"),
        ("higher", 0.0, (0.9, 0.9, 0.9), "not supported"),
    ],
)
def test_verdicts_of_differences(expected, margin, second, verdict):
    arms = {"a": FIRST, "b": members(*second)}
    assert judged(Difference("a", "b", TEST_ACCURACY, expected, margin), **arms).verdict == verdict


def test_same_agrees_with_the_interval():
    """p is below 0.05 where, and only where, the 95% interval lies within the margin, or outside it."""
    summary = summarize([0.010, 0.011, 0.015, 0.009])
    low, high = summary.interval()
    for margin, significant in ((high * 1.001, True), (high * 0.999, False), (low * 1.001, False), (low * 0.999, True)):
        assert (differences.p_value(summary, margin) < 0.05) == significant


@pytest.mark.parametrize(
    "expected, value, margin, verdict",
    [
        ("higher", 0.80, 0.0, "supported"),
        ("lower", 0.80, 0.0, "contradicted"),
        ("same", 0.911, 0.01, "supported"),
        ("higher", 0.911, 0.0, "not supported"),
    ],
)
def test_verdicts_of_levels(expected, value, margin, verdict):
    test = Level("a", TEST_ACCURACY, expected, value, margin)
    assert judged(test, a=members(0.910, 0.911, 0.912)).verdict == verdict


def test_members_are_paired_by_seed():
    """In whatever order they come, and without those that have no partner or no figure."""
    first = [member(2, 0.5), member(0, 0.1), member(1, 0.3), member(7, 0.0)]
    second = [member(1, 0.4), member(0, 0.3), member(9, 1.0), member(2, None)]
    found = Difference("a", "b", TEST_ACCURACY, "higher").differences({"a": first, "b": second})
    assert found == pytest.approx([0.2, 0.1])


@pytest.mark.parametrize(
    "arms, reason", [({"a": [], "b": SECOND}, "`a`"), ({"a": FIRST, "b": SECOND[:1]}, "fewer than two seeds")]
)
def test_too_few_members_decide_nothing(arms, reason):
    found = judged(Difference("a", "b", TEST_ACCURACY, "higher"), **arms)
    assert (found.verdict, found.reason, found.p) == ("not run", reason, None)


def test_what_no_run_decides_says_why():
    found = judged(Undecidable("the notebook lost its figures"), a=FIRST)
    assert (found.verdict, found.reason, found.summary.n) == ("undecidable", "the notebook lost its figures", 0)


def test_claims_of_a_study_are_corrected_together():
    """Alone, b is significantly higher; beside another claim it is not. One without a test does not count."""
    arms = {"a": members(0.90, 0.90, 0.90), "b": members(0.915, 0.92, 0.93), "c": members(0.85, 0.9, 0.95)}
    tests = [Difference("a", other, TEST_ACCURACY, "higher") for other in "bc"] + [Undecidable("lost")]
    one = Study("s", "S", "?", tuple(Arm(name, "x") for name in arms),
                tuple(claim(test, f"claim {i}") for i, test in enumerate(tests)), ())  # fmt: skip
    alone, (first, second, third) = judged(tests[0], **arms), verdicts.judge(one, arms)
    assert 0.025 < alone.p < 0.05 and alone.verdict == "supported"
    assert first.p == alone.p and first.adjusted == pytest.approx(2 * alone.p) and first.verdict == "not supported"
    assert second.adjusted == pytest.approx(1.0) and third.adjusted is None
    # Nor does it where the other's arm is still to be trained.
    first, second, _ = verdicts.judge(one, arms | {"c": []})
    assert first.adjusted == pytest.approx(2 * alone.p) and (second.verdict, second.adjusted) == ("not run", None)


def test_folds_vary_more_than_their_scores_by_nadeau_and_bengio():
    folds = tuple(Arm(name, "two_conv", repeats="data.fold", seeds=3) for name in "ab")
    test = Difference("a", "b", TEST_ACCURACY, "higher")
    found, *_ = verdicts.judge(Study("s", "S", "?", folds, (claim(test),), ()), {"a": FIRST, "b": SECOND})
    # s^2 (1 / 3 + 1 / 2) instead of s^2 / 3.
    t = 0.02 / (0.01 * math.sqrt(1 / 3 + 1 / 2))
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    low, high = found.summary.interval()
    assert (high - 0.02) / (0.02 - low) == pytest.approx(1)
    assert high - 0.02 == pytest.approx(4.302653 * 0.01 * math.sqrt(5 / 6), rel=1e-6)  # t(0.975), 2 degrees: any table.


def test_equal_counts_of_epochs_are_not_certain():
    """Three members that are all one epoch later: rounding alone, of two arms, has a standard deviation of 0.41."""
    late = {"a": [member(seed, 0.9, accuracy=[0.5, 0.9]) for seed in range(3)],
            "b": [member(seed, 0.9, accuracy=[0.5, 0.6, 0.9]) for seed in range(3)]}  # fmt: skip
    found = judged(Difference("a", "b", study.epochs_to(0.9), "higher"), **late)
    t = 1 / (math.sqrt(2 / 12) / math.sqrt(3))
    assert found.summary.mean == 1 and found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.verdict == "not supported"
    found = judged(Level("a", study.epochs_to(0.9), "lower", 3), a=late["a"])
    assert found.summary.std == pytest.approx(math.sqrt(1 / 12))


def test_the_interval_of_a_deviation_by_hand():
    # The 2.5% and 97.5% points of chi-squared with 4 degrees of freedom are 0.484419 and 11.143287 (any table).
    low, high = verdicts.std_interval(Summary(5, 0.5, 0.1))
    assert (low, high) == pytest.approx((0.1 * math.sqrt(4 / 11.143287), 0.1 * math.sqrt(4 / 0.484419)), rel=1e-6)
    assert verdicts.std_interval(Summary(1, 0.5, None)) is None


def test_a_member_has_its_seed_in_the_overrides_that_name_it():
    arm = study.with_own_splits("simple_cnn", "simple_cnn")
    assert arm.values(3) == {"data.validation": "random(0.1666666, 3)", "seed": 3}
    assert Arm("a", "x", overrides={"epochs": 2}, repeats="data.fold").values(1) == {"epochs": 2, "data.fold": 1}


def test_metrics_of_histories():
    one = member(0, 0.9, accuracy=[0.5, 0.8, 0.95], loss=[2.0, 0.5, 0.75], val_loss=[None, None, None])
    assert study.at("accuracy", 2).of(one) == 0.8 and study.at("accuracy", -1).of(one) == 0.95
    assert study.at("loss", 4).of(one) is None and study.VALIDATION_ACCURACY.of(one) is None
    assert [study.epochs_to(a).of(one) for a in (0.5, 0.8, 0.9, 0.99)] == [1, 2, 3, 4]
    assert study.rise_after_minimum("loss").of(one) == 0.25 and study.rise_after_minimum("val_loss").of(one) is None


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: Arm("a", "x", "as ran"), "'as ran'"),
        (lambda: Difference("a", "b", TEST_ACCURACY, "better"), "'better'"),
        (lambda: Level("a", TEST_ACCURACY, "same", 0.9), "margin is 0.0"),
        (lambda: Difference("a", "b", TEST_ACCURACY, "higher", 0.1), "margin is 0.1"),
        (lambda: Study("s", "S", "?", (Arm("a", "x"), Arm("a", "y")), (), ()), "arm 'a' twice"),
        (lambda: Study("s", "S", "?", (), (claim(Level("b", TEST_ACCURACY, "higher", 0.9)),), ()), "'b'"),
        (lambda: Study("s", "S", "?", (Arm("a", "x", resplits="b"),), (), ()), "no arm 'b', whose split"),
        (
            lambda: Study("s", "S", "?", (), (claim(Undecidable("?")),), (), (Finding("claim", "It is"),)),
            "no claim 'claim'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_judging_needs_no_jax():
    code = (
        "import sys; from experiments import kernel_size_search, reproduce, studies; "
        "from experiments.rendering import pages; assert 'jax' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
