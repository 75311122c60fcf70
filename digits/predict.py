"""Reads the digits of a person's own pictures with what was trained: a run, or the ensemble of a sweep.

    python -m digits.predict --workdir=runs/simple_cnn photo.png more/*.jpg
    python -m digits.predict --workdir=runs/simple_cnn --csv photo.png > digits.csv

Shows for every digit what the network saw, and the probability of each class. A file that cannot be read is reported,
and the others are read; the exit code is then 1.
"""

from collections.abc import Iterable, Iterator, Sequence
import csv
import dataclasses
import json
import os
import sys
import typing
from typing import Any

from absl import flags

from digits import command_line
from digits.errors import UserError

if typing.TYPE_CHECKING:  # --help and a mistyped flag do not wait for what imports JAX.
    import numpy as np

    from digits import digitize, loading

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a run or of a sweep.", flag_values=_FLAGS)
_CSV = flags.DEFINE_bool("csv", False, "Print CSV, a row a digit, instead of text.", flag_values=_FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, also with the pixels, instead of text.", flag_values=_FLAGS)
_FLAGS.set_gnu_getopt()  # Files may stand before flags.

_BLOCKS, _ASCII = " ▀▄█", " '.#"  # Neither, the upper, the lower, both of two pixels.
_SHOWN, _LONGEST_BAR, _LONGEST_NAME = 10, 20, 16  # They and a drawing fit into 80 columns.


@dataclasses.dataclass(frozen=True)
class Reading:
    """A digit of a file, and what the network says of it.

    Attributes:
      file: the file's path, as it was given.
      number: which of the file's digits it is, from 1.
      digit: its 28x28 image, which is what the network saw, and its box in the picture.
      class_names: the name of each class.
      probabilities: of each class, float32 K.
    """

    file: str
    number: int
    digit: "digitize.Digit"
    class_names: Sequence[str]
    probabilities: "np.ndarray"

    @property
    def prediction(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())


def read_files(
    run: "loading.Run | loading.Ensemble", files: Iterable[str | os.PathLike]
) -> tuple[list[Reading], list[UserError]]:
    """Reads all digits of image files, as `digitize.read` finds them, in one go.

    Args:
      run: what `digits.load` returns.
      files: paths.

    Returns:
      The digits in the order of the files, and in each in reading order; and why files could not be read.
    """
    import numpy as np

    from digits import digitize

    found, problems = [], []
    for file in files:
        try:
            found += [(str(file), number, digit) for number, digit in enumerate(digitize.read(file), 1)]
        except UserError as error:
            problems.append(error)
    if not found:
        return [], problems
    probabilities_NxK = run.predict(np.stack([digit.image for _, _, digit in found]))
    return [Reading(*of, run.class_names, p) for of, p in zip(found, probabilities_NxK)], problems


def other_form(run: "loading.Run | loading.Ensemble") -> str:
    """What to say of networks that were trained on images of another form than pictures are brought to; mostly ""."""
    from digits import loading

    runs = run.runs if isinstance(run, loading.Ensemble) else [run]
    names = sorted({one.config.data.name for one in runs} - {"mnist", "optdigits"})
    if not names:
        return ""
    return (
        f"note: trained on {', '.join(names)}; every picture is brought to the form of MNIST's images, light on dark and a "
        "digit of 20x20 pixels in 28x28, and where the training images have another form it is often misread."
    )


def text(reading: Reading, characters: str = _BLOCKS) -> str:
    """A reading for the terminal: what the network saw beside the probabilities, at most 80 columns wide.

    Args:
      reading: of its classes, the ten most probable are shown.
      characters: for neither, the upper, the lower and both of two pixels that lie over each other.
    """
    p, names, best = reading.probabilities, reading.class_names, reading.prediction
    ink = reading.digit.image >= 128
    drawing = [
        "".join(characters[upper + 2 * lower] for upper, lower in zip(*pair)) for pair in zip(ink[::2], ink[1::2])
    ]
    shown = sorted((-p).argsort(kind="stable")[:_SHOWN])
    width = min(_LONGEST_NAME, max(len(names[k]) for k in shown))
    bars = [
        f"{names[k][:width]:>{width}} {characters[3] * round(_LONGEST_BAR * float(p[k])):{_LONGEST_BAR}} {p[k]:6.1%}"
        for k in shown
    ]
    beside = [""] * ((len(drawing) - len(bars)) // 2) + bars
    beside += [""] * (len(drawing) - len(beside))
    lines = [f"{left}  {right}".rstrip() for left, right in zip(drawing, beside)]
    # What is not to be printed would be told to the terminal.
    file = reading.file if reading.file.isprintable() else repr(reading.file)
    return "\n".join([f"{file}, digit {reading.number}: {names[best]} ({p[best]:.1%})", *lines, ""])


def record(reading: Reading) -> dict[str, Any]:
    """A reading as JSON has it; rows of pixels from the top, from 0 (black) to 255."""
    return {
        "file": reading.file,
        "digit": reading.number,
        "box": list(reading.digit.box),
        "prediction": reading.prediction,
        "class_name": reading.class_names[reading.prediction],
        "probabilities": [float(p) for p in reading.probabilities],
        "pixels": reading.digit.image.tolist(),
    }


def rows(readings: Iterable[Reading], class_names: Sequence[str]) -> Iterator[list[Any]]:
    """A header, and a row a reading, as CSV has them."""
    sides = ["left", "top", "right", "bottom"]
    yield ["file", "digit", *sides, "prediction", "class_name", *(f"probability_{name}" for name in class_names)]
    for reading in readings:
        name = class_names[reading.prediction]
        yield [reading.file, reading.number, *reading.digit.box, reading.prediction, name, *reading.probabilities]


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 1 if a file could not be read, 2 for another mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="pictures")


def _main(files: list[str]) -> int:
    workdir = command_line.require_workdir(_WORKDIR.value)
    if _CSV.value and _JSON.value:
        raise UserError("--csv and --json are both given, but only one of them can be printed.")
    if not files:
        raise UserError("there is no picture to read: name image files, such as photo.png more/*.jpg.")
    from digits import loading  # Imports JAX.

    run = loading.load(workdir)
    if warning := other_form(run):
        print(warning, file=sys.stderr)
    readings, problems = read_files(run, files)
    # Names of files and classes may have characters that the terminal, or a pipe, has not.
    sys.stdout.reconfigure(errors="backslashreplace")
    if _JSON.value:
        print(json.dumps([record(reading) for reading in readings]))
    elif _CSV.value:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows(readings, run.class_names))
    else:
        for reading in readings:
            print(text(reading, _BLOCKS if _can_print(_BLOCKS) else _ASCII))
    for problem in problems:
        command_line.refuse(problem)
    return 1 if problems else 0


def _can_print(characters: str) -> bool:
    try:
        characters.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv))
