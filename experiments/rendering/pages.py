"""Writes RESULTS.md, a page a study, figures and the results in README.md from the collected results. Needs no JAX."""

import collections
from collections.abc import Mapping, Sequence
import pathlib
import re
from typing import Any

import jinja2

from digits.runs import files
from experiments.collecting import collected
from experiments.judging.comparison import Comparison, compare_test_loss
from experiments.judging.study import Arm, Study, median_seconds
from experiments.judging.verdicts import (
    CONTRADICTED,
    LEVEL,
    NOT_RUN,
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDABLE,
    Judgement,
    judge,
)
from experiments.rendering import charts, docstrings, findings, records, rows
from experiments.rendering.results import Results, compared, read
from experiments.studies.records import STUDY as RECORDS

_CURVES = (
    "Marks are the figures that the notebook printed, of one training. A line is the mean of our runs, and 95% of "
    "single runs lie in the band around it: a mark outside would be a rare run of ours. Of three runs or fewer the "
    "runs themselves are drawn, as thin lines. The mean is the geometric one, which suits the logarithmic axis. "
    "Training figures are taken while the network learns, with dropout if it has any; validation figures without."
)
_VERDICTS = (SUPPORTED, NOT_SUPPORTED, CONTRADICTED, UNDECIDABLE, NOT_RUN)


def write(studies: Sequence[Study], folder: pathlib.Path) -> str:
    """Writes all pages and figures into the folder that has results/; returns a line about them.

    The README.md beside that folder gets the short results where it has a place for one, and configs/ their figures.

    Raises:
      UserError: a file of results is damaged, or a file cannot be written.
    """
    found = read(studies, folder)
    pictures, page = _pictures(studies, found), folder.parent / "docs" / "records.md"
    if RECORDS in studies:
        times = records.timed(folder.parent / "benchmarks" / "results")
        pictures |= records.pictures(found, times)
        if page.exists():
            joined = records.ensembles(folder / "results" / "ensembles")
            files.write(page, records.page(page.read_text(encoding="utf-8"), found, times, joined).encode())
    for name, picture in pictures.items():
        files.write(folder / "figures" / f"{name}.png", picture)
    for name, text in render(studies, found).items():
        files.write(folder / name, text.encode())
    readme = folder.parent / "README.md"
    if readme.exists():
        text = rows.between_marks(readme.read_text(encoding="utf-8"), "results", rows.readme(studies, found))
        files.write(readme, text.encode())
    if (configs := folder.parent / "configs").is_dir():
        docstrings.write([arm for study in studies for arm in study.arms], found.members, configs)
    counts = list(map(len, found.members.values()))
    return f"{folder / 'RESULTS.md'}: {sum(counts)} runs of {sum(map(bool, counts))} arms, {len(pictures)} figures"


def _pictures(studies: Sequence[Study], found: Results) -> dict[str, bytes]:
    """The figures that the results allow, by name."""
    pictures, comparisons = {}, compared(studies, found)
    if known := [comparison for comparison in comparisons if comparison.inside is not None]:
        pictures["documented"] = charts.deviations(known)
    decided = {study.title: charts.about_accuracy(judge(study, found.members)) for study in studies}
    if shown := {title: judgements for title, judgements in decided.items() if judgements}:
        pictures["claims"] = charts.claims(shown)
    if trained := _trained(comparisons):
        pictures["curves"] = charts.overview(trained)
    return pictures | {
        study.name: charts.curves(trained) for study in studies if (trained := _trained(compared([study], found)))
    }


