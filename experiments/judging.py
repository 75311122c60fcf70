"""How the figures of members decide the claims of a study. Needs no JAX.

A claim is decided by differences: of two arms, member by member with the same seed, or of an arm and a number that a
notebook states. With their mean d, its standard error e = s / sqrt(n) and Student's t with n - 1 degrees of freedom,

- its 95% interval is d ± t(0.975) e;
- a claim of "higher" or "lower" is tested against no difference: p = 2 P(T > |d| / e). It is supported where p,
  corrected, is below 0.05 and d has the claimed sign, contradicted where d has the other one;
- a claim of "same" allows a margin m: p = 2 P(T > ||d| - m| / e), which is below 0.05 where the 95% interval lies
  wholly within ±m (supported: the two one-sided tests of Schuirmann 1987, Journal of Pharmacokinetics and
  Biopharmaceutics 15, 657-680, at 2.5% each) or wholly on one side outside it (contradicted);
- a claim of "not higher" allows a margin too: p = 2 P(T > |d - m| / e), supported for d below m, else contradicted;
- whatever else the numbers are, the claim is not supported.

Two kinds of differences vary more than their s says. The folds of a cross-validation share training images, so that their
variance is s^2 (1 / n + 1 / (n - 1)) in place of s^2 / n (Nadeau and Bengio 2003, "Inference for the generalization error",
Machine Learning 52, 239-281: plus the ratio of test to training images). Epochs until something are rounded up: s is taken
to be at least the standard deviation of a rounding error, sqrt(1 / 12) for each arm.

The p-values of a study's claims are corrected together (`holm`), for all that can be tested, whether their arms were
trained or not: otherwise a verdict would change when others become known.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math

from digits.statistics import Summary, summarize
from experiments.study import Claim, Difference, Level, Member, Study, Undecidable

SUPPORTED, NOT_SUPPORTED, CONTRADICTED = "supported", "not supported", "contradicted"
UNDECIDABLE, NOT_RUN = "undecidable", "not run"
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What the members say of a claim.

    Attributes:
      verdict: supported, not supported, contradicted, undecidable, or not run: too few members to say.
      summary: of the differences, with the standard deviation that the test takes.
      p: before correction; None where nothing was tested.
      adjusted: p after Holm's correction within the study.
      reason: why it is undecidable, or what was not run.
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
    """Of a significant difference."""
    claimed = {
        "higher": mean > 0,
        "lower": mean < 0,
        "same": abs(mean) < test.margin,
        "not higher": mean < test.margin,
    }
    return SUPPORTED if claimed[test.expected] else CONTRADICTED


def _differences(test: Difference | Level, members: Mapping[str, Sequence[Member]], folds: bool) -> Summary:
    """Those that decide a claim, and how much they vary (see above)."""
    summary = summarize(test.differences(members))
    if summary.std is None:
        return summary
    std = summary.std * (math.sqrt(1 + summary.n / (summary.n - 1)) if folds else 1.0)
    if test.metric.rounded:
        std = max(std, math.sqrt(len(test.arms) / 12))
    return dataclasses.replace(summary, std=std)


def p_value(summary: Summary, margin: float = 0.0, one_sided: bool = False) -> float:
    """2 P(T > ||d| - margin| / e), or of d itself where the margin is on one side only, see above; at most 1.

    Members without any spread leave no doubt: 0, or 1.
    """
    from scipy.special import stdtr

    distance = abs((summary.mean if one_sided else abs(summary.mean)) - margin)
    if summary.std == 0:
        return 0.0 if distance else 1.0
    return 2 * float(stdtr(summary.n - 1, -distance * math.sqrt(summary.n) / summary.std))


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """The p-values, corrected so that all claims together are wrong with at most the level's probability.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 65-70:
    the i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it, nor larger than 1.

    Args:
      p_values: those that are known.
      tests: m. The unknown count as larger than the known, which corrects these for the more. Default: all are known.
    """
    m = len(p_values) if tests is None else tests
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (m - rank) * p_values[index]))
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
