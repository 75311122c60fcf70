"""Differences of figures with their 95% intervals and p-values, and the correction of several. Needs no JAX.

A difference of two means comes from runs that were trained again with other seeds or folds, a difference of two
networks from the images that only one of them classifies rightly. `statistics` holds the intervals of proportions.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import NamedTuple

from scipy.special import bdtr, ndtr, stdtr, stdtrit

from digits.analysis.statistics import Summary, summarize

LEVEL = 0.05


class Difference(NamedTuple):
    """A difference, its 95% interval, and the p-value of the test against no difference."""

    value: float
    low: float
    high: float
    p: float


def paired(differences: Sequence[float], folds: bool = False) -> Difference:
    """The mean of differences that belong together in pairs, such as of two runs with the same seed.

    Args:
      differences: at least two.
      folds: whether the pairs are the folds of a cross-validation, see `of_folds`.
    """
    summary = summarize(differences)
    if folds:
        summary = of_folds(summary)
    return Difference(summary.mean, *summary.interval(), p_value(summary))


def welch(first: Summary, second: Summary) -> Difference:
    """The difference of two means, first minus second, whose spreads may differ (Welch 1947, Biometrika 34, 28-35).

    welch(summarize([0.98, 0.99]), summarize([0.97, 0.975])).p

    Each has two members at least, and one of them a spread.
    """
    variances = [summary.std**2 / summary.n for summary in (first, second)]
    total = sum(variances)
    freedom = total**2 / sum(v * v / (summary.n - 1) for v, summary in zip(variances, (first, second)))
    return _student(first.mean - second.mean, math.sqrt(total), freedom)


def of_one_more(value: float, summary: Summary) -> Difference:
    """A single run's figure minus the mean of several runs, with the interval that a run of the same kind would have.

    The interval leaves out zero if, and only if, the figure lies outside `prediction_interval`.
    """
    error = summary.std * math.sqrt(1 + 1 / summary.n)
    return _student(value - summary.mean, error, summary.n - 1)


def _student(value: float, error: float, freedom: float) -> Difference:
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    return Difference(value, value - half, value + half, 2 * float(stdtr(freedom, -abs(value) / error)))


def of_folds(summary: Summary) -> Summary:
    """The summary with the standard deviation that the folds of a cross-validation need.

    They share training images, so that the variance of their mean is s^2 (1 / n + 1 / (n - 1)) in place of s^2 / n
    (Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52, 239-281: plus the ratio of
    test to training images).
    """
    return dataclasses.replace(summary, std=summary.std * math.sqrt(1 + summary.n / (summary.n - 1)))


def p_value(summary: Summary, margin: float = 0.0, one_sided: bool = False) -> float:
    """2 P(T > ||d| - margin| / e), at most 1; with d in place of |d| where the margin is on one side only.

    Without any spread among the members it is 0, or 1 where the distance is 0 too.
    """
    mean = summary.mean if one_sided else abs(summary.mean)
    distance = abs(mean - margin)
    if summary.std == 0:
        return 0.0 if distance else 1.0
    return 2 * float(stdtr(summary.n - 1, -distance * math.sqrt(summary.n) / summary.std))


def prediction_interval(summary: Summary) -> tuple[float, float] | None:
    """The interval in which one more run of the same kind lies with 95% probability; None below two members.

    mean ± t(0.975; n - 1) s sqrt(1 + 1/n), for normally distributed figures (Hahn and Meeker 1991, "Statistical
    Intervals", section 4.7). The test set is the same for all, so that its own sampling adds nothing.
    """
    if summary.std is None:
        return None
    half = float(stdtrit(summary.n - 1, 0.975)) * summary.std * math.sqrt(1 + 1 / summary.n)
    return summary.mean - half, summary.mean + half


def p_of_pairs(only_first: int, only_second: int) -> float:
    """The p-value of two networks' accuracies on the same images: McNemar's test with the mid-p value.

    Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs data", BMC Medical Research
    Methodology 13, 91: the exact test is too cautious, the mid-p value is not.

    Args:
      only_first, only_second: the numbers of images that only this network classifies rightly.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    below = float(bdtr(least - 1, n, 0.5)) if least else 0.0
    return below + float(bdtr(least, n, 0.5))  # Twice the mean of P(X < least) and P(X <= least).


def p_of_proportions(correct_1: int, n_1: int, correct_2: int, n_2: int) -> float:
    """The p-value of two networks' accuracies on different images: the z-test with the pooled proportion."""
    pooled = (correct_1 + correct_2) / (n_1 + n_2)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_1 + 1 / n_2))
    return 2 * float(ndtr(-abs(correct_1 / n_1 - correct_2 / n_2) / error)) if error else 1.0


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """Corrects p-values so that the probability of any wrong verdict among all claims is at most the level.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 65-70:
    the i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it, nor larger than 1.

    Args:
      p_values: those that are known.
      tests: m, where not all p-values are known: an unknown one counts as larger than the known. Default: all are
      known.
    """
    m = len(p_values) if tests is None else tests
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
