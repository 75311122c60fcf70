"""Writes a report on a run, or one that compares several: a page that explains itself and needs no other file.

    python -m digits.report runs/simple_cnn
    python -m digits.report runs/dense_32_32 runs/dense_64_64 "runs/simple_cnn_sweep,seed=0:10" --output=dense.html

One run: RUN/report.html, and its pictures in RUN/figures/; with --output that file alone. Several, or a sweep: test
accuracies with intervals, what the configs differ in, curves, and differences from the first run.
"""

from collections.abc import Callable, Sequence
import functools
import importlib.util
import os
import pathlib
import sys
import typing

from absl import flags

from digits import command_line, files
from digits.errors import UserError

if typing.TYPE_CHECKING:  # --help and a mistyped flag do not wait for what imports NumPy and JAX.
    from digits import data

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_OUTPUT = flags.DEFINE_string(
    "output", None, "The page's file. Default: report.html in the run's folder; comparison.html for several.",
    flag_values=_FLAGS,
)  # fmt: skip
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)


def write(
    workdir: str | os.PathLike, data_dir: str | None = None, output: str | os.PathLike | None = None
) -> pathlib.Path:
    """Writes the report on one run: WORKDIR/report.html and WORKDIR/figures/*.png, or `output` alone.

    A run that is not finished gets a report on what is there; its test images are left alone.

    Returns:
      The page's path.

    Raises:
      UserError: there is no run, something of it is missing or damaged, its data cannot be read, or the files cannot
        be written.
    """
    content, pictures = _pages().run_page.page_of(workdir, _dataset_loader(data_dir))
    if output is not None:
        return _write_page(pathlib.Path(output), content)
    folder = pathlib.Path(workdir).expanduser()
    for name, png in pictures.items():
        files.write(folder / "figures" / f"{name}.png", png)
    return _write_page(folder / "report.html", content)


def compare(
    workdirs: Sequence[str | os.PathLike], output: str | os.PathLike, data_dir: str | None = None
) -> pathlib.Path:
    """Writes a report that compares 2 to 8 runs, the first of which is what the others are held against.

    Args:
      workdirs: of runs and of sweeps; a sweep takes part with its best point.
      output: the page's path.
      data_dir: see `data.load`.

    Returns:
      The page's path.

    Raises:
      UserError: as `write`; also for another number of runs.
    """
    return _write_page(pathlib.Path(output), _pages().comparison_page.page_of(workdirs, _dataset_loader(data_dir)))


def _pages():
    """The package with the modules that make pages, which import JAX."""
    for name, package in (("matplotlib", "matplotlib"), ("PIL", "pillow")):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"A report needs {package}, which is not installed: pip install {package}.")
    import digits
    from digits import comparison_page, run_page  # noqa: F401

    return digits


def _dataset_loader(data_dir: str | None) -> Callable[[str], "data.Dataset"]:
    """`data.load` that reads each dataset once."""
    from digits import data

    return functools.cache(lambda name: data.load(name, data_dir))


def _write_page(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path = path.expanduser()
    files.write(path, content)
    return path


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="runs and sweeps")


def _main(workdirs: list[str]) -> int:
    if _OUTPUT.value == "":
        raise UserError("--output is empty: name the page to write, such as --output=report.html.")
    if not workdirs:
        raise UserError("no run is named: give the folder of one or several, such as runs/simple_cnn.")
    folder, output = pathlib.Path(workdirs[0]).expanduser(), _OUTPUT.value
    if len(workdirs) == 1 and not (folder / "sweep.json").exists():
        path = write(folder, _DATA_DIR.value, output)
    else:
        default = folder / "report.html" if len(workdirs) == 1 else "comparison.html"
        path = compare(workdirs, output or default, _DATA_DIR.value)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
