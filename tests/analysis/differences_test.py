"""Differences, their intervals and p-values, and Holm's correction, by hand and as published."""

import math

import pytest
from scipy import stats

from digits.analysis import differences, statistics
from digits.analysis.statistics import Summary, summarize


def test_differences_in_pairs_are_students_one_sample_test():
    # Student 1908, the sleep data: t = 4.0621, p = 0.002833, 95% interval 0.7001 to 2.4599.
    found = differences.paired([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert found == pytest.approx((1.58, 0.7001142, 2.4598858, 0.00283289), rel=1e-5)
    of_folds = differences.paired([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4], folds=True)
    assert of_folds.high - of_folds.value == pytest.approx(math.sqrt(1 + 10 / 9) * (found.high - found.value))


def test_welchs_difference_is_as_scipy_computes_it():
    first, second = [0.98, 0.99, 0.985, 0.97], [0.96, 0.981, 0.93]
    found = differences.welch(summarize(first), summarize(second))
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert found == pytest.approx((0.98125 - 0.957, *theirs.confidence_interval(), theirs.pvalue))
    equal = differences.welch(Summary(5, 0.9, 0.1), Summary(5, 0.8, 0.1))  # Equal spreads: 8 degrees of freedom.
    assert equal.high - equal.value == pytest.approx(2.306004 * 0.1 * math.sqrt(2 / 5), rel=1e-6)


@pytest.mark.parametrize("value", [0.4, 0.6, 0.86, 0.84])
def test_one_more_run_differs_where_it_lies_outside_the_prediction_interval(value):
    summary = Summary(4, 0.5, 0.1)
    low, high = differences.prediction_interval(summary)
    found = differences.of_one_more(value, summary)
    inside = low <= value <= high
    assert inside == (found.low <= 0 <= found.high) == (found.p >= 0.05) and inside == (value < 0.85)


def test_prediction_interval_by_hand():
    # t(0.975) with 3 degrees of freedom is 3.182446 (any table).
    low, high = differences.prediction_interval(Summary(4, 0.5, 0.1))
    assert (high - 0.5, 0.5 - low) == pytest.approx((3.182446 * 0.1 * math.sqrt(1.25),) * 2, rel=1e-6)
    assert differences.prediction_interval(Summary(1, 0.5, None)) is None


@pytest.mark.parametrize(
    "only_first, only_second, p",
    [
        (1, 7, 2 * (1 + 8 / 2) / 256),
        (3, 3, 1.0),
        (0, 0, 1.0),
        (0, 5, 1 / 32),
    ],
)
def test_mcnemars_mid_p_value_by_hand(only_first, only_second, p):
    """2 (P(X < least) + P(X = least) / 2) of coins thrown."""
    assert differences.p_of_pairs(only_first, only_second) == pytest.approx(p)
    assert differences.p_of_pairs(only_second, only_first) == differences.p_of_pairs(only_first, only_second)


def test_the_p_value_of_proportions_agrees_with_their_interval():
    assert differences.p_of_proportions(56, 70, 48, 80) == pytest.approx(0.00805, abs=5e-5)  # z = 2.650.
    assert differences.p_of_proportions(5, 5, 8, 8) == 1
    for correct in (9810, 9850, 9880):
        low, high = statistics.difference(correct, 10000, 9850, 10000)
        assert (low <= 0 <= high) == (differences.p_of_proportions(correct, 10000, 9850, 10000) >= 0.05)


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 1 x 0.04, which is not below the one before.
    assert differences.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert differences.holm([0.5, 0.9]) == [1.0, 1.0] and differences.holm([]) == []
    # Of five, one is not known yet: 5 x 0.005, 4 x 0.01, 3 x 0.03.
    assert differences.holm([0.01, 0.04, 0.03, 0.005], 5) == pytest.approx([0.04, 0.09, 0.09, 0.025])
