"""experiments/RESULTS.md and its figures, from the collected results alone. Needs no JAX."""

from collections.abc import Collection, Mapping, Sequence
import collections
import dataclasses
import math
import pathlib
import re
import shlex

import numpy as np

from digits import files, tables
from digits.documented import reported
from digits.statistics import Summary, summarize
from experiments import charts, collected, docstrings
from experiments.documented import Comparison, compare, compare_test_loss
from experiments.judging import (
    CONTRADICTED,
    LEVEL,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDABLE,
    Judgement,
    judge,
    prediction_interval,
)
from experiments.study import (
    TEST_ACCURACY,
    TEST_LOSS,
    VALIDATION_ACCURACY,
    Arm,
    Difference,
    Level,
    Member,
    Study,
    devices,
    median_seconds,
)

_INTRODUCTION = """\
# The notebooks' experiments, rerun and judged

Written by `python -m experiments.reproduce --render` from the files in `results/`, which hold every member's figures;
`python -m experiments.reproduce` trains what they lack.

**How to read it.** A reproduced figure is mean ± standard deviation over n seeds. A *documented* figure is one that a
notebook printed, of a single run without a seed: its test accuracy or, where that is lost, the last validation or else
training accuracy printed, which is named then. It is *inside* where it lies in the 95% prediction interval of a single run, mean ± t s
sqrt(1 + 1/n): there, chance alone can explain that it is not the mean. One of twenty such figures would be outside by
chance, too; and with three or five seeds the interval is itself a rough guess. *Seconds* are the median of the runs, each
from its start to its result; several may share the device, so that one alone is faster, and figures of different devices
are not comparable. The commands below a table train the member with seed 0: again with the same figure on the same kind
of processor with the same versions, elsewhere as another draw, which lies in the prediction interval 19 times out of 20.

*As run* is what a notebook's code did, *as written* what it said it did, *honest* the same with a validation set held
out of training and the test set opened once, *ours* what no notebook ran. Where validation was the test set, as in
notebook 001, a table says so: such a figure is not of unseen images wherever it chose an epoch or an architecture.

A *claim* is a sentence of a notebook, or what its code takes for granted, in our words; a note says where we carry one over
to another network. What decides it is the mean difference of two arms, paired by seed, or of an arm and a number, with its
95% interval by Student's t. With p corrected by Holm it is *supported* or *contradicted* below 0.05, and otherwise *not
supported*: the members do not tell the difference from none or, where a margin is given for "the same" or "not higher",
from that margin. The correction is for all claims of the study but the undecidable ones, trained or not. The interval, like
p, is of the claim alone: it may leave out zero or the margin, and the claim be not supported beside its many neighbours. The
epochs until something are whole numbers, so that their standard deviation counts as at least that of rounding.
*Undecidable* is what these runs do not decide, for the reason given, and *not run* what more of them would.
"""


_CLAIMS_FIGURE = """\
Every claim that compares the accuracies of two arms. The tables of the studies below say of which, and have all other
claims. The axis is linear within 0.2 percentage points of zero, and logarithmic beyond."""


_LOSSES = """\
The documented test loss, where a notebook printed one, beside the reproduced ones. Two networks can be as accurate as each
other and differ in how sure they are of their mistakes; the table above compares one figure of each run."""


_README_TABLE = r"(?s)(?<=<!-- results -->\n)(.*?)(?=\n<!-- /results -->)"


@dataclasses.dataclass(frozen=True)
class Results:
    """What was collected, by the names of arms: members, and the seeds of those that diverged.

    Attributes:
      penalised: the arms whose losses include an L2 penalty.
    """

    members: Mapping[str, Sequence[Member]]
    diverged: Mapping[str, Sequence[int]]
    penalised: Collection[str] = ()


def write(studies: Sequence[Study], folder: pathlib.Path) -> str:
    """Writes RESULTS.md and figures/ into the folder that has results/; returns a line about it.

    A README.md beside that folder gets the short table where it has a place for one, and configs/ their figures.

    Raises:
      UserError: a file of results is damaged, or a file cannot be written.
    """
    found = read(studies, folder)
    pictures = {"documented": charts.deviations(rows)} if (rows := _comparable(studies, found)) else {}
    judged = [judgement for study in studies for judgement in judge(study, found.members)]
    if decided := charts.about_accuracy(judged):
        pictures["claims"] = charts.claims(decided)
    pictures |= {study.name: charts.curves(rows) for study in studies if (rows := _with_curves(study, found))}
    for name, picture in pictures.items():
        files.write(folder / "figures" / f"{name}.png", picture)
    files.write(folder / "RESULTS.md", render(studies, found).encode())
    readme = folder.parent / "README.md"
    if readme.exists() and len(parts := re.split(_README_TABLE, readme.read_text(encoding="utf-8"))) == 3:
        files.write(readme, f"{parts[0]}{readme_table(studies, found)}{parts[2]}".encode())
    if (configs := folder.parent / "configs").is_dir():
        docstrings.write([arm for study in studies for arm in study.arms], found.members, configs)
    counts = list(map(len, found.members.values()))
    return f"{folder / 'RESULTS.md'}: {sum(counts)} runs of {sum(map(bool, counts))} arms, {len(pictures)} figures"


