"""Readers of datasets: IDX files, `.npz`, image folders, scikit-learn's digits.

Every reader of a dataset returns `(arrays, class_names)`: training images (uint8 Nx28x28) and labels (uint8 N), and
test images and labels where the source has a test set.
"""

import gzip
import math
import os
import pathlib
import struct
import zipfile
import zlib

import numpy as np

from digits import digitize, pictures
from digits.errors import UserError

SIDE = 28
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# QMNIST's extended labels of MNIST's examples, in MNIST's order. The test file goes on with 50,000 other examples.
WRITER_FILES = {"train": "qmnist-train-labels-idx2-int", "test": "qmnist-test-labels-idx2-int"}
_WRITER_COLUMN = 2  # 0: class, 1: NIST's series, 2: NIST's number of the writer, 3-7: the place in NIST's set.
# For a word in a file's name: the type's code in the magic number, the type, and the shape of one example.
_IDX_KINDS: dict[str, tuple[int, np.dtype, tuple[int, ...]]] = {
    "idx1-ubyte": (0x08, np.dtype(np.uint8), ()),
    "idx3-ubyte": (0x08, np.dtype(np.uint8), (SIDE, SIDE)),
    "idx2-int": (0x0C, np.dtype(">i4"), (8,)),
}
_LARGEST = 2**30  # Bytes of an array: more than any set of 28x28 images has, so that no file exhausts the memory.
_MOST_FROM_A_BYTE = 1032  # Deflate, of .gz and .npz, makes at most so many bytes of one (zlib.net/zlib_tech.html).

_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
# np.load and its members raise these for a damaged .npz, or a file of another kind.
NPZ_ERRORS = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)

Source = tuple[list[np.ndarray], tuple[str, ...]]


def read_idx(folder: pathlib.Path) -> Source:
    """Reads the four IDX files of a folder, plain or gzipped: `read_idx(pathlib.Path("mnist"))`.

    Raises:
      UserError: a file is not there, cannot be read, or is not what its name says.
    """
    arrays = read_idx_files([_find_idx(folder, stem) for stem in IDX_FILES])
    return arrays, _numbered(arrays)


def read_idx_files(paths: list[pathlib.Path]) -> list[np.ndarray]:
    """Reads four IDX files, plain or gzipped, in the order of `IDX_FILES`, whatever they are called."""
    arrays = [_read_idx_file(path, stem) for path, stem in zip(paths, IDX_FILES, strict=True)]
    for part in (0, 2):
        images, labels = map(len, arrays[part : part + 2])
        if images != labels:
            raise UserError(f"{paths[part]} has {images} images, but {paths[part + 1]} has {labels} labels.")
    return arrays


def _numbered(arrays: list[np.ndarray]) -> tuple[str, ...]:
    """Names the classes of labels that come without names: "0" to the largest label."""
    return tuple(map(str, range(int(max(labels.max() for labels in arrays[1::2])) + 1)))


def _find_idx(folder: pathlib.Path, stem: str) -> pathlib.Path:
    if path := _idx_in(folder, stem):
        return path
    raise UserError(
        f"{folder} has no file {stem} or {stem}.gz: --data_dir and DIGITS_DATA_DIR name a folder with all four."
    )


