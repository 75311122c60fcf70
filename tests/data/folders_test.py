"""Folders of images, whole, mistaken and damaged."""

import pathlib
import struct

import numpy as np
from PIL import Image
import pytest
from sklearn import model_selection

from configs import base
from digits import data
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, small_sets, strokes

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


def test_all_broken_images_are_named_at_once(tmp_path):
    save_folder(tmp_path / "set", *small_sets(counts=(60,), classes=3), NAMES)
    broken = sorted((tmp_path / "set").glob("*/*.png"))[::5]
    for path in broken:
        path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set"))
    message = str(error.value)
    assert "12 pictures are damaged" in message and "and 2 more" in message
    assert all(f"{path.parent.name}/{path.name}" in message for path in broken[:10])


def test_what_is_no_class_and_no_picture_is_left_out_and_counted(tmp_path):
    images, labels = strokes()
    save_folder(tmp_path / "set", images, labels, "abcdefghij")
    (tmp_path / "set" / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "set" / "__MACOSX" / "a" / "._0000.png").write_bytes(b"x")
    for empty in ("@eaDir", ".git", "k", "l"):
        (tmp_path / "set" / empty).mkdir()
    for name in ("a/Thumbs.db", "b/desktop.ini", "c/notes.txt", "README.md", "d/.DS_Store"):
        (tmp_path / "set" / name).write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (tmp_path / "set" / "e" / "0004.png").rename(tmp_path / "set" / "e" / "0004")  # A picture without an ending.
    dataset = data.load(str(tmp_path / "set"))
    assert dataset.class_names == tuple("abcdefghij")
    assert len(dataset.train_labels) + len(dataset.test_labels) == 60
    assert dataset.notes[0] == (
        "left out: empty folders (2), files that are no pictures (4), hidden files and folders (4)"
    )


@pytest.mark.parametrize(
    "train, test", [("train", "test"), ("Training", "Testing"), ("TRAIN", "Val"), ("train_set", "test set")]
)
@pytest.mark.parametrize("within", ["", "archive/mnist_png"])
def test_parts_have_many_names_and_may_lie_in_a_single_folder(tmp_path, train, test, within):
    images, labels = strokes(60, classes=3)
    save_folder(tmp_path / "set" / within / train, images[:40], labels[:40], NAMES)
    save_folder(tmp_path / "set" / within / test, images[40:], labels[40:], NAMES)
    dataset = data.load(str(tmp_path / "set"))
    assert_same_arrays(dataset, in_folder_order(images[:40], labels[:40]) + in_folder_order(images[40:], labels[40:]))
    assert ("the validation set of the source serves as one" in " ".join(dataset.notes)) == (test == "Val")


def test_a_validation_folder_joins_the_training_images_and_can_be_held_out(tmp_path):
    images, labels = strokes(90, classes=3)
    for part, start, stop in (("train", 0, 40), ("val", 40, 60), ("test", 60, 90)):
        save_folder(tmp_path / "set" / part, images[start:stop], labels[start:stop], NAMES)
    dataset = data.load(str(tmp_path / "set"))
    assert dataset.validation == 20 and "last(20)" in dataset.notes[-1]
    config = base.get_config().data
    config.validation = "last(20)"
    held, _ = data.split(dataset, config).validation
    np.testing.assert_array_equal(held, in_folder_order(images[40:60], labels[40:60])[0])


def test_a_test_folder_may_lack_a_class_and_an_empty_class_is_none(tmp_path):
    images, labels = strokes(60, classes=3)
    save_folder(tmp_path / "set" / "train", images, labels, NAMES)
    images, labels = strokes(60, classes=3, seed=1)
    save_folder(tmp_path / "set" / "test", images[labels < 2], labels[labels < 2], NAMES)
    (tmp_path / "set" / "train" / "dog").mkdir()
    dataset = data.load(str(tmp_path / "set"))
    assert dataset.class_names == NAMES and set(dataset.test_labels) == {0, 1}
    assert dataset.notes == ("left out: empty folders (2)",)


def test_pictures_that_are_not_square_keep_their_proportions(tmp_path):
    wide = Image.new("L", (56, 28), 0)
    wide.paste(255, (14, 0, 42, 28))  # A square.
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            wide.save(tmp_path / "set" / name / f"{number}.png")
    dataset = data.load(str(tmp_path / "set"))
    assert "12 pictures are not square: padded with their background" in dataset.notes
    rows, columns = (np.flatnonzero((dataset.train_images[0] > 127).any(axis)) for axis in (1, 0))
    assert len(rows) == len(columns) == 14


def test_pictures_of_ten_bits_have_one_white(tmp_path):
    images, labels = strokes(60, classes=3)
    for number, (image, label) in enumerate(zip(images, labels)):
        path = tmp_path / "set" / NAMES[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image // (1 + number % 2)).astype(np.uint16) * 4).save(path)
    dataset = data.load(str(tmp_path / "set"))
    assert "white is 1,023 in the pictures of more than 8 bits: brought to 0 to 255" in dataset.notes
    assert 100 < dataset.train_images.max((1, 2)).min() < 130 and dataset.train_images.max() >= 254


@pytest.mark.parametrize("name", ["./nothing", "nothing/", "/no/such/folder", "../no/such"])
def test_folder_that_does_not_exist_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        data.load(name)
    assert pathlib.Path(name).name in str(error.value) and "no such folder" in str(error.value)
