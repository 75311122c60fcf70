"""The rows of the pages' tables, and the lists below the tables. Needs no JAX."""

import collections
from collections.abc import Iterable, Mapping, Sequence
import math
import re
import shlex
from typing import Any

from digits.analysis.differences import prediction_interval
from digits.analysis.statistics import AccuracySummary, Summary, summarize
from digits.reports import tables
from experiments.collecting import collected
from experiments.judging.comparison import Comparison, compare_test_loss
from experiments.judging.study import (
    TEST_ACCURACY,
    TEST_LOSS,
    VALIDATION_ACCURACY,
    Arm,
    Difference,
    Level,
    Study,
    Undecidable,
    devices,
    median_seconds,
)
from experiments.judging.verdicts import NOT_RUN, Judgement, std_interval
from experiments.rendering.results import Results, compared

# The documented figure of each is a test accuracy.
IN_README = ("dense_32_32", "dense_32_32_32", "simple_cnn", "five_conv", "plateau_cnn")
_INSIDE = {True: "yes", False: "**no**", None: ""}


def between_marks(text: str, name: str, content: str) -> str:
    """The text with `content` between <!-- NAME --> and <!-- /NAME -->; the text itself where it has no such marks."""
    return re.sub(rf"(?s)(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", lambda _: f"{content}\n", text)


def device(machine: Mapping[str, Any]) -> str:
    """The device of a benchmark's "machine": the GPU, or the processor and its cores."""
    return machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"


def table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of rows with the same columns; "" without rows."""
    rows = list(rows)
    return "\n".join(tables.table(rows)) if rows else ""


def documented(comparison: Comparison) -> dict[str, str]:
    """The row of a documented run."""
    summary = comparison.summary
    return {
        "run": f"`{comparison.arm.name}`",
        "notebook": comparison.notebook,
        "documented": _documented_figure(comparison),
        "reproduced": str(summary) or "not run",
        "n": count(comparison.arm, summary),
        "95% of single runs": _single_runs(comparison),
        "inside": _INSIDE[comparison.inside],
        "seconds": median_seconds(comparison.members),
    }


def readme_table(studies: Sequence[Study], found: Results) -> str:
    """The table for README.md: the commands of a few networks, from the fastest to the most accurate."""
    comparisons = {comparison.arm.name: comparison for comparison in compared(studies, found)}
    return table([
        {
            "command": f"`python -m digits.main --config={name}`",
            "test accuracy": str(comparison.summary) or "not run",
            "seeds": str(comparison.summary.n),
            "notebook": _documented_figure(comparison),
            "seconds": median_seconds(comparison.members),
        }
        for name in IN_README
        if (comparison := comparisons.get(name))
    ])  # fmt: skip


def readme(studies: Sequence[Study], found: Results) -> str:
    """The results for README.md: `readme_table`, and how many figures were reproduced and claims judged."""
    known = [comparison for comparison in compared(studies, found) if comparison.inside is not None]
    inside, claims = sum(comparison.inside for comparison in known), sum(len(study.claims) for study in studies)
    return (
        f"{readme_table(studies, found)}\n\n"
        f"[All results](experiments/RESULTS.md): {inside} of {len(known)} documented figures were reproduced, and "
        f"{claims} claims of the\nnotebooks are judged."
    )


def _documented_figure(comparison: Comparison) -> str:
    """The documented figure, with its name unless it is the test accuracy."""
    name = "" if comparison.metric is TEST_ACCURACY else f" ({comparison.metric.name})"
    return f"{comparison.documented:.4f}{name}"


def _single_runs(comparison: Comparison) -> str:
    """The prediction interval; an accuracy's ends at 1."""
    if (interval := prediction_interval(comparison.summary)) is None:
        return ""
    return _range(interval, 1.0 if comparison.metric.unit == "fraction" else math.inf)


def _range(interval: tuple[float, float] | None, largest: float = 1.0) -> str:
    """An interval, cut at the largest possible value; "" for None."""
    return f"{interval[0]:.4f}–{min(interval[1], largest):.4f}" if interval else ""


def loss(comparison: Comparison) -> dict[str, str]:
    """The row of a documented run in the table of test losses."""
    row = {
        "run": f"`{comparison.arm.name}`",
        "test accuracy": str(summarize(map(TEST_ACCURACY.of, comparison.members))) or "not run",
        "test loss": str(summarize(map(TEST_LOSS.of, comparison.members))) or "not run",
        "documented": "",
        "95% of single runs": "",
        "inside": "",
    }
    if found := compare_test_loss(comparison.arm, comparison.members):
        row |= {"documented": f"{found.documented:.4f}", "95% of single runs": _single_runs(found)}
        row["inside"] = _INSIDE[found.inside]
    return row


def other(arm: Arm, found: Results) -> dict[str, str]:
    """The row of an arm without a documented figure."""
    members = found.members[arm.name]
    accuracy = summarize(map(TEST_ACCURACY.of, members), AccuracySummary)
    # Where validation was the test set, the test accuracy is the same figure.
    unseen = [member for member in members if not member.result["validation_is_test"]]
    return {
        "run": f"`{arm.name}`",
        "kind": arm.kind,
        "test accuracy": str(accuracy) or "not run",
        "95% interval of the mean": _range(accuracy.interval()),
        "test loss": str(summarize(map(TEST_LOSS.of, members))),
        "validation accuracy": str(summarize(map(VALIDATION_ACCURACY.of, unseen))),
        "n": count(arm, accuracy),
        "seconds": median_seconds(members),
    }


