"""The writers of MNIST's digits: where their file is looked for, and whole, damaged and foreign files."""

import gzip
import struct

import numpy as np
import pytest

from digits import data
from digits.data import writers
from digits.errors import UserError
from tests.made_datasets import some_writers, write_writers

pytestmark = pytest.mark.usefixtures("mnist_dir")


TRAIN_WRITERS, TEST_WRITERS = writers.WRITER_FILES["train"], writers.WRITER_FILES["test"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "place", ["files/given", "files/given/mnist", "files/given/qmnist", "files/qmnist", "cache", "named"]
)
def test_writers_are_found_in_every_documented_place(tmp_path, monkeypatch, mnist_noise, place, suffix):
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    train, test = some_writers(), some_writers(150, seed=1)
    write_writers(tmp_path / place / (TRAIN_WRITERS + suffix), mnist_noise.train_labels, train)
    # The test file goes on after MNIST's test set.
    labels = np.concatenate([mnist_noise.test_labels, np.zeros(60, np.uint8)])
    write_writers(tmp_path / place / (TEST_WRITERS + suffix), labels, test)
    for part, expected in (("train", train), ("test", test[:90])):
        got = data.writers_of(mnist_noise, part)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, expected)


def test_writers_come_from_the_folder_that_the_environment_names_first(tmp_path, monkeypatch, mnist_noise):
    for place, seed in (("named", 1), ("files/given", 2), ("files/qmnist", 3), ("cache", 4)):
        write_writers(tmp_path / place / TRAIN_WRITERS, mnist_noise.train_labels, some_writers(seed=seed))
    np.testing.assert_array_equal(data.writers_of(mnist_noise, "train"), some_writers(seed=2))
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    np.testing.assert_array_equal(data.writers_of(mnist_noise, "train"), some_writers(seed=1))


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_writers_are_named_with_where_they_come_from_and_go(tmp_path, monkeypatch, mnist_noise, part):
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    with pytest.raises(UserError) as error:
        data.writers_of(mnist_noise, part)
    message = str(error.value)
    assert f"{writers.WRITER_FILES[part]}.gz" in message and "github.com/facebookresearch/qmnist" in message
    assert "DIGITS_WRITERS_DIR" in message
    for place in ("named", "files/given", "files/given/qmnist", "files/qmnist", "cache"):
        assert f"{tmp_path / place}," in message or f"{tmp_path / place}:" in message


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", ["a label", "a row less"])
def test_writers_of_other_examples_are_refused(tmp_path, mnist_noise, part, change):
    labels = (mnist_noise.train_labels if part == "train" else mnist_noise.test_labels).copy()
    if change == "a label":
        labels[17] += 1
    else:
        labels = labels[:-1]
    path = tmp_path / "files" / "qmnist" / f"{writers.WRITER_FILES[part]}.gz"
    write_writers(path, labels, np.zeros(len(labels)))
    with pytest.raises(UserError) as error:
        data.writers_of(mnist_noise, part)
    message = str(error.value)
    assert str(path) in message and f"{part} examples" in message
    assert (f"row 17 says {labels[17]}" if change == "a label" else f"has {len(labels)} rows") in message


def test_longer_writers_file_is_not_that_of_the_training_set(tmp_path, mnist_noise):
    labels = np.append(mnist_noise.train_labels, 0)
    write_writers(tmp_path / "cache" / TRAIN_WRITERS, labels, np.zeros(201))
    with pytest.raises(UserError, match="201 rows, but MNIST has 200 train examples"):
        data.writers_of(mnist_noise, "train")


LABELS_OF_WRITERS = np.arange(20, dtype=np.uint8) % 10
WRITER_DAMAGES = {
    "magic of unsigned bytes": (lambda raw: bytes((0, 0, 8, 2)) + raw[4:], "starts with 00000802"),
    "magic of one dimension": (lambda raw: bytes((0, 0, 12, 1)) + raw[4:], "starts with 00000c01"),
    "empty": (lambda raw: b"", "00000c02"),
    "header cut in the shape": (lambda raw: raw[:11], "truncated"),
    "body cut": (lambda raw: raw[:-1], "truncated"),
    "a column cut": (lambda raw: raw[:-4], "truncated"),
    "trailing byte": (lambda raw: raw + b"\0", "too long"),
    "no rows": (lambda raw: raw[:4] + struct.pack(">2I", 0, 8), "must be Nx8"),
    "other columns": (lambda raw: raw[:4] + struct.pack(">2I", 40, 4) + raw[12:], "must be Nx8"),
    "2 GiB": (lambda raw: raw[:4] + struct.pack(">2I", 2**26, 8) + raw[12:], "shape"),
    "the largest header": (lambda raw: raw[:4] + struct.pack(">2I", 2**32 - 1, 2**32 - 1) + raw[12:], "shape"),
}


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("damage", [None, *WRITER_DAMAGES])
def test_writers_are_read_exactly_or_refused(tmp_path, damage, gzipped):
    table = np.random.default_rng(0).integers(-(2**31), 2**31, (20, 8)).astype(">i4")
    table[:, 0] = LABELS_OF_WRITERS
    raw = bytes((0, 0, 12, 2)) + struct.pack(">2I", 20, 8) + table.tobytes()
    change, word = WRITER_DAMAGES[damage] if damage else (bytes, "")
    path = tmp_path / (writers.WRITER_FILES["train"] + ".gz" * gzipped)
    path.write_bytes(gzip.compress(change(raw)) if gzipped else change(raw))
    if damage:
        with pytest.raises(UserError) as error:
            writers.read_writers("train", LABELS_OF_WRITERS, [tmp_path])
        assert str(path) in str(error.value) and word in str(error.value)
    else:
        people = writers.read_writers("train", LABELS_OF_WRITERS, [tmp_path / "nowhere", tmp_path])
        assert people.dtype == np.int32 and people.tolist() == table[:, 2].tolist()
