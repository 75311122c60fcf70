"""Mean and standard deviation of runs, and 95% confidence intervals. Needs no JAX."""

from collections.abc import Iterable
import dataclasses
import math

_Z = 1.959963984540054  # The normal distribution's 97.5% point.
LEAST_MEMBERS = 3  # Fewer have no interval of a mean accuracy or loss.


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
        half = self._half()
        return None if half is None else (self.mean - half, self.mean + half)

    def _half(self) -> float | None:
        """Half the length of the interval by Student's t."""
        if self.std is None:
            return None
        from scipy.special import stdtrit  # Inside for the reason in classification.py; scipy.stats takes a second.

        return float(stdtrit(self.n - 1, 0.975)) * self.std / math.sqrt(self.n)

    @property
    def _spreads(self) -> bool:
        """Whether there are three members or more, and they differ by more than rounding."""
        return self.n >= LEAST_MEMBERS and self.std > 1e-12


class AccuracySummary(Summary):
    """A `Summary` of accuracies, whose interval lies between 0 and 1."""

    def interval(self) -> tuple[float, float] | None:
        """The 95% confidence interval of the mean; None below three members, or if all have the same accuracy.

        Student's t on the logit scale around the logit of the mean, with both ends turned back into fractions. The
        standard error is divided by the slope there, mean * (1 - mean). Surveys make intervals of this kind for a
        proportion that was counted in a few clusters, which the members are here: `svyciprop(method="xlogit")` of R's
        package survey, whose manual names SUDAAN and SPSS for it. It covers 93% to 98% of 3, 5 and 10 simulated
        members, with a mean from 0.5 to 0.995 over 360 or 10,000 images, and it contains the mean beside it.
        Two members would have an interval of 12.7 standard errors to either side, and equal ones do not show how far
        apart others would lie.
        """
        if not self._spreads:
            return None
        logit = math.log(self.mean / (1 - self.mean))
        half = self._half() / (self.mean * (1 - self.mean))
        return _sigmoid(logit - half), _sigmoid(logit + half)


class LossSummary(Summary):
    """A `Summary` of losses, whose interval lies above 0."""

    def interval(self) -> tuple[float, float] | None:
        """As that of accuracies, with the logarithm in place of the logit; None in the same cases."""
        if not (self._spreads and math.isfinite(self.std)):
            return None
        half = min(self._half() / self.mean, 700.0)  # The exponential function of more is no finite number.
        return self.mean * math.exp(-half), self.mean * math.exp(half)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else 1 - 1 / (1 + math.exp(max(x, -700.0)))


def summarize(values: Iterable[float | None], kind: type[Summary] = Summary) -> Summary:
    """Computes mean and standard deviation of the values that are not None; `kind` decides on their interval.

    str(summarize([0.98, 0.99])) == "0.9850 ± 0.0071"
    """
    values = [value for value in values if value is not None]
    n = len(values)
    mean = sum(values) / n if n else None
    std = math.sqrt(sum((v - mean) * (v - mean) for v in values) / (n - 1)) if n > 1 else None
    return kind(n, mean, std)


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
