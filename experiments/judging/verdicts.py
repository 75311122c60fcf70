"""Decides the claims of a study by the figures of its members. Needs no JAX.

A claim is decided by differences: of two arms, member by member with the same seed, or of an arm and a number that a
notebook states. With their mean d, its standard error e = s / sqrt(n) and Student's t with n - 1 degrees of freedom,

- its 95% interval is d ± t(0.975) e;
- a claim of "higher" or "lower" is tested against no difference: p = 2 P(T > |d| / e). It is supported where p,
  corrected, is below 0.05 and d has the claimed sign, contradicted where d has the other one;
- a claim of "same" allows a margin m: p = 2 P(T > ||d| - m| / e), which is below 0.05 where the 95% interval lies
  wholly within ±m (supported: the two one-sided tests of Schuirmann 1987, Journal of Pharmacokinetics and
  Biopharmaceutics 15, 657-680, at 2.5% each) or wholly on one side outside it (contradicted);
- a claim of "not higher" allows a margin too: p = 2 P(T > |d - m| / e), supported for d below m, else contradicted;
- in all other cases the claim is not supported.

Two kinds of differences vary more than s tells. The folds of a cross-validation share training images, so that their
variance is larger (`differences.of_folds`). Epochs until something are rounded up: s is taken to be at least the
standard deviation of a rounding error, sqrt(1 / 12) for each arm.

The p-values of a study's claims are corrected together (`holm`), for all that can be tested, whether their arms were
trained or not: otherwise a verdict would change when others become known.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math

from scipy.special import chdtri

from digits.analysis.differences import LEVEL, holm, of_folds, p_value
from digits.analysis.statistics import Summary, summarize
from experiments.judging.study import Claim, Difference, Level, Member, Study, Undecidable

SUPPORTED, NOT_SUPPORTED, CONTRADICTED = "supported", "not supported", "contradicted"
UNDECIDABLE, NOT_RUN = "undecidable", "not run"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim and its verdict.

    Attributes:
      verdict: supported, not supported, contradicted, undecidable, or not run: too few members to say.
      summary: of the differences, with the standard deviation that the test takes.
      p: before correction; None where nothing was tested.
      adjusted: p after Holm's correction within the study.
      reason: why it is undecidable, or which arms were not run.
    """

    claim: Claim
    verdict: str
    summary: Summary
    p: float | None = None
    adjusted: float | None = None
    reason: str = ""


def judge(study: Study, members: Mapping[str, Sequence[Member]]) -> list[Judgement]:
    """Judges the study's claims by the members of its arms.

    Args:
      study: its claims are judged, in its order.
      members: by the name of the arm; an arm may be missing.
    """
    tested, judgements = [], {}
    folds = {arm.name for arm in study.arms if arm.repeats == "data.fold"}
    for claim in study.claims:
        if isinstance(claim.test, Undecidable):
            nothing = summarize([])
            judgements[claim.name] = Judgement(claim, UNDECIDABLE, nothing, reason=claim.test.reason)
            continue
        summary = _differences(claim.test, members, bool(folds & {*claim.test.arms}))
        if summary.n < 2:
            missing = [f"`{arm}`" for arm in claim.test.arms if not members.get(arm)]
            reason = " and ".join(missing) or "fewer than two seeds"
            judgements[claim.name] = Judgement(claim, NOT_RUN, summary, reason=reason)
        else:
            p = p_value(summary, claim.test.margin, one_sided=claim.test.expected == "not higher")
            tested.append((claim, summary, p))
    testable = sum(not isinstance(claim.test, Undecidable) for claim in study.claims)
    adjusted = holm([p for _, _, p in tested], testable)
    for (claim, summary, p), corrected in zip(tested, adjusted, strict=True):
        verdict = _verdict(claim.test, summary.mean) if corrected < LEVEL else NOT_SUPPORTED
        judgements[claim.name] = Judgement(claim, verdict, summary, p, corrected)
    return [judgements[claim.name] for claim in study.claims]


def _verdict(test: Difference | Level, mean: float) -> str:
    """The verdict where the corrected p is below the level."""
    claimed = {
        "higher": mean > 0,
        "lower": mean < 0,
        "same": abs(mean) < test.margin,
        "not higher": mean < test.margin,
    }
    return SUPPORTED if claimed[test.expected] else CONTRADICTED


def _differences(test: Difference | Level, members: Mapping[str, Sequence[Member]], folds: bool) -> Summary:
    """The differences that decide a claim; their standard deviation is corrected as the module's docstring says."""
    summary = summarize(test.differences(members))
    if summary.std is None:
        return summary
    if folds:
        summary = of_folds(summary)
    if test.metric.rounded:
        summary = dataclasses.replace(summary, std=max(summary.std, math.sqrt(len(test.arms) / 12)))
    return summary


def std_interval(summary: Summary) -> tuple[float, float] | None:
    """The 95% confidence interval of a standard deviation, for normally distributed figures; None below two members.

    s sqrt((n - 1) / q), with the 97.5% and the 2.5% point q of the chi-squared distribution with n - 1 degrees of
    freedom.
    """
    if summary.std is None:
        return None
    # chdtri(n, p) is the point that is exceeded with probability p.
    low, high = (summary.std * math.sqrt((summary.n - 1) / float(chdtri(summary.n - 1, p))) for p in (0.025, 0.975))
    return low, high
