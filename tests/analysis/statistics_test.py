"""Means, deviations and intervals, by hand and as published."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from digits.analysis import statistics


def test_one_member_has_no_deviation_and_none_has_no_mean():
    one, none = statistics.summarize([0.5, None]), statistics.summarize([])
    assert (one.n, one.mean, one.std, one.interval(), str(one)) == (1, 0.5, None, None, "0.5000")
    assert (none.n, none.mean, none.std, none.interval(), str(none)) == (0, None, None, None, "")
    assert str(statistics.summarize([0.989, 0.991])) == "0.9900 ± 0.0014"


def test_a_mean_accuracy_has_students_interval_on_the_logit_scale():
    # Of 0.97, 0.98, 0.99: logit(0.98) = 3.8918203; 4.302653 * 0.01 / sqrt(3) / (0.98 * 0.02) = 1.2674184.
    low, high = statistics.summarize([0.97, 0.98, 0.99], statistics.AccuracySummary).interval()
    assert (low, high) == (pytest.approx(0.932416, abs=1e-6), pytest.approx(0.994287, abs=1e-6))


def test_a_mean_loss_has_students_interval_on_the_log_scale():
    # 4.302653 * 0.01 / sqrt(3) / 0.02 = 1.2420692.
    low, high = statistics.summarize([0.01, 0.02, 0.03], statistics.LossSummary).interval()
    assert (low, high) == (pytest.approx(0.02 / 3.462771, rel=1e-5), pytest.approx(0.02 * 3.462771, rel=1e-5))


@pytest.mark.parametrize("kind", [statistics.AccuracySummary, statistics.LossSummary])
def test_two_members_or_equal_ones_have_no_such_interval(kind):
    for values in ([], [0.9], [0.1, 0.9], [0.9] * 3, [1.0] * 3, [0.0] * 4, [0.1] * 7):
        assert statistics.summarize(values, kind).interval() is None
    assert statistics.summarize([0.1, 0.9, 0.9], kind).interval() is not None


@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=12))
def test_an_interval_of_accuracies_lies_in_0_to_1_around_the_mean(correct):
    summary = statistics.summarize([count / 10_000 for count in correct], statistics.AccuracySummary)
    if interval := summary.interval():
        assert 0 <= interval[0] <= summary.mean <= interval[1] <= 1
    else:
        assert len(set(correct)) == 1


@given(st.lists(st.floats(0, 1e30), min_size=3, max_size=12))
def test_an_interval_of_losses_lies_above_0_around_the_mean(losses):
    summary = statistics.summarize(losses, statistics.LossSummary)
    if interval := summary.interval():
        assert 0 <= interval[0] <= summary.mean <= interval[1] < float("inf")


def test_a_loss_that_is_no_finite_number_has_no_interval():
    assert statistics.summarize([0.1, 0.2, float("nan")], statistics.LossSummary).interval() is None
    assert statistics.summarize([0.1, 0.2, float("inf")], statistics.LossSummary).interval() is None


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_of_accuracies_cover_about_95_percent(n):
    rng = np.random.default_rng(n)
    spread = 1 / (1 + np.exp(-(np.log(0.98 / 0.02) + 0.3 * rng.standard_normal((2000, n)))))
    mean, trials = spread.mean(), rng.binomial(360, spread) / 360
    intervals = [statistics.summarize(row, statistics.AccuracySummary).interval() for row in trials.tolist()]
    covered = [low <= mean <= high for low, high in filter(None, intervals)]
    assert len(covered) > 1900 and 0.92 < np.mean(covered) < 0.98


@pytest.mark.parametrize(
    "correct, n, low, high",
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0000),  # The third, turned round.
    ],
)
def test_intervals_of_proportions_are_wilsons(correct, n, low, high):
    assert statistics.wilson(correct, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert 0 <= statistics.wilson(correct, n)[0] and statistics.wilson(correct, n)[1] <= 1


@pytest.mark.parametrize(
    "first, second, low, high",
    [
        # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_intervals_of_differences_of_independent_proportions_are_newcombes(first, second, low, high):
    assert statistics.difference(*first, *second) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    turned = statistics.difference(*second, *first)
    assert turned == (pytest.approx(-high, abs=6e-5), pytest.approx(-low, abs=6e-5))


@pytest.mark.parametrize(
    "counts, low, high",
    [
        # Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((0, 30, 0, 0), 0.8395, 1.0000),
    ],
)
def test_intervals_of_differences_of_paired_proportions_are_newcombes(counts, low, high):
    assert statistics.paired_difference(*counts) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    both, only_first, only_second, neither = counts
    turned = statistics.paired_difference(both, only_second, only_first, neither)
    assert turned == (pytest.approx(-high, abs=6e-5), pytest.approx(-low, abs=6e-5))


def test_pairs_that_agree_more_give_a_narrower_interval():
    def width(interval):
        return interval[1] - interval[0]

    paired = statistics.paired_difference(9880, 10, 20, 90)
    assert width(paired) < 0.5 * width(statistics.difference(9890, 10000, 9900, 10000))
