"""Searches for the kernel size of the two-convolution network: the grid search of
notebook 001, five sizes, five folds.

    python -m experiments.kernel_size_search
    python -m experiments.kernel_size_search \\
        --config.data.validation="writer_folds(5)"
    python -m experiments.kernel_size_search --config.epochs=1 \\
        --config.data.validation="folds(2)"

Kernel sizes 2, 3, 5, 7 and 11, each on five contiguous folds of the training
set, 20 epochs with batches of 100, then the winner once more on the whole
training set. `writer_folds(5)` holds out whole writers: nobody's digits are on
both sides. It takes the flags of digits.sweep, goes on where it was stopped,
and compiles five programs for its 26 runs.

Documented: 7 wins; the scores are lost (notebook 001, lines 154-204).
"""

from collections.abc import Iterator
import os
import re
import sys

from ml_collections import ConfigDict

from configs import two_conv
from digits import command_line
from digits import sweep as digits_sweep
from digits.config.values import with_values
from digits.errors import require
from digits.runs import sweep_folder
from experiments.studies.kernel_sizes import KERNEL_SIZES, best_line, score_line


def get_config() -> ConfigDict:
    config = two_conv.get_config()
    config.data.validation = "folds(5)"
    config.documented.test_accuracy = None
    config.documented.test_loss = None
    config.documented.source = "notebook 001, lines 154-204: kernel size 7 wins, its scores are lost"
    return config


def folds(config: ConfigDict) -> int:
    """The number of folds that the config's validation makes; UserError if it makes none."""
    match = re.fullmatch(r"(?:writer_)?folds\((\d+)\)", config.data.validation)
    require(match, "data.validation", config.data.validation, "folds(n) or writer_folds(n) for this search")
    return int(match[1])


def sweep(config: ConfigDict | None = None) -> Iterator[dict[str, int]]:
    for kernel_size in KERNEL_SIZES:
        for fold in range(folds(config or get_config())):
            yield {"model.kernel_size": kernel_size, "data.fold": fold}


def search_lines(found: sweep_folder.Sweep) -> list[str]:
    """The lines that the notebook prints of a grid search, from the finished members of a sweep."""
    scores = {}
    for point in found.points:
        accuracies = [member.figures["val_accuracy"] for member in point.members if member.state == "finished"]
        if accuracies:
            scores[point.values["model.kernel_size"]] = accuracies
    return [best_line(scores), *(score_line(size, scores[size]) for size in sorted(scores))]


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code as digits.sweep does."""
    own = f"--config={os.path.relpath(__file__)}"
    return command_line.train(
        [argv[0], own, *argv[1:]],
        lambda: f"{__doc__}\n{digits_sweep.flags_help()}",
        lambda given: search(digits_sweep.read_plan(given), argv[1:]),
    )


def search(plan, arguments: list[str]) -> int:
    """Trains the sweep of a plan, prints its grid search, and trains the winner; returns the exit code."""
    candidates = len({str(values["model.kernel_size"]) for values in plan.values})
    fits = len(plan.values)
    print(f"Fitting {fits // candidates} folds for each of {candidates} candidates, totalling {fits} fits\n")
    code = digits_sweep.train(plan, "experiments.kernel_size_search", arguments)
    from digits.training import train

    found = sweep_folder.read_sweep(plan.workdir)
    if not found.points[0].count("finished"):
        return code
    lines = search_lines(found)
    print("\n" + "\n".join(lines) + "\n")
    values = {"model.kernel_size": found.points[0].values["model.kernel_size"], "data.validation": "none"}
    print(f"The winner, kernel size {values['model.kernel_size']}, on the whole training set:", flush=True)
    refit = with_values(plan.config, values)
    origin = plan.origin | {"overrides": plan.origin["overrides"] | values}
    train.train_and_evaluate(refit, plan.workdir / "refit", command_line.DATA_DIR.value, origin)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
