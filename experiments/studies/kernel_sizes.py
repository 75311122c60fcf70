"""The grid search of notebook 001 over kernel sizes: its arms' names and its printout. Needs no JAX."""

from collections.abc import Mapping, Sequence
import statistics

from digits.reports import tables
from experiments.judging.study import VALIDATION_ACCURACY, Member

KERNEL_SIZES = (2, 3, 5, 7, 11)


def searched(size: int) -> str:
    """The name of the arm of one kernel size."""
    return f"kernel_size_search,kernel_size={size}"


def best_line(scores: Mapping[int, Sequence[float]]) -> str:
    """The first line that the notebook prints of a grid search; `scores` are the folds' accuracies by kernel size."""
    best = max(scores, key=lambda size: statistics.fmean(scores[size]))
    return f"Best: {statistics.fmean(scores[best]):f} using {{'n_kernel': {best}}}"


def score_line(size: int, scores: Sequence[float]) -> str:
    """The line of one kernel size: the mean and the population standard deviation over its folds."""
    return f"{statistics.fmean(scores):f} ({statistics.pstdev(scores):f}) with: {{'n_kernel': {size}}}"


def search_table(members: Mapping[str, Sequence[Member]]) -> str:
    """The notebook's printout of the grid search beside that of the arms, as Markdown."""
    scores = {size: [VALIDATION_ACCURACY.of(one) for one in members.get(searched(size), ())] for size in KERNEL_SIZES}
    missing = "not run: `python -m experiments.reproduce architecture_study`"
    complete = all(len(scores[size]) > 1 for size in KERNEL_SIZES)
    fits = f"`Fitting 5 folds for each of {len(KERNEL_SIZES)} candidates, totalling {5 * len(KERNEL_SIZES)} fits`"
    rows = [
        {"line": "fits", "notebook 001": fits, "these runs": fits},
        {
            "line": "best",
            "notebook 001": "lost; a comment in a later cell names 7",
            "these runs": f"`{best_line(scores)}`" if complete else missing,
        },
    ]
    for size, found in scores.items():
        ours = f"`{score_line(size, found)}`" if found else missing
        rows.append({"line": f"kernel size {size}", "notebook 001": "lost", "these runs": ours})
    return "\n".join(
        (
            "## The printout of the grid search",
            "",
            "Notebook 001 prints the mean and standard deviation of the validation accuracy over five folds for each "
            "kernel size. Its output ends after the start-up warnings of TensorFlow (lines 184-196): the scores and "
            "the duration are lost, and only the winner is known (line 204).",
            "",
            *tables.table(rows),
        )
    )
