"""Runs and sweeps beside each other: how far each is, and how its test accuracy differs from the first one's."""

from collections.abc import Iterable, Sequence
import dataclasses

import numpy as np

from digits.analysis import differences, statistics
from digits.analysis.differences import Difference
from digits.analysis.statistics import LEAST_MEMBERS
from digits.reports.judged_run import JudgedRun
from digits.runs.sweep_folder import Sweep, rest


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run that takes part, or a sweep with those members of its best point that have begun."""

    name: str
    runs: tuple[JudgedRun, ...]
    sweep: Sweep | None = None

    @property
    def finished(self) -> tuple[JudgedRun, ...]:
        """The runs that are finished: one at most, unless this is a sweep."""
        return tuple(run for run in self.runs if run.result)

    @property
    def accuracy(self) -> statistics.Summary:
        """The test accuracy over the finished runs."""
        return statistics.summarize((run.result["test_accuracy"] for run in self.finished), statistics.AccuracySummary)

    @property
    def state(self) -> str:
        """Says which runs are not finished, and why; "" if all are."""
        if self.sweep:
            unfinished = rest(self.sweep.members)
            return unfinished and f"of {len(self.sweep.members)} runs {unfinished}"
        (run,) = self.runs
        if run.result:
            return ""
        if run.failure:
            return f"failed: {run.failure}"
        return f"not finished: {len(run.history)} of {run.config.epochs} epochs"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An entry compared with the first.

    Attributes:
      value: its test accuracy, for a sweep the mean, minus the first one's; None if it is not finished.
      difference: the same with its interval; None if there is none.
      how: how the interval was made, or why there is none.
      alone: the numbers of test images that only this run, and only the first, classifies rightly.
      p: the p-value after Holm's correction for all comparisons of the page.
    """

    entry: Entry
    value: float | None = None
    difference: Difference | None = None
    how: str = ""
    alone: tuple[int, int] | None = None
    p: float | None = None

    @property
    def apart(self) -> bool:
        """Whether the two can be told apart."""
        return self.p is not None and self.p < differences.LEVEL

    @property
    def p_text(self) -> str:
        """The p-value as it stands behind "p"."""
        return "" if self.p is None else "< 0.001" if self.p < 0.001 else f"= {self.p:.2g}"


def first_finished(entries: Sequence[Entry]) -> Entry | None:
    """The entry that the others are compared with: the first that has a finished run."""
    return next((entry for entry in entries if entry.finished), None)


def compare(entries: Sequence[Entry]) -> list[Comparison]:
    """Compares every other entry with `first_finished`; one that is not finished is among them."""
    first = first_finished(entries)
    found = [_compare(entry, first) for entry in entries if entry is not first]
    tested = [comparison for comparison in found if comparison.difference]
    corrected = iter(differences.holm([comparison.difference.p for comparison in tested]))
    return [dataclasses.replace(one, p=next(corrected)) if one.difference else one for one in found]


def _compare(entry: Entry, first: Entry | None) -> Comparison:
    if first is None or not entry.finished:
        return Comparison(entry, how=entry.state)
    value = entry.accuracy.mean - first.accuracy.mean
    if not entry.sweep and not first.sweep:
        return _two_runs(entry, first, value)
    if problem := _problem(entry, first):
        return Comparison(entry, value, how=f"no interval: {problem}")
    if entry.sweep and first.sweep:
        difference, how = _two_sweeps(entry, first)
    else:
        difference, how = _run_and_sweep(entry, first)
    return Comparison(entry, value, difference, how)


def _two_runs(entry: Entry, first: Entry, value: float) -> Comparison:
    (other,), (run,) = entry.finished, first.finished
    if _digests(entry) != _digests(first) or run.other_data:
        counts = *correct(other), *correct(run)
        ends, p = statistics.difference(*counts), differences.p_of_proportions(*counts)
        return Comparison(entry, value, Difference(value, *ends, p), "two runs on different test images")
    both, only_other, only_first, neither = (
        int(np.sum(x & y)) for x in (other.right, ~other.right) for y in (run.right, ~run.right)
    )
    ends = statistics.paired_difference(both, only_other, only_first, neither)
    value = (only_other - only_first) / len(run.right)
    difference = Difference(value, *ends, differences.p_of_pairs(only_other, only_first))
    return Comparison(entry, value, difference, "two runs on the same test images", (only_other, only_first))


def correct(run: JudgedRun) -> tuple[int, int]:
    """The numbers of rightly classified test images and of all, by result.json."""
    n = run.about["data"]["test"]
    return round(run.result["test_accuracy"] * n), n


