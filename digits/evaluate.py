"""Evaluates a run, or the members and the ensembles of a sweep.

    python -m digits.evaluate runs/simple_cnn
    python -m digits.evaluate --workdir=runs/simple_cnn --robustness
    python -m digits.evaluate runs/simple_cnn_sweep,seed=0..10 --json

A run also gets measures by class, its confusion matrix, calibration and worst
mistakes, for MNIST the errors by writer, with --robustness the accuracy on
changed images, and pictures of these in its folder `figures`. Loss (the mean
cross-entropy in nats, with a network's L2 penalty) and accuracy of every run
are exact, those of result.json again; an ensemble predicts by the mean of its
members' probabilities. Intervals are of 95%.
"""

import json
import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runs import found

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of a run or of a sweep; the flag may be left out: runs/simple_cnn.", flag_values=_FLAGS
)
_SPLIT = flags.DEFINE_string("split", "test", "On which images: test, validation or train.", flag_values=_FLAGS)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_FIGURES = flags.DEFINE_string(
    "figures", None, "The folder for a run's pictures, or none. Default: `figures` in the run's.", flag_values=_FLAGS
)
_ROBUSTNESS = flags.DEFINE_bool(
    "robustness", False, "Measure a run on changed images too; a deep CNN takes a minute.", flag_values=_FLAGS
)
_ROBUSTNESS_IMAGES = flags.DEFINE_integer(
    "robustness_images", 2000, "On so many of the images, evenly spaced.", lower_bound=1, flag_values=_FLAGS
)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, with all digits, instead of text.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="a run", prints=True)


def _main(runs: list[str]) -> int:
    workdir = found.one_run(_WORKDIR.value, runs)
    if _FIGURES.value == "":
        raise UserError("--figures is empty, but it must be a folder, or none.")
    if _FLAGS["robustness_images"].present and not _ROBUSTNESS.value:
        raise UserError("--robustness_images is given, but --robustness, which it is for, is not.")
    figures = {None: True, "none": False}.get(_FIGURES.value, _FIGURES.value)
    robustness_images = _ROBUSTNESS_IMAGES.value if _ROBUSTNESS.value else 0
    from digits.reports import evaluation, evaluation_text  # Imports JAX.

    measured = evaluation.evaluate(workdir, _SPLIT.value, _DATA_DIR.value, figures, robustness_images)
    print(json.dumps(measured, indent=2) if _JSON.value else evaluation_text.text(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
