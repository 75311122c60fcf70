"""Reads datasets from .npz files. Headers are checked before memory is taken; nothing is unpickled."""

import contextlib
import math
import pathlib
import re
from typing import BinaryIO, NamedTuple
import zipfile
import zlib

import numpy as np

from digits.data.dataset import SIDE
from digits.data.source import LARGEST, MOST_FROM_A_BYTE, Source, joined, part_of, role_of, words
from digits.errors import UserError, reason

# np.load and its members raise these for a damaged .npz, or a file of another kind.
NPZ_ERRORS = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
_MOST_ARRAYS = 1000
_SHAPES = ((SIDE, SIDE), (SIDE, SIDE, 1), (1, SIDE, SIDE))


class _Array(NamedTuple):
    """An array of an open archive, unread; `role` is "images", "labels", "names" (of the classes) or None."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo
    name: str
    role: str | None
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def part(self) -> str:
        return part_of(self.name) or "train"

    def read(self) -> np.ndarray:
        with self.archive.open(self.member) as content:
            return np.lib.format.read_array(content, allow_pickle=False)


def read_npz(*paths: pathlib.Path) -> Source:
    """Reads a dataset from the arrays of a `.npz`, or of several that have one array each: `read_npz(path)`.

    The arrays' names say what they are: x_train as Keras has it, train_images as MedMNIST; X and y, images and labels,
    data and target are a training set. Where a file has a single array arr_0, the file's name counts. If no name tells,
    the shapes do. `class_names` names the classes; any other array is not read.

        (x_train, y_train, *test), class_names = read_npz(pathlib.Path("mnist.npz"))

    Checks the headers before it reads any array, because they may claim a terabyte. Unpickles nothing.

    Raises:
      UserError: a file cannot be read, or its arrays are not those of a dataset.
    """
    where = path = paths[0]
    if len(paths) > 1:
        where = path.parent
    try:
        with contextlib.ExitStack() as opened:
            arrays: list[_Array] = []
            for path in paths:
                if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
                    raise OSError("it is no file")
                arrays += _arrays(path, opened.enter_context(zipfile.ZipFile(path)))
            found = {role: _of_role(arrays, role) for role in ("images", "labels", "names")}
            _check(where, found["images"], found["labels"])
            parts = {
                part: (images.read().reshape(-1, SIDE, SIDE), found["labels"][part].read().reshape(-1))
                for part, images in found["images"].items()
            }
            names = found["names"]["train"].read() if found["names"] else None
    except UserError:
        raise
    except Exception as error:  # zipfile, NumPy and its parser of headers raise anything on a damaged file.
        raise UserError(f"{path} cannot be read as .npz: {reason(error)}.") from error
    for part, (_, labels) in parts.items():
        if labels.min() < 0 or labels.max() > 255:
            raise UserError(_wrong_labels(where, found["labels"][part].name, len(labels)))
    used = [array.member.filename for of in found.values() for array in of.values()]
    unread = [array.name for array in arrays if array.member.filename not in used]
    notes = (f"arrays that were not read: {', '.join(unread[:10])}",) if unread else ()
    return joined(parts, where, None if names is None else tuple(map(str, names)), notes)


def read_arrays(file: BinaryIO, *names: str) -> dict[str, np.ndarray]:
    """Reads those of the named arrays that an open `.npz` has, after a look at their headers.

    Raises one of NPZ_ERRORS if the archive or an array is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        found = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
        headers = {name: _npy_header(archive, member) for name, member in found.items()}
        return {name: _Array(archive, found[name], name, None, *header).read() for name, header in headers.items()}