def _trained(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [comparison for comparison in comparisons if comparison.members]


def render(studies: Sequence[Study], found: Results) -> dict[str, str]:
    """The pages by their path: RESULTS.md, and results/STUDY.md for every study."""
    judged = {study.name: judge(study, found.members) for study in studies}
    pages = {"RESULTS.md": _page("results.md.jinja", _front(studies, found, judged))}
    for study in studies:
        pages[f"results/{study.name}.md"] = _page("study.md.jinja", _about(study, found, judged[study.name]))
    return pages


def _page(template: str, content: Mapping[str, Any]) -> str:
    """The text of a template beside this module, filled in; never more than one empty line in a row."""
    loader = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template(template).render(content)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _front(studies: Sequence[Study], found: Results, judged: Mapping[str, list[Judgement]]) -> dict[str, Any]:
    """The content of RESULTS.md."""
    comparisons = compared(studies, found)
    everything = [one for of_study in judged.values() for one in of_study]
    losses = [loss for c in comparisons if (loss := compare_test_loss(c.arm, c.members)) and loss.members]
    sentences = [findings.about_documented(comparisons)] if comparisons else []
    for study in studies:
        by_name = {one.claim.name: one for one in judged[study.name]}
        sentences += [findings.sentence(finding, by_name[finding.claim], study) for finding in study.findings]
    return {
        "findings": sentences,
        "cheapest": _cheapest(comparisons),
        "comparisons": comparisons,
        "table": rows.table(map(rows.documented, comparisons)),
        "alike": rows.alike([comparison.arm for comparison in comparisons], found),
        "trained": _trained(comparisons),
        "about_curves": _CURVES,
        "known": [comparison for comparison in comparisons if comparison.inside is not None],
        "studies": [(study, len(study.arms), _counts(judged[study.name])) for study in studies],
        "losses": losses,
        "claims": len(everything),
        "counts": _counts(everything),
        "drawn": charts.about_accuracy(everything),
        **_about_not_supported(everything),
    }


def _cheapest(comparisons: Sequence[Comparison]) -> tuple[Comparison, str, str] | None:
    """The documented run that takes the least time, its seconds and its command; None before any was trained."""
    if not (trained := _trained(comparisons)):
        return None
    cheapest = min(trained, key=lambda comparison: int(median_seconds(comparison.members)))
    return cheapest, median_seconds(cheapest.members), collected.command(cheapest.arm, 0)


def _counts(judgements: Sequence[Judgement]) -> str:
    """How many claims have each verdict: "17 supported, 49 not supported"; verdicts that none has are left out."""
    counts = collections.Counter(judgement.verdict for judgement in judgements)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict])


def _about_not_supported(judgements: Sequence[Judgement]) -> dict[str, int]:
    """Numbers which show that a claim that is not supported is not refuted."""
    open_ = [one for one in judgements if one.verdict == NOT_SUPPORTED]
    same = [one for one in open_ if one.claim.test.expected == "same"]
    widths = [(high - low, one.claim.test.margin) for one in same for low, high in [one.summary.interval()]]
    return {
        "open": len(open_),
        "alone": sum(one.p < LEVEL for one in open_),
        "same": len(same),
        "wide": sum(width >= 2 * margin for width, margin in widths),
    }


def _about(study: Study, found: Results, judgements: list[Judgement]) -> dict[str, Any]:
    """The content of a study's page."""
    comparisons = compared([study], found)
    documented = [comparison.arm for comparison in comparisons]
    penalised = [f"`{arm.name}`" for arm in documented if arm.name in found.penalised]
    return {
        "study": study,
        "lessons": [rows.lesson(lesson, judgements) for lesson in study.lessons],
        "counts": _counts(judgements),
        "about_curves": _CURVES if _trained(comparisons) else "",
        "documented": rows.table(map(rows.documented, comparisons)),
        "below_documented": _below(documented, found),
        "losses": rows.table(map(rows.loss, comparisons)),
        "penalised": ", ".join(penalised),
        "others": rows.table(rows.other(arm, found) for arm in study.arms if not arm.documented),
        "below_others": _below([arm for arm in study.arms if not arm.documented], found),
        "spreads": rows.table(row for arm in study.arms if arm.resplits for row in rows.spreads(arm, found)),
        "claims": rows.table(map(rows.claim, judgements)),
        "claim_notes": rows.claim_notes(judgements),
        "appendix": study.appendix(found.members) if study.appendix else "",
    }


def _below(arms: Sequence[Arm], found: Results) -> dict[str, str]:
    """The lists and commands below a table of arms, which would make it too wide to be read."""
    lists = "\n".join(filter(None, [rows.notes(arms, found), rows.alike(arms, found)]))
    return {"lists": lists, "commands": rows.commands(arms)}
