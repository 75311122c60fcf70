"""Makes the sentences on top of RESULTS.md from a written opening, computed figures and a verdict. Needs no JAX."""

from collections.abc import Sequence

from experiments.judging.comparison import Comparison
from experiments.judging.study import Finding, Study
from experiments.judging.verdicts import NOT_RUN, NOT_SUPPORTED, Judgement
from experiments.rendering.rows import anchor

# By the unit of a metric: a number's format, its factor, the unit in words, the words for above and below.
_UNITS = {
    "fraction": (".2f", 100, " percentage points", "higher", "lower"),
    "nats": (".4f", 1, " nats", "higher", "lower"),
    "epochs": (".1f", 1, " epochs", "more", "fewer"),
}


def about_documented(comparisons: Sequence[Comparison]) -> str:
    """A sentence on the documented figures inside and outside the prediction interval of a single run."""
    known = [comparison for comparison in comparisons if comparison.inside is not None]
    outside = [
        f"`{one.arm.name}` ({one.documented:.4f} documented, {one.summary} reproduced)"
        for one in known
        if not one.inside
    ]
    exceptions = f"; outside: {', '.join(outside)}" if outside else ""
    return (
        f"Of the {len(comparisons)} documented figures, {len(known)} were reproduced with two seeds or more, and "
        f"**{len(known) - len(outside)} of these lie where chance alone can put a single run**{exceptions}."
    )


def sentence(finding: Finding, judgement: Judgement, study: Study) -> str:
    """A finding as a sentence with its difference, interval, verdict and a link to its claim.

    Example:
      "With momentum, the test accuracy is **2.89 percentage points higher** (95% interval +2.77 to +3.01, 20 seeds);
      claim `momentum-same-accuracy`: contradicted."
    """
    claim, summary = judgement.claim, judgement.summary
    link = f"[`{claim.name}`](results/{study.name}.md#{anchor(claim.name)})"
    form, factor, unit, above, below = _UNITS[claim.test.metric.unit]
    if judgement.verdict == NOT_RUN:
        trains = f"`python -m experiments.reproduce {study.name}`"
        unknown = f"{above} or {below} by a number that is not known yet"
        return f"{finding.opening} {unknown}: {trains} trains the runs (claim {link})."
    low, high = (f"{factor * end:+{form}}" for end in summary.interval())
    figure = f"**{factor * abs(summary.mean):{form}}{unit} {below if summary.mean < 0 else above}**"
    seeds = f", {summary.n} seeds"
    if judgement.verdict == NOT_SUPPORTED:
        limit = f"a difference of {factor * claim.test.margin:g}{unit}" if claim.test.margin else "chance"
        figure, seeds = f"{figure}, which {summary.n} seeds do not tell from {limit}", ""
    interval = f"(95% interval {low} to {high}{seeds})"
    return f"{finding.opening} {figure} {interval}; claim {link}: {judgement.verdict}."
