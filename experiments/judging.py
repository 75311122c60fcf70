"""How the figures of members decide the claims of a study. Needs no JAX.

A claim is decided by differences: of two arms, member by member with the same seed, or of an arm and a number that a
notebook states. With their mean d, its standard error e = s / sqrt(n) and Student's t with n - 1 degrees of freedom,

- its 95% interval is d ± t(0.975) e;
- a claim of "higher" or "lower" is tested against no difference: p = 2 P(T > |d| / e). It is supported where p,
  corrected, is below 0.05 and d has the claimed sign, contradicted where d has the other one;
- a claim of "same" allows a margin m: p = 2 P(T > ||d| - m| / e), which is below 0.05 where the 95% interval lies
  wholly within ±m (supported: the two one-sided tests of Schuirmann 1987, Journal of Pharmacokinetics and
  Biopharmaceutics 15, 657-680, at 2.5% each) or wholly on one side outside it (contradicted);
- whatever else the numbers are, the claim is not supported.

The p-values of a study's claims are corrected together (`holm`).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math

from digits.statistics import Summary, summarize
from experiments.study import Claim, Difference, Level, Member, Study, Undecidable

SUPPORTED, NOT_SUPPORTED, CONTRADICTED, UNDECIDABLE = "supported", "not supported", "contradicted", "undecidable"
_LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the members say of a claim.

    Attributes:
      verdict: supported, not supported, contradicted or undecidable.
      summary: of the differences.
      p: before correction; None where nothing was tested.
      adjusted: p after Holm's correction within the study.
      reason: why it is undecidable.
    """

    claim: Claim
    verdict: str
    summary: Summary
    p: float | None = None
    adjusted: float | None = None
    reason: str = ""


def judge(study: Study, members: Mapping[str, Sequence[Member]]) -> list[Judgement]:
    """The study's claims, judged by the members of its arms, by name."""
    tested, judgements = [], {}
    for claim in study.claims:
        if isinstance(claim.test, Undecidable):
            nothing = summarize([])
            judgements[claim.name] = Judgement(claim, UNDECIDABLE, nothing, reason=claim.test.reason)
            continue
        summary = summarize(claim.test.differences(members))
        if summary.n < 2:
            missing = [f"`{arm}`" for arm in claim.test.arms if not members.get(arm)]
            reason = f"{' and '.join(missing)} not run" if missing else "fewer than two seeds"
            judgements[claim.name] = Judgement(claim, UNDECIDABLE, summary, reason=reason)
        else:
            tested.append((claim, summary, p_value(summary, claim.test.margin)))
    adjusted = holm([p for _, _, p in tested])
    for (claim, summary, p), corrected in zip(tested, adjusted, strict=True):
        verdict = _verdict(claim.test, summary.mean) if corrected < _LEVEL else NOT_SUPPORTED
        judgements[claim.name] = Judgement(claim, verdict, summary, p, corrected)
    return [judgements[claim.name] for claim in study.claims]


def _verdict(test: Difference | Level, mean: float) -> str:
    """Of a significant difference."""
    claimed = {"higher": mean > 0, "lower": mean < 0, "same": abs(mean) < test.margin}[test.expected]
    return SUPPORTED if claimed else CONTRADICTED


def p_value(summary: Summary, margin: float = 0.0) -> float:
    """2 P(T > ||d| - margin| / e), see above; at most 1. Members without any spread leave no doubt: 0, or 1."""
    from scipy.special import stdtr

    distance = abs(abs(summary.mean) - margin)
    if summary.std == 0:
        return 0.0 if distance else 1.0
    return 2 * float(stdtr(summary.n - 1, -distance * math.sqrt(summary.n) / summary.std))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected so that all claims together are wrong with at most the level's probability.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 65-70:
    the i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it, nor larger than 1.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def prediction_interval(summary: Summary) -> tuple[float, float] | None:
    """Where one more run of the same kind lies with 95% probability; None below two members.

    mean ± t(0.975; n - 1) s sqrt(1 + 1/n), for normally distributed figures (Hahn and Meeker 1991, "Statistical
    Intervals", section 4.7). The test set is the same for all, so that its own sampling adds nothing.
    """
    if summary.std is None:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(summary.n - 1, 0.975)) * summary.std * math.sqrt(1 + 1 / summary.n)
    return summary.mean - half, summary.mean + half
