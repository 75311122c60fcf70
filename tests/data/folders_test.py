"""Folders of images, whole, mistaken and damaged."""

import pathlib
import struct

import numpy as np
from PIL import Image
import pytest
from sklearn import model_selection

from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, small_sets

pytestmark = pytest.mark.usefixtures("mnist_dir")


def save_folder(path, images, labels, names, size=28):
    """One folder a class, one PNG an image, named so that their sorted order is that of the array."""
    for name in names:
        (path / name).mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(images, labels)):
        picture = Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
        picture.save(path / names[label] / f"{number:04}.png")


def in_folder_order(images, labels):
    """Images and labels as a folder gives them: class by class."""
    order = np.argsort(labels, kind="stable")
    return [images[order], labels[order]]


NAMES = ("ant", "bee", "cat")


def test_folder_with_train_and_test(tmp_path):
    arrays = small_sets(classes=3)
    save_folder(tmp_path / "set" / "train", *arrays[:2], NAMES)
    save_folder(tmp_path / "set" / "test", *arrays[2:], NAMES)
    dataset = data.load(str(tmp_path / "set"))
    assert_same_arrays(dataset, in_folder_order(*arrays[:2]) + in_folder_order(*arrays[2:]))
    assert dataset.class_names == NAMES


def test_folder_without_a_test_set_gives_a_fifth_to_it(tmp_path):
    images, labels = small_sets(counts=(43,), classes=3)
    save_folder(tmp_path / "set", images, labels, NAMES)
    dataset = data.load(str(tmp_path / "set"))
    images, labels = in_folder_order(images, labels)
    expected = model_selection.train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    assert_same_arrays(dataset, [expected[0], expected[2], expected[1], expected[3]])
    assert dataset.class_names == NAMES


def test_folder_can_be_given_relative_to_the_working_directory(tmp_path, monkeypatch):
    arrays = small_sets(counts=(12,), classes=3)
    save_folder(tmp_path / "set", *arrays, NAMES)
    monkeypatch.chdir(tmp_path)
    for name in ("./set", "set/"):
        assert data.load(name).class_names == NAMES


def test_folder_images_are_made_grey_and_resized_and_hidden_files_left_out(tmp_path):
    for name, value in (("dark", 40), ("light", 200)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            colour = Image.new("RGB", (50, 31), (value, value, value))
            colour.save(tmp_path / "set" / name / f"{number}.png")
        (tmp_path / "set" / name / ".hidden").write_text("not an image")
    (tmp_path / "set" / ".hidden").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("not a class")
    dataset = data.load(f"{tmp_path}/set")
    assert dataset.class_names == ("dark", "light")
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert images.shape == (12, 28, 28)
    np.testing.assert_array_equal(images, np.where(labels == 0, 40, 200)[:, None, None] * np.ones((28, 28)))


def test_folder_with_differing_classes_is_refused(tmp_path):
    arrays = small_sets(classes=3)
    save_folder(tmp_path / "set" / "train", *arrays[:2], NAMES)
    save_folder(tmp_path / "set" / "test", *arrays[2:], ("ant", "bee", "dog"))
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set"))
    message = str(error.value)
    assert str(tmp_path / "set") in message and "'cat'" in message and "'dog'" in message


def test_folder_with_too_few_classes_or_images_is_refused(tmp_path):
    arrays = small_sets(counts=(40, 9), classes=3)
    save_folder(tmp_path / "one", arrays[0], np.zeros(40, int), ("only",))
    save_folder(tmp_path / "few", *arrays[2:], NAMES)
    (tmp_path / "empty").mkdir()
    for name, words in (("one", "1 class folders"), ("few", "9 images"), ("empty", "0 class folders")):
        with pytest.raises(UserError) as error:
            data.load(str(tmp_path / name))
        assert str(tmp_path / name) in str(error.value) and words in str(error.value)


def test_folder_with_too_many_classes_is_refused(tmp_path):
    for number in range(257):
        (tmp_path / "set" / f"{number:03}").mkdir(parents=True)
    for number in range(10):
        Image.new("L", (28, 28)).save(tmp_path / "set" / "000" / f"{number}.png")
    with pytest.raises(UserError, match="257 class folders"):
        data.load(str(tmp_path / "set"))


def break_chunk(path):
    """Changes the length of the chunk after a PNG's header: for this Pillow raises SyntaxError, not OSError."""
    raw = bytearray(path.read_bytes())
    raw[36] = 3
    path.write_bytes(raw)


def break_palette(path):
    """A BMP that declares more colours than there can be: for this Pillow raises ValueError."""
    Image.new("L", (28, 28)).save(path, "bmp")
    raw = bytearray(path.read_bytes())
    raw[46:50] = struct.pack("<I", 300)
    path.write_bytes(raw)


IMAGE_DAMAGES = {
    "text": lambda path: path.write_text("not an image"),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "broken chunk": break_chunk,
    "broken palette": break_palette,
}


@pytest.mark.parametrize("damage", IMAGE_DAMAGES)
def test_broken_image_in_a_folder_is_named(tmp_path, damage):
    save_folder(tmp_path / "set", *small_sets(counts=(12,), classes=3), NAMES)
    path = sorted((tmp_path / "set" / "bee").iterdir())[1]
    IMAGE_DAMAGES[damage](path)
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set"))
    assert str(path) in str(error.value) and "cannot be read as an image" in str(error.value)


@pytest.mark.parametrize("name", ["./nothing", "nothing/", "/no/such/folder", "../no/such"])
def test_folder_that_does_not_exist_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        data.load(name)
    assert pathlib.Path(name).name in str(error.value) and "no such folder" in str(error.value)
