"""Reads IDX files, plain or gzipped: the four of MNIST and of datasets in its format."""

import gzip
import os
import pathlib
import struct
import zlib

import numpy as np

from digits.data.dataset import SIDE
from digits.errors import UserError

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# For a word in a file's name: the type's code in the magic number, the type, and the shape of one example.
_IDX_KINDS: dict[str, tuple[int, np.dtype, tuple[int, ...]]] = {
    "idx1-ubyte": (0x08, np.dtype(np.uint8), ()),
    "idx3-ubyte": (0x08, np.dtype(np.uint8), (SIDE, SIDE)),
    "idx2-int": (0x0C, np.dtype(">i4"), (8,)),
}
LARGEST = 2**30  # Bytes of an array. Any set of 28x28 images has fewer, and no file can exhaust the memory.
MOST_FROM_A_BYTE = 1032  # Deflate (.gz, .npz) expands a byte to at most so many (zlib.net/zlib_tech.html).

Source = tuple[list[np.ndarray], tuple[str, ...]]


def read_idx(folder: pathlib.Path) -> Source:
    """Reads the four IDX files of a folder, plain or gzipped: `read_idx(pathlib.Path("mnist"))`.

    Raises:
      UserError: a file is not there, cannot be read, or is not what its name says.
    """
    paths = {stem: idx_in(folder, stem) for stem in IDX_FILES}
    for stem, path in paths.items():
        if path is None:
            raise UserError(
                f"{folder} has no file {stem} or {stem}.gz: --data_dir and DIGITS_DATA_DIR name a folder with all four."
            )
    arrays = read_idx_files(list(paths.values()))
    return arrays, numbered(arrays)


def read_idx_files(paths: list[pathlib.Path]) -> list[np.ndarray]:
    """Reads four IDX files, plain or gzipped, in the order of `IDX_FILES`, whatever they are called."""
    arrays = [read_idx_file(path, stem) for path, stem in zip(paths, IDX_FILES, strict=True)]
    for part in (0, 2):
        images, labels = map(len, arrays[part : part + 2])
        if images != labels:
            raise UserError(f"{paths[part]} has {images} images, but {paths[part + 1]} has {labels} labels.")
    return arrays


def numbered(arrays: list[np.ndarray]) -> tuple[str, ...]:
    """Names the classes of labels that come without names: "0" to the largest label."""
    return tuple(map(str, range(int(max(labels.max() for labels in arrays[1::2])) + 1)))


def idx_in(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    """Finds the IDX file of that name in the folder, gzipped or plain; None if there is none."""
    paths = [folder / name for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx"))]
    return next(filter(os.path.isfile, paths), None)


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
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
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
            most = path.stat().st_size * (MOST_FROM_A_BYTE if path.suffix == ".gz" else 1)
            body = file.read(min(size, most) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if len(body) != size:
        word = "truncated" if len(body) < size else "too long"
        raise UserError(f"{path} is {word}: its header declares {size:,} bytes of data, it has {len(body):,}.")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
