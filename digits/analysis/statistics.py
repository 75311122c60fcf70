"""Mean and standard deviation of runs, and 95% confidence intervals. Needs no JAX."""

from collections.abc import Iterable
import dataclasses
import math

_Z = 1.959963984540054  # The normal distribution's 97.5% point.


@dataclasses.dataclass(frozen=True)
class Summary:
    """The mean of a figure over n members, and its sample standard deviation, which is None below two members."""

    n: int
    mean: float | None
    std: float | None

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.4f}"
        return "" if self.mean is None else f"{self.mean:.4f}{spread}"

    def interval(self) -> tuple[float, float] | None:
        """The 95% confidence interval of the mean, by Student's t; None below two members."""
        if self.std is None:
            return None
        from scipy.special import stdtrit  # Inside for the reason in classification.py; scipy.stats takes a second.

        half = float(stdtrit(self.n - 1, 0.975)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


def summarize(values: Iterable[float | None]) -> Summary:
    """Computes mean and standard deviation of the values that are not None.

    str(summarize([0.98, 0.99])) == "0.9850 ± 0.0071"
    """
    values = [value for value in values if value is not None]
    n = len(values)
    mean = sum(values) / n if n else None
    std = math.sqrt(sum((v - mean) * (v - mean) for v in values) / (n - 1)) if n > 1 else None
    return Summary(n, mean, std)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion, `correct` of `n`: Wilson's score interval (Wilson 1927).

    It covers 95% for proportions near 1 too, where mean ± 1.96 standard errors does not (Brown, Cai and DasGupta 2001).
    """
    p, spread = correct / n, _Z * _Z / n
    center = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def difference(correct_1: int, n_1: int, correct_2: int, n_2: int) -> tuple[float, float]:
    """The 95% confidence interval of the difference of two proportions, first minus second, of different examples.

    Method 10 of Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17, 873-890: it is made from the Wilson intervals of both.
    """
    return _joined(correct_1, n_1, correct_2, n_2, correlation=0.0)


def paired_difference(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """The 95% confidence interval of the difference of two classifiers' accuracies on the same examples.

    Method 10 of Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17, 2635-2650: `difference`, with the correlation of both proportions.

    Args:
      both, only_first, only_second, neither: the number of examples that were right for these classifiers.

    Returns:
      The ends of the interval of the first one's accuracy minus the second's.
    """
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    product = both * neither - only_first * only_second
    scale = math.sqrt(first * (n - first) * second * (n - second))
    # A positive correlation is corrected for continuity.
    correlation = (max(product - n / 2, 0.0) if product > 0 else product) / scale if scale else 0.0
    return _joined(first, n, second, n, correlation)


def _joined(correct_1: int, n_1: int, correct_2: int, n_2: int, correlation: float) -> tuple[float, float]:
    """Newcombe: the difference minus, and plus, the root of the sum of squared one-sided Wilson half-widths."""

    def reach(a, b):
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    p_1, p_2 = correct_1 / n_1, correct_2 / n_2
    (low_1, high_1), (low_2, high_2) = wilson(correct_1, n_1), wilson(correct_2, n_2)
    return p_1 - p_2 - reach(p_1 - low_1, high_2 - p_2), p_1 - p_2 + reach(high_1 - p_1, p_2 - low_2)