def spreads(arm: Arm, found: Results) -> list[dict[str, str]]:
    """The rows that put the spread over splits and seeds beside that over seeds alone."""
    rows = []
    for metric in (TEST_ACCURACY, VALIDATION_ACCURACY):
        row = {"runs": f"`{arm.resplits}`, `{arm.name}`", "figure": metric.name}
        for column, name in {"seeds alone": arm.resplits, "splits and seeds": arm.name}.items():
            summary = summarize(map(metric.of, found.members[name]))
            row[column] = f"{summary} (n = {summary.n})" if summary.n else "not run"
            row[f"95% interval of the deviation, {column}"] = _range(std_interval(summary))
        rows.append(row)
    return rows


def alike(arms: Sequence[Arm], found: Results) -> str:
    """A list of facts that arms of a table share: devices, changed checkouts, validation on the test set."""
    names = collections.defaultdict(list)
    for arm in arms:
        members, name = found.members[arm.name], f"`{arm.name}`"
        if any(member.result["validation_is_test"] for member in members):
            names["Validation was the test set"].append(name)
        if arm.name in found.penalised:
            names["Losses include the L2 penalty"].append(name)
        if changed := [str(member.seed) for member in members if member.result.get("dirty")]:
            names["From a checkout with uncommitted changes"].append(f"{name} ({arm.repeats} {', '.join(changed)})")
        if there := devices(members):
            names[f"On {there}"].append(name)
    return "\n".join(f"- {fact}: {', '.join(of)}." for fact, of in sorted(names.items(), reverse=True))


def notes(arms: Sequence[Arm], found: Results) -> str:
    """A list of the arms' notes, with the seeds that diverged and the commands that train missing members."""
    return "\n".join(f"- `{arm.name}`: {note}" for arm in arms if (note := _note(arm, found)))


def _note(arm: Arm, found: Results) -> str:
    parts, diverged = [arm.note] if arm.note else [], found.diverged[arm.name]
    count = len(found.members[arm.name])
    if diverged:
        parts.append(f"Diverged: {arm.repeats} {', '.join(map(str, diverged))}.")
    if count + len(diverged) < arm.seeds:
        how = shlex.join(["python", "-m", "experiments.reproduce", arm.name])
        parts.append(f"{'The others' if count else 'Not run'}: `{how}`.")
    return " ".join(parts)


def commands(arms: Sequence[Arm]) -> str:
    """The command of each arm's first member, below a comment with the arm's name."""
    return "\n".join(f"# {arm.name}\n{collected.command(arm, 0)}" for arm in arms)


def count(arm: Arm, summary: Summary) -> str:
    """The number of finished members, and of how many if some are missing: "3 of 5"."""
    return str(summary.n) if summary.n >= arm.seeds else f"{summary.n} of {arm.seeds}"


def anchor(claim: str) -> str:
    """The name of a claim's place on its study's page: "batch-128-reaches-0.91, as run" ->
    "batch-128-reaches-0-91-as-run".
    """
    return re.sub(r"[^a-z0-9]+", "-", claim.lower())


def claim(judgement: Judgement) -> dict[str, str]:
    """The row of a claim, which has an anchor."""
    one, summary = judgement.claim, judgement.summary
    form = ""
    if isinstance(one.test, (Difference, Level)):
        form = "+.4f" if one.test.metric.unit in ("fraction", "nats") else "+.3g"
    source = one.source.split(" (")[0].capitalize()  # Of "notebook 003, line 259 (D1, D2)" the part to look up.
    claimed = f'`{one.name}`<a id="{anchor(one.name)}"></a>: {one.sentence} *{source}*'
    ends = [f"{end:{form}}" for end in summary.interval() or ()]
    return {
        "claim": "<br>".join(filter(None, [claimed, _compared_words(one.test)])),
        "difference (95% interval)": f"{summary.mean:{form}} ({' to '.join(ends)})" if ends else "",
        "n": str(summary.n or ""),
        "p": "" if judgement.p is None else _p(judgement.p),
        "p (Holm)": "" if judgement.adjusted is None else _p(judgement.adjusted),
        "verdict": f"**{judgement.verdict}**",
    }


def claim_notes(judgements: Sequence[Judgement]) -> str:
    """A list of why claims were not tested, and of the claims' notes."""
    lines = []
    for one in judgements:
        reason = f"Not run: {one.reason}." if one.verdict == NOT_RUN else one.reason
        if text := " ".join(filter(None, [reason, one.claim.note])):
            lines.append(f"- `{one.claim.name}`: {text}")
    return "\n".join(lines)


def _compared_words(test: Difference | Level | Undecidable) -> str:
    """The two sides of a test in words; "" for a claim that no run decides."""
    if not isinstance(test, (Difference, Level)):
        return ""
    sides = f"`{test.second}` − `{test.first}`" if isinstance(test, Difference) else f"`{test.arm}` − {test.value:g}"
    margins = {"same": f"the same within ±{test.margin:g}", "not higher": f"not higher by {test.margin:g} or more"}
    expected = margins.get(test.expected, test.expected)
    return f"{sides}, {test.metric.name} ({test.metric.unit}): claimed {expected}"


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def lesson(text: str, judgements: Sequence[Judgement]) -> str:
    """A lesson, with the verdict behind the name of each claim that it names."""
    for judgement in judgements:
        name = f"`{judgement.claim.name}`"
        text = text.replace(name, f"{name} ({judgement.verdict})")
    return text