def _digests(entry: Entry) -> set[str]:
    return {run.about["data"]["digest"] for run in entry.finished}


def _problem(entry: Entry, first: Entry) -> str:
    """Why there is no interval for a comparison with a sweep; "" if there is one."""
    sweeps = [one for one in (entry, first) if one.sweep]
    for one in sweeps:
        if one.accuracy.n < LEAST_MEMBERS:
            runs = f"{one.accuracy.n} finished run{'s' * (one.accuracy.n > 1)}"
            return f"{one.name} has {runs}, but the spread of at least {LEAST_MEMBERS} is needed"
    if _digests(entry) != _digests(first):
        return "the two have different data"
    if len(sweeps) == 1:
        (run,) = (one.finished[0] for one in (entry, first) if not one.sweep)
        if run.files.path.resolve() in {member.files.path.resolve() for member in sweeps[0].runs}:
            return f"the run is one of those of {sweeps[0].name}"
    if not any(_vary(run.result["test_accuracy"] for run in one.finished) for one in sweeps):
        return "all runs of a sweep have the same accuracy, so that their spread is not known"
    return ""


def _vary(values: Iterable[float]) -> bool:
    """Whether values differ by more than rounding; accuracies differ by a test image at least."""
    return len({round(value, 6) for value in values}) > 1


def _two_sweeps(entry: Entry, first: Entry) -> tuple[Difference, str]:
    """Compares by pairs of the same seed and fold if both sweeps have the same of them, otherwise by Welch's test."""
    ours, theirs = (
        {(run.config.seed, run.config.data.fold): run.result["test_accuracy"] for run in one.finished}
        for one in (entry, first)
    )
    folds = [len({fold for _, fold in accuracies}) > 1 for accuracies in (ours, theirs)]
    splits = {run.config.data.validation for one in (entry, first) for run in one.finished}
    pairs = [ours[key] - theirs[key] for key in ours if key in theirs]
    if ours.keys() == theirs.keys() and len(splits) == 1 and _vary(pairs):
        what = "folds" if any(folds) else "seeds"
        return differences.paired(pairs, any(folds)), f"{len(pairs)} pairs with the same {what}"
    summaries = [
        differences.of_folds(one.accuracy) if of_folds else one.accuracy for one, of_folds in zip((entry, first), folds)
    ]
    return differences.welch(*summaries), f"Welch's test of {len(ours)} and {len(theirs)} runs"


def _run_and_sweep(entry: Entry, first: Entry) -> tuple[Difference, str]:
    """Compares a run with the runs of a sweep as one more of them."""
    run, sweep = (entry, first) if first.sweep else (first, entry)
    accuracy = run.accuracy.mean
    low, high = differences.prediction_interval(sweep.accuracy)
    where = "inside" if low <= accuracy <= high else "outside"
    of = f"{max(low, 0.0):.4f} to {min(high, 1.0):.4f}"
    how = f"the run lies {where} {of}, where one more run of {sweep.name} would lie with 95% probability"
    value, least, greatest, p = differences.of_one_more(accuracy, sweep.accuracy)
    return Difference(value, least, greatest, p) if first.sweep else Difference(-value, -greatest, -least, p), how


def verdict(entries: Sequence[Entry], comparisons: Sequence[Comparison]) -> str:
    """Says in a sentence which entry is best, by how much, and whether that could be chance.

    print(verdict(entries, compare(entries)))
    """
    first = first_finished(entries)
    known = [comparison for comparison in comparisons if comparison.value is not None]
    if first is None:
        return "Nothing is finished yet."
    if not known:
        return f"{first.name} alone is finished: there is nothing to compare it with yet."
    best = max(known, key=lambda comparison: comparison.value)
    behind = best.value <= 0
    if not round(best.value, 10):
        says = f"{first.name} and {best.entry.name} are best, with the same test accuracy: {first.accuracy.mean:.4f}"
    elif behind:
        says = f"{first.name} is best: {-best.value:.4f} above {best.entry.name}, the next"
    else:
        says = f"{best.entry.name} is best: {best.value:.4f} above {first.name}, the first"
    if best.difference is None:
        return f"{says}; whether by more than chance is not known ({best.how.removeprefix('no interval: ')})."
    if best.apart:
        return f"{says}, by more than chance would do (p {best.p_text})."
    sweeps = [one for one in (best.entry, first) if one.sweep]
    why = (
        "with these test images",
        f"for a run of {sweeps[0].name} that would be nothing unusual, and" if sweeps else "",
        "with so few runs",
    )[len(sweeps)]
    return f"{says}; {why} the two cannot be told apart (p {best.p_text})."
