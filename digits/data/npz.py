"""Reads datasets from .npz files. Headers are checked before memory is taken; nothing is unpickled."""

import math
import pathlib
import zipfile
import zlib

import numpy as np

from digits.data.dataset import SIDE
from digits.data.idx import LARGEST, MOST_FROM_A_BYTE, Source, numbered
from digits.errors import UserError, reason

_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
# np.load and its members raise these for a damaged .npz, or a file of another kind.
NPZ_ERRORS = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_npz(path: pathlib.Path) -> Source:
    """Reads x_train, y_train and, if they are there, x_test, y_test: the layout of Keras's mnist.npz.

        (x_train, y_train, *test), class_names = read_npz(pathlib.Path("mnist.npz"))

    Checks the headers before it reads any array, because they may claim a terabyte. Unpickles nothing.

    Raises:
      UserError: the file cannot be read, or its arrays are not those of a dataset.
    """
    try:
        if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
            raise OSError("it is no file")
        with zipfile.ZipFile(path) as file:
            members = {key: file.getinfo(f"{key}.npy") for key in _NPZ_KEYS if f"{key}.npy" in file.namelist()}
            headers = {key: _npy_header(file, member) for key, member in members.items()}
            _check_npz(path, headers)
            arrays = {key: _read_npy(file, member) for key, member in members.items()}
    except UserError:
        raise
    except Exception as error:  # zipfile, NumPy and its parser of headers raise anything on a damaged file.
        raise UserError(f"{path} cannot be read as .npz: {reason(error)}.") from error
    for part in ("train", "test") if "x_test" in arrays else ("train",):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if labels.min() < 0 or labels.max() > 255:
            raise UserError(_wrong_labels(path, part, len(images)))
        arrays[f"x_{part}"], arrays[f"y_{part}"] = images.reshape(-1, SIDE, SIDE), labels.astype(np.uint8)
    found = list(arrays.values())
    return found, numbered(found)


def _npy_header(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type that a member declares; ValueError if its data cannot fill them."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is not compressed as np.savez_compressed does it")
    with file.open(member) as content:
        first = np.lib.format.read_magic(content) == (1, 0)
        shape, _, dtype = getattr(np.lib.format, f"read_array_header_{1 if first else 2}_0")(content)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds pickled objects, which are never loaded")
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= size <= min(LARGEST, member.file_size, member.compress_size * MOST_FROM_A_BYTE):
        raise ValueError(f"{member.filename} declares the shape {shape}, which it cannot hold")
    return shape, dtype


def _check_npz(path: pathlib.Path, headers: dict[str, tuple[tuple[int, ...], np.dtype]]) -> None:
    """Raises UserError unless the shapes and types are those of a dataset."""
    for needed in ("x_train", "y_train", *(("x_test",) if "y_test" in headers else ())):
        if needed not in headers:
            raise UserError(f"{path} has no array {needed}: it must have x_train, y_train and may have x_test, y_test.")
    for part in ("train", "test"):
        if f"x_{part}" not in headers:
            continue
        shape, dtype = headers[f"x_{part}"]
        if dtype != np.uint8 or shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 1)) or not shape[0] > 0:
            raise UserError(f"{path}: x_{part} is {dtype} {shape}, but it must be uint8 of shape (N, {SIDE}, {SIDE}).")
        labels, kind = headers.get(f"y_{part}", ((), np.dtype(float)))
        if kind.kind not in "iu" or labels != shape[:1]:
            raise UserError(_wrong_labels(path, part, shape[0]))


def _wrong_labels(path: pathlib.Path, part: str, count: int) -> str:
    return f"{path}: y_{part} must be {count} whole numbers from 0 to 255, one for each image."


def _read_npy(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as content:
        return np.lib.format.read_array(content, allow_pickle=False)
