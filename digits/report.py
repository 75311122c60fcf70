"""Writes a report on a run, or one that compares several: a page that explains
itself and needs no other file.

    python -m digits.report runs/simple_cnn
    python -m digits.report runs/dense_32_32 runs/simple_cnn --output=two.html

For one run, writes RUN/report.html and its pictures in RUN/figures/; with
--output, that file alone. For several runs and sweeps, writes comparison.html
beside the first: which is best and whether the difference is more than chance,
test accuracies with intervals, curves, and differences of the configs. For one
sweep, writes SWEEP/report.html.
"""

import pathlib
import shlex
import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runs import found

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string("workdir", None, "A run or sweep, before those without a flag.", flag_values=_FLAGS)
_OUTPUT = flags.DEFINE_string(
    "output", None,
    "The page's file. Default: report.html in the run's folder; comparison.html beside the first of several.",
    flag_values=_FLAGS,
)  # fmt: skip
_COMPARISON = "comparison.html"
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="runs and sweeps")


def _main(workdirs: list[str]) -> int:
    if _WORKDIR.value:
        workdirs = [_WORKDIR.value, *workdirs]
    if _OUTPUT.value == "":
        raise UserError("--output is empty: name the page to write, such as --output=report.html.")
    if not workdirs:
        raise found.none_named("no run is named: give the folder of one or several, such as runs/simple_cnn.")
    # runs/* names the page of an earlier comparison too.
    workdirs = [found.existing(one) for one in workdirs if len(workdirs) == 1 or pathlib.Path(one).name != _COMPARISON]
    from digits.reports import pages  # Imports JAX.

    folder, output = pathlib.Path(workdirs[0]).expanduser(), _OUTPUT.value
    if len(workdirs) == 1 and not found.is_sweep(folder):
        path = pages.write(folder, _DATA_DIR.value, output)
    else:
        default = folder / "report.html" if len(workdirs) == 1 else folder.parent / _COMPARISON
        path = pages.compare(workdirs, output or default, _DATA_DIR.value)
    print(shlex.quote(str(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
