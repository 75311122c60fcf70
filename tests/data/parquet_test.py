"""Parquet files, as the Hugging Face hub has them: their parts and class names; other columns and damaged pictures."""

import io
import sys

import numpy as np
from PIL import Image
import pytest

from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, strokes

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes(80)
ARRAYS = [IMAGES[:50], LABELS[:50], IMAGES[50:], LABELS[50:]]


def save_parquet(path, images, labels, names=None, column="image"):
    """A file as Hugging Face's datasets writes it."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        pictures.append({"bytes": file.getvalue(), "path": None})
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({column: pyarrow.array(pictures, kind), "label": pyarrow.array(labels.astype(np.int64))})
    if names:
        features = f'{{"info": {{"features": {{"label": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}'
        table = table.replace_schema_metadata({"huggingface": features.replace("'", '"')})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_parquet_of_hugging_face(tmp_path):
    names = [f"number {n}" for n in range(10)]
    folder = tmp_path / "set" / "data"
    save_parquet(folder / "train-00000-of-00002.parquet", IMAGES[:30], LABELS[:30], names)
    save_parquet(folder / "train-00001-of-00002.parquet", IMAGES[30:50], LABELS[30:50], names)
    save_parquet(folder / "test-00000-of-00001.parquet", *ARRAYS[2:], names)
    for path in (tmp_path / "set", folder, folder / "train-00000-of-00002.parquet"):
        dataset = data.load(str(path))
        assert_same_arrays(dataset, ARRAYS)
        assert dataset.class_names == tuple(names)
    alone = save_parquet(tmp_path / "digits.parquet", IMAGES, LABELS, column="picture")
    assert data.load(str(alone)).class_names == tuple("0123456789")


def test_parquet_of_other_columns_or_damaged_is_refused(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "set.parquet"
    whole = save_parquet(path, IMAGES, LABELS).read_bytes()

    def refused(words):
        with pytest.raises(UserError) as error:
            data.load(str(path))
        assert str(path) in str(error.value) and words in str(error.value)

    parquet.write_table(pyarrow.table({"text": ["a"] * 20, "label": [1] * 20}), path)
    refused("needs a column of pictures as bytes and one of whole numbers as labels, not text (string), label")
    parquet.write_table(pyarrow.table({"image": [b"no picture"] * 20, "label": [1] * 20}), path)
    refused("in row 1, the picture is no image that can be read")
    parquet.write_table(pyarrow.table({"image": [None, *[b"a"] * 19], "label": [1] * 20}), path)
    refused("row 1 has no bytes of a picture")
    path.write_bytes(whole[:-100])
    refused("cannot be read as a Parquet file")
    negative = LABELS.astype(int) - 1
    save_parquet(path, IMAGES, negative)
    refused("must be whole numbers from 0 to 255")


def test_parquet_without_pyarrow_is_refused_with_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "set.parquet").write_bytes(b"PAR1" + bytes(100))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="is a Parquet file, which needs pyarrow .*: pip install pyarrow"):
        data.load(str(tmp_path / "set.parquet"))
