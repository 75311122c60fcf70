"""Reads text files with a row of a label and 784 pixels for each image: Kaggle's train.csv, mnist_train.csv."""

import codecs
import pathlib
from typing import BinaryIO
import zlib

import numpy as np

from digits.data import emnist
from digits.data.dataset import SIDE
from digits.data.idx import opened
from digits.data.source import LARGEST, Source, joined
from digits.errors import UserError, reason

_PIXELS = SIDE * SIDE
_LABELS = ("label", "labels", "class", "target", "digit", "character", "y")  # Headers of the column of labels.
_LONGEST = 100_000  # Characters of a line: 784 floats of 20 digits have 16,464.


def read_rows(files: dict[str, list[pathlib.Path]]) -> Source:
    """Reads `.csv` files, gzipped or not: `read_rows({"train": [pathlib.Path("mnist_train.csv")]})`.

    A row has a label and 784 pixels, separated by commas, semicolons or tabs. The label is the column whose header says
    so, or else the first one. A column of row numbers, without a name or called id, is not read. A test file without
    labels, as Kaggle's test.csv, is left out. Images of EMNIST's files, as emnist-letters-train.csv, come upright.

    Args:
      files: one file a part.

    Raises:
      UserError: a file cannot be read, or has other columns.
    """
    parts, notes = {}, []
    for part, paths in files.items():
        for path in paths:
            if part != "train" and not _has_labels(path):
                notes.append(f"{path.name} has no labels and is left out")
            elif part in parts:
                raise UserError(f"{path} and {paths[0]} are both named {part}, but each part has one file.")
            else:
                parts[part] = _read(path)
    first = next(iter(files.values()))[0]
    source = joined(parts, first, notes=tuple(notes))
    name = emnist.set_in(first.name)
    return emnist.upright(source, name) if name else source


def is_rows(start: bytes) -> bool:
    """Whether a file that starts so may be such a text: a long line of printable characters with separators."""
    line = start.removeprefix(codecs.BOM_UTF8).split(b"\n")[0].decode("latin-1").rstrip("\r")
    return line.replace("\t", " ").isprintable() and line.count(_separator(line)) > 9


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _columns(path: pathlib.Path) -> tuple[str, list[str], int]:
    """The separator, the header's words (none if there is no header), and the number of columns of a file."""
    with opened(path) as file:
        line = file.readline(_LONGEST).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    separator = _separator(line)
    first = [cell.strip().strip('"').lower() for cell in line.split(separator)]
    return separator, [] if all(map(_is_number, first)) else first, len(first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _has_labels(path: pathlib.Path) -> bool:
    try:
        _, header, count = _columns(path)
    except (OSError, EOFError, zlib.error):
        return True  # `_read` says what is wrong.
    return bool(set(header) & {*_LABELS}) or (count - _numbered(header) == _PIXELS + 1)


def _numbered(header: list[str]) -> int:
    """The number of columns, 0 or 1, that count the rows, as pandas writes them."""
    return int(bool(header) and header[0] in ("", "id", "index", "unnamed: 0") and len(header) > _PIXELS)


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, but may have {LARGEST:,}")
        separator, header, count = _columns(path)
        skipped = _numbered(header)
        if count - skipped != _PIXELS + 1:
            raise ValueError(
                f"its rows have {count:,} columns, but must have {_PIXELS + 1}: a label and {_PIXELS} pixels"
            )
        named = [place for place, word in enumerate(header) if word in _LABELS]
        place = named[0] if named else skipped
        with opened(path) as file:
            table = _numbers(file, separator, bool(header), count)
    except UserError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} cannot be read as rows of a label and {_PIXELS} pixels: {reason(error)}.") from error
    labels, images = table[:, place], np.delete(table, [*range(skipped), place], axis=1)
    if not ((labels >= 0) & (labels <= 255) & (labels == np.rint(labels))).all():
        raise UserError(
            f"{path}: the labels, in column {place + 1}, must be whole numbers from 0 to 255, not "
            f"{labels[(labels < 0) | (labels > 255) | (labels != np.rint(labels))][0]:g}."
        )
    return images.reshape(-1, SIDE, SIDE), labels.astype(np.uint8)


def _numbers(file: BinaryIO, separator: str, header: bool, count: int) -> np.ndarray:
    """The numbers of a table, float32 NxM, read in pieces, so that no more memory is taken than the text can fill."""
    pieces, size, number = [], 0, 1  # The number of a line.
    while lines := file.readlines(2**24):
        size += sum(map(len, lines))
        if size > LARGEST or max(map(len, lines)) > _LONGEST:
            raise ValueError("it has lines that are too long, or too many of them")
        text = [line.decode("utf-8-sig", errors="replace") for line in lines]
        skipped = int(header and number == 1)
        if any(line.strip() for line in text[skipped:]):
            try:
                table = np.loadtxt(
                    text, np.float32, comments=None, delimiter=separator, skiprows=skipped, ndmin=2, quotechar='"'
                )
            except ValueError as error:
                raise ValueError(
                    _mistake(text[skipped:], number + skipped, separator, count) or reason(error)
                ) from error
            if table.shape[1] != count:
                raise ValueError(f"some lines have {table.shape[1]} columns, others {count}")
            pieces.append(table)
        number += len(lines)
    if not pieces:
        raise ValueError("it has no row of numbers")
    return np.concatenate(pieces)


def _mistake(lines: list[str], first: int, separator: str, count: int) -> str | None:
    """Tells what is wrong with the first line that is no row; `first` is the number of the first line."""
    for number, line in enumerate(lines, first):
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        if line.strip() and len(cells) != count:
            return f"line {number:,} has {len(cells)} columns, but must have {count}"
        for column, cell in enumerate(cells, 1):
            if line.strip() and not _is_number(cell):
                return f"line {number:,} has {cell[:40]!r}, no number, in column {column}"
    return None