def _arrays(path: pathlib.Path, archive: zipfile.ZipFile) -> list[_Array]:
    """The arrays of an archive; one whose header makes no sense has no role, unless its name gives it one."""
    members = {info.filename: info for info in archive.infolist() if re.fullmatch(r"[^/\\]+\.npy", info.filename)}
    if len(members) > _MOST_ARRAYS:
        raise ValueError(f"it has {len(members):,} arrays")
    arrays = []
    for key, member in members.items():
        name = path.stem if list(members) == ["arr_0.npy"] else key.removesuffix(".npy")
        role = (
            "names" if {"class", "classes", "label", "labels"} & {*words(name)} and "names" in name else role_of(name)
        )
        try:
            shape, dtype = _npy_header(archive, member)
        except Exception:
            if role in ("images", "labels"):
                raise
            shape, dtype, role = (), np.dtype(np.void), None
        if role == "names" and (dtype.kind not in "US" or len(shape) != 1):
            role = None
        arrays.append(_Array(archive, member, name, role, shape, dtype))
    return arrays


def _of_role(arrays: list[_Array], role: str) -> dict[str, _Array]:
    """The arrays of a role by part. If no name gives the role, the only one with its shape has it."""
    found: dict[str, _Array] = {}
    for array in arrays:
        if array.role == role:
            found.setdefault("train" if role == "names" else array.part, array)
    if role != "names" and not found:
        fitting = [
            array
            for array in arrays
            if array.role is None and (array.shape[1:] in _SHAPES if role == "images" else _holds_labels(array))
        ]
        if len(fitting) == 1:
            found["train"] = fitting[0]
    return found


def _holds_labels(array: _Array) -> bool:
    return array.dtype.kind in "iu" and array.shape[1:] in ((), (1,)) and len(array.shape) > 0


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
    if not 0 <= size <= min(member.file_size, member.compress_size * MOST_FROM_A_BYTE):
        raise ValueError(f"{member.filename} declares the shape {shape}, which it cannot hold")
    if size > LARGEST:
        raise ValueError(f"{member.filename} has {size:,} bytes, but may have {LARGEST:,}")
    return shape, dtype


def _check(where: pathlib.Path, images: dict[str, _Array], labels: dict[str, _Array]) -> None:
    """Raises UserError unless the shapes and types are those of a dataset."""
    for part in ("train", *sorted({*images, *labels} - {"train"})):
        for letter, found in (("x", images), ("y", labels)):
            if part not in found:
                raise UserError(
                    f"{where} has no array {letter}_{part}: it must have x_train, y_train and may have x_test, y_test, "
                    "or others whose names say as much, as train_images and train_labels do."
                )
        name, shape, dtype = images[part].name, images[part].shape, images[part].dtype
        if dtype.kind not in "biuf" or shape[1:] not in _SHAPES or not shape[0] > 0:
            raise UserError(
                f"{where}: {name} is {dtype} {shape}, but it must be uint8, or other numbers, of shape (N, {SIDE}, "
                f"{SIDE}){_mended(name, shape) if dtype.kind in 'biuf' else ''}."
            )
        if not _holds_labels(labels[part]) or labels[part].shape[0] != shape[0]:
            raise UserError(_wrong_labels(where, labels[part].name, shape[0], _mended_labels(labels[part])))


def _mended(name: str, shape: tuple[int, ...]) -> str:
    """How to bring images of a common other shape into the one that is read."""
    if len(shape) == 2 and shape[1] == SIDE * SIDE:
        return f": {name}.reshape(-1, {SIDE}, {SIDE})"
    if shape[1:] == (SIDE, SIDE, 3):
        return f": {name}.mean(-1).astype('uint8') makes them grey"
    if len(shape) == 3 and min(shape) > 0:
        return f": np.stack([np.asarray(Image.fromarray(x).resize(({SIDE}, {SIDE}))) for x in {name}]), with Pillow"
    return ""


def _mended_labels(labels: _Array) -> str:
    """How to bring labels of a common other form into the one that is read."""
    if len(labels.shape) == 2:
        return ".argmax(1), if its rows are one-hot"
    return ".astype(int)" if labels.dtype.kind == "f" else ""


def _wrong_labels(where: pathlib.Path, name: str, count: int, mended: str = "") -> str:
    mended = f": {name}{mended}" if mended else ""
    return f"{where}: {name} must be {count} whole numbers from 0 to 255, one for each image{mended}."
