"""Datasets in .npz files, whole, mistaken and damaged."""

import numpy as np
import pytest
from sklearn import model_selection

from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, flip_method, small_sets, write_npy

pytestmark = pytest.mark.usefixtures("mnist_dir")


def save_npz(path, arrays, save=np.savez, **changes):
    named = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays)) | changes
    save(path, **{key: value for key, value in named.items() if value is not None})
    return str(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("channel", [False, True], ids=["NxHxW", "NxHxWx1"])
def test_npz_with_a_test_set(tmp_path, channel, save):
    arrays = small_sets(classes=7)
    shape = (-1, 28, 28, *[1] * channel)
    given = [arrays[0].reshape(shape), arrays[1].astype(np.int64), arrays[2].reshape(shape), arrays[3]]
    dataset = data.load(save_npz(tmp_path / "set.npz", given, save))
    assert_same_arrays(dataset, arrays)
    assert dataset.class_names == tuple("0123456")


def test_npz_without_a_test_set_gives_a_fifth_to_it(tmp_path):
    images, labels = small_sets(counts=(43,))
    dataset = data.load(save_npz(tmp_path / "set.npz", [images, labels]))
    # A fifth is 9 images, but every one of the ten classes needs one.
    expected = model_selection.train_test_split(images, labels, test_size=10, random_state=0, stratify=labels)
    assert_same_arrays(dataset, [expected[0], expected[2], expected[1], expected[3]])
    assert dataset.notes == ("there is no test set: stratified(0.232558, 0) holds out 10 of the images as one",)


def test_npz_may_hold_other_arrays_which_are_not_read(tmp_path):
    arrays = small_sets()
    path = save_npz(tmp_path / "set.npz", arrays, about=np.array([{"pickled": True}], object))
    dataset = data.load(path)
    assert_same_arrays(dataset, arrays)
    assert dataset.notes == ("arrays that were not read: about",)


NPZ_MISTAKES = {
    "text as images": ({"x_train": np.full((40, 28, 28), "a")}, "x_train is <U1"),
    "other side": ({"x_train": np.zeros((40, 32, 32), np.uint8)}, "x_train is uint8 (40, 32, 32)"),
    "colour": ({"x_test": np.zeros((15, 28, 28, 3), np.uint8)}, "x_test is uint8 (15, 28, 28, 3)"),
    "flat images": ({"x_train": np.zeros((40, 784), np.uint8)}, "x_train is uint8 (40, 784)"),
    "one image": ({"x_train": np.zeros((28, 28), np.uint8)}, "x_train is uint8 (28, 28)"),
    "no training images": ({"x_train": np.zeros((0, 28, 28), np.uint8), "y_train": np.zeros(0, int)}, "x_train"),
    "no test images": ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, "x_test"),
    "x_train missing": ({"x_train": None}, "no array x_train"),
    "y_train missing": ({"y_train": None}, "no array y_train"),
    "y_test missing": ({"y_test": None}, "y_test"),
    "x_test missing": ({"x_test": None}, "x_test"),
    "float labels": (
        {"y_train": np.zeros(40)},
        "y_train must be 40 whole numbers from 0 to 255, one for each image: y_train.astype(int)",
    ),
    "one-hot labels": ({"y_train": np.eye(40, dtype=int)}, "y_train.argmax(1), if its rows are one-hot"),
    "label 256": ({"y_train": np.full(40, 256)}, "y_train must be 40 whole numbers from 0 to 255"),
    "negative label": ({"y_test": np.full(15, -1)}, "y_test must be 15 whole numbers from 0 to 255"),
    "too few labels": ({"y_train": np.zeros(39, int)}, "y_train must be 40 whole numbers"),
    "too many test labels": ({"y_test": np.zeros(16, int)}, "y_test must be 15 whole numbers"),
    "pickled images": ({"x_train": np.array([{}] * 40, object)}, "cannot be read"),
    "pickled labels": ({"y_test": np.array([{}] * 15, object)}, "cannot be read"),
}


@pytest.mark.parametrize("mistake", NPZ_MISTAKES)
def test_npz_with_a_mistake_is_refused(tmp_path, mistake):
    changes, words = NPZ_MISTAKES[mistake]
    path = save_npz(tmp_path / "set.npz", small_sets(), **changes)
    with pytest.raises(UserError) as error:
        data.load(path)
    assert path in str(error.value) and words in str(error.value)


def break_deflate(path):
    """Overwrites compressed data of the first member."""
    np.savez_compressed(path, **dict(np.load(path)))
    raw = bytearray(path.read_bytes())
    raw[2000:2100] = b"\xff" * 100
    path.write_bytes(raw)


NPZ_DAMAGES = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "one byte": lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\xaa\x55" + path.read_bytes()[5002:]),
    "broken compression": break_deflate,
    "unknown compression": flip_method,
    "a single array": write_npy,
}


@pytest.mark.parametrize("damage", NPZ_DAMAGES)
def test_damaged_npz_is_refused(tmp_path, damage):
    path = tmp_path / "set.npz"
    save_npz(path, small_sets())
    NPZ_DAMAGES[damage](path)
    with pytest.raises(UserError) as error:
        data.load(str(path))
    assert str(path) in str(error.value) and "cannot be read" in str(error.value)


def test_npz_with_one_image_and_no_test_set_is_refused(tmp_path):
    images, labels = small_sets(counts=(1,))
    path = save_npz(tmp_path / "set.npz", [images, labels])
    with pytest.raises(UserError) as error:
        data.load(path)
    # The file is at fault, not config.data.validation.
    assert path in str(error.value)
