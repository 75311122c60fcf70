"""Figures over several runs, and intervals: what tables and reports say of them. Needs no JAX."""

from collections.abc import Iterable
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Summary:
    """A figure over n members. `std` is the sample standard deviation, None below two members."""

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
        from scipy.special import stdtrit  # scipy.stats takes a second to import.

        half = float(stdtrit(self.n - 1, 0.975)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


def summarize(values: Iterable[float | None]) -> Summary:
    """Mean and standard deviation of what is not None."""
    values = [value for value in values if value is not None]
    n = len(values)
    mean = sum(values) / n if n else None
    std = math.sqrt(sum((v - mean) * (v - mean) for v in values) / (n - 1)) if n > 1 else None
    return Summary(n, mean, std)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion, `correct` of `n`: Wilson's score interval (Wilson 1927).

    It holds its level near 1 too, where mean ± 1.96 standard errors does not (Brown, Cai and DasGupta 2001).
    """
    z = 1.959963984540054  # The normal distribution's 97.5% point.
    p, spread = correct / n, z * z / n
    center = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)
