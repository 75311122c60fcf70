"""Reads IDX files, plain or gzipped: the four of MNIST and of datasets in its format."""

import collections
import gzip
import os
import pathlib
import re
import struct
from typing import Any
import zlib

import numpy as np

from digits.data import emnist
from digits.data.dataset import SIDE
from digits.data.source import LARGEST, MOST_FROM_A_BYTE, Source, part_of
from digits.errors import UserError

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# For a word in a file's name: the type's code in the magic number, the type, and the shape of one example.
_IDX_KINDS: dict[str, tuple[int, np.dtype, tuple[int, ...]]] = {
    "idx1-ubyte": (0x08, np.dtype(np.uint8), ()),
    "idx3-ubyte": (0x08, np.dtype(np.uint8), (SIDE, SIDE)),
    "idx2-int": (0x0C, np.dtype(">i4"), (8,)),
}
# The first bytes of images and of labels: the word of their kind.
_MAGICS = {b"\0\0\x08\3": "idx3-ubyte", b"\0\0\x08\1": "idx1-ubyte"}
_GZIP = b"\x1f\x8b"
_MOST_FILES = 1000  # Files of a folder that are looked into. The IDX files of EMNIST are 24.


def read_idx(folder: pathlib.Path, name: str = "") -> Source:
    """Reads the four IDX files of a folder, plain or gzipped: `read_idx(pathlib.Path("mnist"))`.

    Files of other names are found by what they hold: images and labels whose names have "train", "t10k" or "test", such
    as emnist-letters-test-images-idx3-ubyte, or one pair. EMNIST's images, which lie transposed in its files, are
    turned upright, and its classes named, if the files or `name` say that they are EMNIST's.

    Args:
      folder: a folder; `emnist.zip`'s holds several sets.
      name: the name of the dataset, which says which of several sets is meant: "emnist/letters".

    Raises:
      UserError: a file is not there, cannot be read, or is not what its name says.
    """
    paths = {stem: idx_in(folder, stem) for stem in IDX_FILES}
    prefix = ""
    if not any(paths.values()) and (sets := idx_sets(folder)):
        part = name.partition("/")[2] or ("byclass" if name == "emnist" else "")
        wanted = [prefix for prefix in sets if prefix.endswith(part) or (len(sets) == 1 and "emnist" not in prefix)]
        if len(wanted) != 1:
            known = sorted(prefix.replace("-", "/", 1) for prefix in sets)
            raise UserError(
                f"{folder} has IDX files of {', '.join(known)}: name one of them with "
                f"--config.data.name={known[0]} --data_dir={folder}, or put its files into a folder of their own."
            )
        prefix, paths = wanted[0], sets[wanted[0]]
    if list(paths) == list(IDX_FILES):
        for stem, path in paths.items():
            if path is None:
                raise UserError(
                    f"{folder} has no file {stem} or {stem}.gz: --data_dir and DIGITS_DATA_DIR name a folder with all "
                    "four."
                )
    source = Source(read_idx_files(list(paths.values())))
    part = name if name.startswith("emnist") else emnist.set_in(prefix)
    return emnist.upright(source, part) if part else source


def read_idx_files(paths: list[pathlib.Path]) -> list[np.ndarray]:
    """Reads four IDX files, or the first two, in the order of `IDX_FILES`, whatever they are called."""
    arrays = [read_idx_file(path, stem) for path, stem in zip(paths, IDX_FILES)]
    for part in range(0, len(arrays), 2):
        images, labels = map(len, arrays[part : part + 2])
        if images != labels:
            raise UserError(f"{paths[part]} has {images} images, but {paths[part + 1]} has {labels} labels.")
    return arrays


def idx_in(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    """Finds the IDX file of that name in the folder, gzipped or plain; None if there is none."""
    paths = [folder / name for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx"))]
    return next(filter(os.path.isfile, paths), None)


def idx_sets(folder: pathlib.Path) -> dict[str, dict[str, pathlib.Path]]:
    """Finds IDX files of images and labels by their first bytes.

    Returns:
      For what their names have before "train" or "test" ("emnist-letters"), the files by the name in `IDX_FILES`: all
      four, or the training files alone. An incomplete set is left out.
    """
    found: dict[str, dict[str, pathlib.Path]] = collections.defaultdict(dict)
    try:
        files = [path for path in sorted(folder.iterdir())[:_MOST_FILES] if path.is_file()]
    except OSError:
        return {}
    for path in files:
        if kind := _MAGICS.get(first_bytes(path, 4)):
            part = {"test": "t10k"}.get(part_of(path.name) or "", "train")
            prefix = (
                re.split("train|t10k|test", path.name, maxsplit=1, flags=re.IGNORECASE)[0].rstrip("-_. ")
                if part_of(path.name)
                else ""
            )
            found[prefix].setdefault(f"{part}-{'images' if kind == 'idx3-ubyte' else 'labels'}-{kind}", path)
    ordered = {prefix: {stem: of[stem] for stem in IDX_FILES if stem in of} for prefix, of in found.items()}
    return {prefix: of for prefix, of in ordered.items() if tuple(of) in (IDX_FILES, IDX_FILES[:2])}


def first_bytes(path: pathlib.Path, count: int) -> bytes:
    """The first bytes of a file, unzipped if it is gzipped; none if it cannot be read."""
    try:
        with opened(path) as file:
            return file.read(count)
    except (OSError, EOFError, zlib.error):
        return b""


def opened(path: pathlib.Path) -> Any:
    """Opens a file for reading, gzipped or not, whatever its ending says."""
    with open(path, "rb") as file:
        gzipped = file.read(2) == _GZIP
    return gzip.open(path) if gzipped else open(path, "rb")


def read_idx_file(path: pathlib.Path, stem: str) -> np.ndarray:
    """Reads an IDX file, plain or gzipped.

        read_idx_file(pathlib.Path("mnist"), "train-labels-idx1-ubyte").shape == (60000,)

    Args:
      path: the file.
      stem: its usual name, which says what it holds.

    Returns:
      Images, uint8 Nx28x28; labels, uint8 N; or QMNIST's labels, int32 Nx8.
    """
    code, dtype, example = next(kind for word, kind in _IDX_KINDS.items() if word in stem)
    dimensions = 1 + len(example)
    magic = bytes((0, 0, code, dimensions))
    try:
        with opened(path) as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != magic:
                raise UserError(
                    f"{path} starts with {header[:4].hex()}, but an IDX file of this kind starts with {magic.hex()}."
                )
            if len(header) < 4 + 4 * dimensions:
                raise UserError(f"{path} is truncated: it ends within its header.")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if not 0 < size < LARGEST or shape[1:] != example:
                expected = "x".join(map(str, ("N", *example))) if example else "N labels"
                raise UserError(f"{path} declares the shape {shape}, but it must be {expected}.")
            # Python allocates as many bytes as it is asked for, whether the file has them or not.
            most = path.stat().st_size * (MOST_FROM_A_BYTE if isinstance(file, gzip.GzipFile) else 1)
            body = file.read(min(size, most) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if len(body) != size:
        word = "truncated" if len(body) < size else "too long"
        raise UserError(f"{path} is {word}: its header declares {size:,} bytes of data, it has {len(body):,}.")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