def _idx_in(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    """Finds the IDX file of that name in the folder, gzipped or plain; None if there is none."""
    paths = [folder / name for name in (f"{stem}.gz", stem, stem.replace("-idx", ".idx"))]
    return next(filter(os.path.isfile, paths), None)


def read_writers(part: str, labels: np.ndarray, folders: list[pathlib.Path]) -> np.ndarray:
    """Reads who wrote each example of MNIST from QMNIST's extended labels.

    Args:
      part: "train" or "test".
      labels: MNIST's own labels of that part, uint8 N; the file must have the same.
      folders: folders that may hold the file; the first that does counts.

    Returns:
      NIST's number of the writer, int32 N.

    Raises:
      UserError: the file is in none of the folders, cannot be read, or is of other examples.
    """
    stem = WRITER_FILES[part]
    path = next(filter(None, (_idx_in(folder, stem) for folder in folders)), None)
    if path is None:
        raise UserError(
            f"{stem}.gz, which tells who wrote MNIST's digits, is not in {', '.join(map(str, folders))}: it comes from "
            "the QMNIST project (github.com/facebookresearch/qmnist) and must be put into one of these folders, or one "
            "that DIGITS_WRITERS_DIR names."
        )
    table = _read_idx_file(path, stem)
    if part == "test":
        table = table[: len(labels)]
    if len(table) != len(labels):
        raise UserError(f"{path} has {len(table):,} rows, but MNIST has {len(labels):,} {part} examples.")
    other = np.flatnonzero(table[:, 0] != labels)
    if len(other):
        row = other[0]
        raise UserError(
            f"{path} is not of MNIST's {part} examples: its row {row} says {table[row, 0]}, but MNIST's label {row} is "
            f"{labels[row]}."
        )
    return table[:, _WRITER_COLUMN].copy()


def _read_idx_file(path: pathlib.Path, stem: str) -> np.ndarray:
    """Reads an IDX file, plain or gzipped.

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
            if not 0 < size < _LARGEST or shape[1:] != example:
                expected = "x".join(map(str, ("N", *example))) if example else "N labels"
                raise UserError(f"{path} declares the shape {shape}, but it must be {expected}.")
            # Python makes room for as many bytes as are asked for, whether the file has them or not.
            most = path.stat().st_size * (_MOST_FROM_A_BYTE if path.suffix == ".gz" else 1)
            body = file.read(min(size, most) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if len(body) != size:
        word = "truncated" if len(body) < size else "too long"
        raise UserError(f"{path} is {word}: its header declares {size:,} bytes of data, it has {len(body):,}.")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_optdigits() -> Source:
    """Reads the UCI test set of 1,797 handwritten digits that scikit-learn carries, and brings it into MNIST's form.

    Each digit of 8x8 pixels is cut out, enlarged (bicubic) and placed as `digitize.read` does it, so that a network
    trained on them can read pictures. The arithmetic is in whole numbers, so that the pixels, and with them the digest,
    are the same on every machine.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    brought = []
    for image in images:
        small = Image.fromarray(image)
        large = small.resize((80, 80), Image.Resampling.BICUBIC)
        left, top, right, bottom = box = large.point(lambda value: 255 * (value > 51)).getbbox()  # A fifth of full ink.
        scale = digitize.BOX / max(right - left, bottom - top)
        size = round((right - left) * scale), round((bottom - top) * scale)
        ink = small.resize(size, Image.Resampling.BICUBIC, [edge / 10 for edge in box])
        brought.append(digitize.placed(np.asarray(ink)))
    arrays = [np.stack(brought), labels.astype(np.uint8)]
    return arrays, _numbered(arrays)


def read_npz(path: pathlib.Path) -> Source:
    """Reads x_train, y_train and, if they are there, x_test, y_test: the layout of Keras's mnist.npz.

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
        raise UserError(f"{path} cannot be read as .npz: {pictures.reason(error)}.") from error
    for part in ("train", "test") if "x_test" in arrays else ("train",):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if labels.min() < 0 or labels.max() > 255:
            raise UserError(_wrong_labels(path, part, len(images)))
        arrays[f"x_{part}"], arrays[f"y_{part}"] = images.reshape(-1, SIDE, SIDE), labels.astype(np.uint8)
    found = list(arrays.values())
    return found, _numbered(found)


def _npy_header(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type that a member declares; ValueError if its data cannot be so much."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is not compressed as np.savez_compressed does it")
    with file.open(member) as content:
        first = np.lib.format.read_magic(content) == (1, 0)
        shape, _, dtype = getattr(np.lib.format, f"read_array_header_{1 if first else 2}_0")(content)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds pickled objects, which are never loaded")
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= size <= min(_LARGEST, member.file_size, member.compress_size * _MOST_FROM_A_BYTE):
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
            raise UserError(f"{path}: x_{part} is {dtype} {shape}, but it must be uint8 of shape (N, 28, 28).")
        labels, kind = headers.get(f"y_{part}", ((), np.dtype(float)))
        if kind.kind not in "iu" or labels != shape[:1]:
            raise UserError(_wrong_labels(path, part, shape[0]))


def _wrong_labels(path: pathlib.Path, part: str, count: int) -> str:
    return f"{path}: y_{part} must be {count} whole numbers from 0 to 255, one for each image."


def _read_npy(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as content:
        return np.lib.format.read_array(content, allow_pickle=False)


def read_folder(path: pathlib.Path) -> Source:
    """Reads a folder of image folders, one a class, or of train/ and test/ that each have these. Follows links.

    Raises:
      UserError: there is no such folder, `pictures.open_picture` cannot open a file of it, or it has too few images.
    """
    try:
        if not path.is_dir():
            raise UserError(f"config.data.name is {str(path)!r}, but there is no such folder.")
        if not ((path / "train").is_dir() and (path / "test").is_dir()):
            return _read_classes(path)
        (train, names), (test, test_names) = _read_classes(path / "train"), _read_classes(path / "test")
    except OSError as error:
        raise UserError(f"{path!s:.200} cannot be read as a folder of images: {pictures.reason(error)}.") from error
    if names != test_names:
        raise UserError(f"{path} must have the same classes in train/ and test/, not {names} and {test_names}.")
    return train + test, names


def _read_classes(path: pathlib.Path) -> Source:
    """Reads the images of a folder of folders, one a class: grey, resized to 28x28; classes and files in sorted order.

    Transparent pixels become white, as on a screen.
    """
    from PIL import Image

    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    images, labels = [], []
    for label, folder in enumerate(folders):
        if not folder.name.isprintable():  # This refuses names that are not UTF-8, too: no report could show them.
            raise UserError(f"{path} has a class folder {folder.name!r}, but a class needs a name that can be printed.")
        for file in sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")):
            try:
                image = pictures.open_picture(file)
                if image.mode == "RGBA":
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
                image = image.convert("L")
            except UserError as error:
                raise UserError(f"{path} cannot be read as an image folder: {error}") from error
            images.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
            labels.append(label)
    if not 2 <= len(folders) <= 256 or len(images) < 10:
        raise UserError(
            f"{path} has {len(folders)} class folders with {len(images)} images; it must have 2 to 256 with 10 or more."
        )
    return [np.stack(images), np.array(labels, np.uint8)], tuple(folder.name for folder in folders)
