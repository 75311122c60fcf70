"""Reads Parquet files with a row for each image, as image sets on the Hugging Face hub have them."""

import json
import pathlib
from typing import Any

import numpy as np

from digits.data.framing import framed
from digits.data.pictures.opening import open_picture
from digits.data.source import LARGEST, Source, joined, role_of
from digits.errors import UserError, reason

_MOST_ROWS = 2**20  # In 28x28 pixels these take 800 MB.
_ROWS_AT_ONCE = 1000


def read_parquet(files: dict[str, list[pathlib.Path]]) -> Source:
    """Reads Parquet files: `read_parquet({"train": [pathlib.Path("train-00000-of-00001.parquet")]})`.

    A row has a picture, the bytes of an image file alone or in a struct, and a label, a whole number. Class names come
    from the notes of Hugging Face's datasets in the file.

    Args:
      files: the files of each part, in order.

    Raises:
      UserError: pyarrow is not installed; or a file cannot be read, has other columns or a damaged picture.
    """
    parts, names = {}, None
    for part, paths in files.items():
        pieces = [_read(path) for path in paths]
        parts[part] = tuple(np.concatenate([piece[place] for piece in pieces]) for place in (0, 1))
        names = names or next((piece[2] for piece in pieces if piece[2]), None)
    return joined(parts, next(iter(files.values()))[0], names)


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
    """The images, labels and class names of a file."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"{path} is a Parquet file, which needs pyarrow ({error}): pip install pyarrow.") from error
    try:
        with parquet.ParquetFile(path) as file:
            about, schema = file.metadata, file.schema_arrow
            size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
            if not 0 < about.num_rows <= _MOST_ROWS or not 0 <= size <= LARGEST:
                raise ValueError(
                    f"it has {about.num_rows:,} rows of {size:,} bytes, but may have {_MOST_ROWS:,} of {LARGEST:,}"
                )
            image, label = _columns(schema)
            images, labels = [], []
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[image, label], use_threads=False):
                labels += batch.column(label).to_pylist()
                for picture in batch.column(image):
                    images.append(_picture(path, len(images), picture.as_py()))
                if len(images) > about.num_rows:
                    break
            if len(images) != about.num_rows:
                raise ValueError(f"it declares {about.num_rows:,} rows, but has others")
            names = _class_names(schema, label)
    except UserError:
        raise
    except Exception as error:  # pyarrow raises many kinds on a damaged file.
        raise UserError(f"{path} cannot be read as a Parquet file of images: {reason(error)}.") from error
    if not all(isinstance(each, int) and 0 <= each <= 255 for each in labels):
        raise UserError(f"{path}: the labels, in the column {label}, must be whole numbers from 0 to 255.")
    return np.stack(images), np.array(labels, np.uint8), names


def _columns(schema: Any) -> tuple[str, str]:
    """The names of the columns of pictures and of labels."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(field.name == "bytes" and is_bytes(field.type) for field in kind)
        return types.is_binary(kind) or types.is_large_binary(kind)

    images = [field.name for field in schema if is_bytes(field.type)]
    labels = [field.name for field in schema if types.is_integer(field.type)]
    found = []
    for role, fitting in (("images", images), ("labels", labels)):
        named = [name for name in fitting if role_of(name) == role] or fitting
        if len(named) != 1:
            columns = ", ".join(f"{field.name} ({field.type})" for field in schema)[:300]
            raise ValueError(
                f"it needs a column of pictures as bytes and one of whole numbers as labels, not {columns}"
            )
        found.append(named[0])
    return found[0], found[1]


def _picture(path: pathlib.Path, row: int, picture: Any) -> np.ndarray:
    content = picture.get("bytes") if isinstance(picture, dict) else picture
    if not content:
        raise UserError(f"{path}: row {row + 1} has no bytes of a picture.")
    try:
        return framed(open_picture(content))
    except UserError as error:
        raise UserError(f"{path}: in row {row + 1}, {error}") from error


def _class_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The names that Hugging Face's datasets notes in a file; None if there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None
