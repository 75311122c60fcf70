"""Reads the digits of pictures with a trained network, and writes the readings as text, JSON and CSV."""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import itertools
import os
from typing import Any

import numpy as np

from digits.data.pictures import segment
from digits.errors import UserError
from digits.runs import loading

BLOCKS, ASCII = " ▀▄█", " '.#"  # Neither, the upper, the lower, both of two pixels.
_MOST_SHOWN, _LONGEST_BAR, _LONGEST_NAME = 10, 20, 16  # Beside a drawing of 28 columns they fit into 80.


@dataclasses.dataclass(frozen=True)
class Reading:
    """A digit of a file, as the network reads it.

    Attributes:
      file: the file's path, as it was given.
      page: the page of a TIFF or the frame of a GIF, PNG or WebP that it is on, from 1.
      number: the digit's place among those of the page, from 1.
      digit: its 28x28 image, as the network saw it, and its box in the picture.
      class_names: the name of each class.
      probabilities: float32 K, one for each class.
    """

    file: str
    page: int
    number: int
    digit: segment.Digit
    class_names: Sequence[str]
    probabilities: np.ndarray

    @property
    def prediction(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())


def read_files(
    run: loading.Run | loading.Ensemble, files: Iterable[str | os.PathLike]
) -> tuple[list[Reading], list[UserError]]:
    """Reads all digits of image files, as `segment.read_pages` finds them, with one call of the network.

        readings, problems = read_files(digits.load("runs/simple_cnn"), ["photo.png"])

    Args:
      run: a run or an ensemble, as `digits.load` returns it.
      files: paths.

    Returns:
      The digits in the order of the files and their pages, on each page in reading order; and the errors of files and
      pages that could not be read.
    """
    found, problems = [], []
    for file in files:
        try:
            for page, digits in enumerate(segment.read_pages(file), 1):
                if isinstance(digits, UserError):
                    problems.append(digits)
                else:
                    found += [(str(file), page, number, digit) for number, digit in enumerate(digits, 1)]
        except UserError as error:
            problems.append(error)
    if not found:
        return [], problems
    probabilities_NxK = run.predict(np.stack([digit.image for *_, digit in found]))
    return [Reading(*of, run.class_names, p) for of, p in zip(found, probabilities_NxK)], problems


def members(run: loading.Run | loading.Ensemble) -> tuple[loading.Run, ...]:
    """The runs of an ensemble, or the run alone."""
    return run.runs if isinstance(run, loading.Ensemble) else (run,)


def other_form(run: loading.Run | loading.Ensemble) -> str:
    """Warns of networks whose training images had another form than pictures are brought to; "" for others."""
    names = sorted({one.config.data.name for one in members(run)} - {"mnist", "optdigits"})
    if not names:
        return ""
    return (
        f"note: trained on {', '.join(names)}; every picture is brought to the form of MNIST's images, light on dark "
        "and a digit of 20x20 pixels in 28x28, and where the training images have another form it is often misread."
    )


def text(reading: Reading, characters: str = BLOCKS) -> str:
    """Writes a reading for the terminal: the digit as the network saw it beside the probabilities, in 80 columns.

    Args:
      reading: the ten most probable of its classes are shown.
      characters: four, each for two pixels, one above the other: none is ink, the upper, the lower, both.
    """
    p, names, best = reading.probabilities, reading.class_names, reading.prediction
    ink = reading.digit.image >= 128
    drawing = [
        "".join(characters[upper + 2 * lower] for upper, lower in zip(*pair)) for pair in zip(ink[::2], ink[1::2])
    ]
    shown = sorted((-p).argsort(kind="stable")[:_MOST_SHOWN])
    width = min(_LONGEST_NAME, max(len(names[k]) for k in shown))
    bars = [
        f"{names[k][:width]:>{width}} {characters[3] * round(_LONGEST_BAR * float(p[k])):{_LONGEST_BAR}} {p[k]:6.1%}"
        for k in shown
    ]
    beside = [""] * ((len(drawing) - len(bars)) // 2) + bars
    beside += [""] * (len(drawing) - len(beside))
    lines = [f"{left}  {right}".rstrip() for left, right in zip(drawing, beside)]
    place = f"{_shown(reading.file, reading.page)}, digit {reading.number}"
    return "\n".join([f"{place}: {names[best]} ({p[best]:.1%})", *lines, ""])


def answers(readings: Iterable[Reading]) -> Iterator[str]:
    """Yields what each page says, as "photo.jpg: 2 7 0 4"; a row for each line of writing."""
    for (file, page), group in itertools.groupby(readings, key=lambda reading: (reading.file, reading.page)):
        of_file = list(group)
        names = [reading.class_names[reading.prediction] for reading in of_file]
        between = " " if all(len(name) == 1 for name in of_file[0].class_names) else ", "
        rows = [between.join(names[i] for i in line) for line in segment.lines([one.digit.box for one in of_file])]
        start = f"{_shown(file, page)}: "
        yield start + ("\n" + " " * len(start)).join(rows)


def _shown(file: str, page: int) -> str:
    """The file's name for the terminal, which would obey control characters, and its page if it is not the first."""
    name = file if file.isprintable() else repr(file)
    return name if page == 1 else f"{name}, page {page}"


def record(reading: Reading) -> dict[str, Any]:
    """Makes a reading an object for JSON, with rows of pixels from the top, from 0 (black) to 255 (white)."""
    return {
        "file": reading.file,
        "page": reading.page,
        "digit": reading.number,
        "box": list(reading.digit.box),
        "prediction": reading.prediction,
        "class_name": reading.class_names[reading.prediction],
        "probabilities": [float(p) for p in reading.probabilities],
        "pixels": reading.digit.image.tolist(),
    }


def rows(readings: Iterable[Reading], class_names: Sequence[str]) -> Iterator[list[Any]]:
    """Yields the rows of a CSV file: a header, and a row for each reading.

    csv.writer(sys.stdout).writerows(rows(readings, run.class_names))
    """
    sides = ["left", "top", "right", "bottom"]
    yield [
        "file",
        "page",
        "digit",
        *sides,
        "prediction",
        "class_name",
        *(f"probability_{name}" for name in class_names),
    ]
    for reading in readings:
        name = class_names[reading.prediction]
        yield [
            reading.file,
            reading.page,
            reading.number,
            *reading.digit.box,
            reading.prediction,
            name,
            *reading.probabilities,
        ]