def read(studies: Sequence[Study], folder: pathlib.Path) -> Results:
    """The collected results of all arms; UserError if a file is damaged."""
    members, diverged, penalised = {}, {}, set()
    for study in studies:
        arms = collected.read(study, folder)
        penalised |= {name for name, entry in arms.items() if np.any(entry["config"].get("model.hidden_l2"))}
        there = collected.members(arms)
        for arm in study.arms:
            # One that two studies share was trained once; the file that was written last has the most of it.
            members[arm.name] = max(members.get(arm.name, []), there.get(arm.name, []), key=len)
            diverged[arm.name] = max(diverged.get(arm.name, []), arms.get(arm.name, {}).get("diverged", []), key=len)
    return Results(members, diverged, penalised)


def render(studies: Sequence[Study], found: Results) -> str:
    """The page."""
    judged = {study.name: judge(study, found.members) for study in studies}
    parts = [
        _INTRODUCTION,
        _summary(studies, found, judged),
        "## All documented runs",
        *_documented(studies, found),
    ]
    if charts.about_accuracy([judgement for of_study in judged.values() for judgement in of_study]):
        parts += ["## All claims about accuracy", f"{_CLAIMS_FIGURE}\n\n![What decides the claims](figures/claims.png)"]
    for study in studies:
        trains = f"`python -m experiments.reproduce {study.name}` trains what is missing here."
        parts += [f"## {study.title}", study.question, trains]
        if others := _others(study, found):
            parts += ["### What else was trained", *others]
        if study.claims:
            parts += ["### Claims", _lines(map(_claim_row, judged[study.name])), _claim_notes(judged[study.name])]
        if _with_curves(study, found):
            parts += ["### Curves", f"![Documented curves against reproduced ones](figures/{study.name}.png)"]
        if study.lessons:
            parts += ["### What to learn", "\n".join(_lesson(lesson, judged[study.name]) for lesson in study.lessons)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def readme_table(studies: Sequence[Study], found: Results) -> str:
    """The short form for README.md: the documented runs, and what was written where that is not what ran."""
    short = lambda arm, summary, documented="never run", inside="": {
        "run": f"`{arm.name}`",
        "documented": documented,
        "reproduced": str(summary) or "not run",
        "n": str(summary.n),
        "inside 95% of single runs": inside,
        "seconds": median_seconds(found.members[arm.name]),
    }
    rows = []
    for comparison in _compared(studies, found):
        documented, inside = _documented_figure(comparison), _INSIDE[comparison.inside]
        rows.append(short(comparison.arm, comparison.summary, documented, inside))
    for arm in {arm.name: arm for study in studies for arm in study.arms if arm.kind == "as written"}.values():
        rows.append(short(arm, summarize(map(TEST_ACCURACY.of, found.members[arm.name]))))
    return _lines(rows)


def _documented_figure(comparison: Comparison) -> str:
    """With its name, unless it is the test accuracy."""
    return f"{comparison.documented:.4f}" + f" ({comparison.metric.name})" * (comparison.metric is not TEST_ACCURACY)


_INSIDE = {True: "yes", False: "**no**", None: ""}


def _compared(studies: Sequence[Study], found: Results) -> list[Comparison]:
    """All documented arms, in the order of the notebooks."""
    arms = {arm.name: arm for study in studies for arm in study.arms if arm.documented}
    order = list(reported())
    return [
        compare(arm, found.members[arm.name]) for arm in sorted(arms.values(), key=lambda a: order.index(a.documented))
    ]


def _comparable(studies: Sequence[Study], found: Results) -> list[Comparison]:
    return [comparison for comparison in _compared(studies, found) if comparison.inside is not None]


def _with_curves(study: Study, found: Results) -> list[Comparison]:
    return [comparison for comparison in _compared([study], found) if comparison.members]


def _summary(studies: Sequence[Study], found: Results, judged: Mapping[str, list[Judgement]]) -> str:
    comparisons = _compared(studies, found)
    known = [comparison.inside for comparison in comparisons if comparison.inside is not None]
    losses = [loss.inside for c in comparisons if (loss := compare_test_loss(c.arm, c.members)) and loss.members]
    verdicts = collections.Counter(judgement.verdict for of_study in judged.values() for judgement in of_study)
    counts = ", ".join(
        f"{verdicts[verdict]} {verdict}" for verdict in (SUPPORTED, NOT_SUPPORTED, CONTRADICTED, UNDECIDABLE, NOT_RUN)
    )
    return (
        f"**In short.** Of {len(comparisons)} documented runs, {len(known)} were reproduced with two seeds or more, "
        f"and {sum(known)} of their documented figures are inside; so are {sum(losses)} of {len(losses)} documented test "
        f"losses. Of {verdicts.total()} claims: {counts}. {_about_not_supported(judged)}"
    )


def _about_not_supported(judged: Mapping[str, list[Judgement]]) -> str:
    """That it is not the same as refuted, with numbers."""
    open_ = [one for of_study in judged.values() for one in of_study if one.verdict == NOT_SUPPORTED]
    alone = sum(one.p < LEVEL for one in open_)
    same = [one for one in open_ if one.claim.test.expected == "same"]
    wide = sum((ends := one.summary.interval())[1] - ends[0] >= 2 * one.claim.test.margin for one in same)
    return (
        f"*Not supported* is not refuted: for {alone} of these {len(open_)}, p is below {LEVEL} before it is corrected, in "
        f"favour or against; and of the {len(same)} that claim to be the same, {wide} have an interval wider than the margin "
        "to both sides, which more seeds would narrow."
    )


def _documented(studies: Sequence[Study], found: Results) -> list[str]:
    rows = []
    for comparison in _compared(studies, found):
        summary = comparison.summary
        rows.append(
            {
                "run": f"`{comparison.arm.name}`",
                "notebook": comparison.notebook,
                "documented": _documented_figure(comparison),
                "reproduced": str(summary) or "not run",
                "n": _n(comparison.arm, summary),
                "95% of single runs": _single_runs(comparison),
                "inside": _INSIDE[comparison.inside],
                "seconds": median_seconds(comparison.members),
            }
        )
    arms = [comparison.arm for comparison in _compared(studies, found)]
    picture = "![Documented figures minus the mean of the reproduced ones](figures/documented.png)"
    losses = ["### Their test losses", _LOSSES, _lines(map(_loss_row, _compared(studies, found)))]
    if penalised := [f"`{arm.name}`" for arm in arms if arm.name in found.penalised]:
        losses[1] += (
            f" {', '.join(penalised)}: with the L2 penalty, as Keras has it, and not to be compared with the others."
        )
    return [_lines(rows), *_below(arms, found), *([picture] if _comparable(studies, found) else []), *losses]


def _single_runs(comparison: Comparison) -> str:
    """The prediction interval, an accuracy's up to 1."""
    if (interval := prediction_interval(comparison.summary)) is None:
        return ""
    return _range(interval, 1.0 if comparison.metric.unit == "fraction" else math.inf)


def _range(interval: tuple[float, float] | None, largest: float = 1.0) -> str:
    """An interval, up to the largest value that there is."""
    return f"{interval[0]:.4f}–{min(interval[1], largest):.4f}" if interval else ""


def _loss_row(comparison: Comparison) -> dict[str, str]:
    row = {
        "run": f"`{comparison.arm.name}`",
        "test accuracy": str(summarize(map(TEST_ACCURACY.of, comparison.members))) or "not run",
        "test loss": str(summarize(map(TEST_LOSS.of, comparison.members))) or "not run",
        "documented": "",
        "95% of single runs": "",
        "inside": "",
    }
    if loss := compare_test_loss(comparison.arm, comparison.members):
        row |= {"documented": f"{loss.documented:.4f}", "95% of single runs": _single_runs(loss)}
        row["inside"] = _INSIDE[loss.inside]
    return row


def _others(study: Study, found: Results) -> list[str]:
    """The arms without a documented figure."""
    rows, arms = [], [arm for arm in study.arms if not arm.documented]
    for arm in arms:
        there = found.members[arm.name]
        over = lambda metric, there=there: summarize(map(metric.of, there))
        accuracy = over(TEST_ACCURACY)
        # Where it is the test set, the test accuracy has said it.
        unseen = [member for member in there if not member.result["validation_is_test"]]
        rows.append(
            {
                "run": f"`{arm.name}`",
                "kind": arm.kind,
                "test accuracy": str(accuracy) or "not run",
                "95% interval of the mean": _range(accuracy.interval()),
                "test loss": str(over(TEST_LOSS)),
                "validation accuracy": str(summarize(map(VALIDATION_ACCURACY.of, unseen))),
                "n": _n(arm, accuracy),
                "seconds": median_seconds(there),
            }
        )
    return [_lines(rows), *_below(arms, found)] if arms else []


def _below(arms: Sequence[Arm], found: Results) -> list[str]:
    """What would make a table of arms too wide to be read: notes, devices, and the commands of single runs."""
    lines = [f"`{arm.name}`: {note}" for arm in arms if (note := _note(arm, found))]
    alike = collections.defaultdict(list)
    for arm in arms:
        members, name = found.members[arm.name], f"`{arm.name}`"
        if any(member.result["validation_is_test"] for member in members):
            alike["Validation was the test set"].append(name)
        if arm.name in found.penalised:
            alike["Losses include the L2 penalty"].append(name)
        if there := devices(members):
            alike[f"On {there}"].append(name)
    lines += [f"{what}: {', '.join(names)}." for what, names in sorted(alike.items(), reverse=True)]
    commands = "\n".join(f"# {arm.name}\n{collected.command(arm, 0)}" for arm in arms)
    listed = "\n".join(f"- {line}" for line in lines)
    folded = f"<details>\n<summary>Commands of single runs</summary>\n\n```\n{commands}\n```\n\n</details>"
    return [listed, folded]


def _note(arm: Arm, found: Results) -> str:
    notes, diverged = [arm.note] if arm.note else [], found.diverged[arm.name]
    count = len(found.members[arm.name])
    if diverged:
        notes.append(f"Diverged: {arm.repeats} {', '.join(map(str, diverged))}.")
    if count + len(diverged) < arm.seeds:
        how = shlex.join(["python", "-m", "experiments.reproduce", arm.name])
        notes.append(f"{'The others' if count else 'Not run'}: `{how}`.")
    return " ".join(notes)


def _n(arm: Arm, summary: Summary) -> str:
    return str(summary.n) if summary.n >= arm.seeds else f"{summary.n} of {arm.seeds}"


def _claim_row(judgement: Judgement) -> dict[str, str]:
    claim, summary = judgement.claim, judgement.summary
    form = ""
    if isinstance(claim.test, (Difference, Level)):
        form = "+.4f" if claim.test.metric.unit in ("fraction", "nats") else "+.3g"
    interval, claimed = _interval(summary, form), f"`{claim.name}`: {claim.sentence} *{_lines_of(claim.source)}*"
    return {
        "claim": "<br>".join(filter(None, [claimed, _compared_words(claim.test)])),
        "difference (95% interval)": interval and f"{summary.mean:{form}} ({interval})",
        "n": str(summary.n or ""),
        "p": "" if judgement.p is None else _p(judgement.p),
        "p (Holm)": "" if judgement.adjusted is None else _p(judgement.adjusted),
        "verdict": f"**{judgement.verdict}**",
    }


def _lines_of(source: str) -> str:
    """Of "notebook 003, line 259 (D1, D2)" what a reader can look up."""
    return source.split(" (")[0].capitalize()


def _claim_notes(judgements: Sequence[Judgement]) -> str:
    """What would make the table of claims too wide: why nothing was tested, and the claims' notes."""
    notes = []
    for one in judgements:
        reason = f"Not run: {one.reason}." if one.verdict == NOT_RUN else one.reason
        if text := " ".join(filter(None, [reason, one.claim.note])):
            notes.append(f"- `{one.claim.name}`: {text}")
    return "\n".join(notes)


def _compared_words(test) -> str:
    if not isinstance(test, (Difference, Level)):
        return ""
    what = f"`{test.second}` − `{test.first}`" if isinstance(test, Difference) else f"`{test.arm}` − {test.value:g}"
    margins = {"same": f"the same within ±{test.margin:g}", "not higher": f"not higher by {test.margin:g} or more"}
    expected = margins.get(test.expected, test.expected)
    return f"{what}, {test.metric.name} ({test.metric.unit}): claimed {expected}"


def _interval(summary: Summary, form: str) -> str:
    interval = summary.interval()
    return f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else ""


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _lesson(lesson: str, judgements: Sequence[Judgement]) -> str:
    """A lesson, with the verdicts of the claims that it names behind their names."""
    for judgement in judgements:
        name = f"`{judgement.claim.name}`"
        lesson = lesson.replace(name, f"{name} ({judgement.verdict})")
    return f"- {lesson}"


def _lines(rows) -> str:
    rows = list(rows)
    return "\n".join(tables.table(rows)) if rows else ""
