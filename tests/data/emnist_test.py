"""EMNIST's sets: their images stand upright, their classes have names, and the names of files tell which set it is."""

import pytest

from digits import data
from digits.data import emnist
from digits.data.source import Source
from tests.made_datasets import assert_same_arrays, save_csv, small_sets, strokes


@pytest.mark.parametrize(
    "name, named",
    [
        ("emnist", {9: "9", 10: "A", 36: "a", 61: "z"}),
        ("emnist/byclass", {9: "9", 10: "A", 36: "a", 61: "z"}),
        ("emnist/bymerge", {9: "9", 35: "Z", 36: "a", 38: "d", 46: "t"}),
        ("emnist/balanced", {9: "9", 35: "Z", 36: "a", 38: "d", 46: "t"}),
        ("emnist/letters", {1: "A", 26: "Z"}),
        ("emnist/digits", {0: "0", 9: "9"}),
        ("emnist/mnist", {0: "0", 9: "9"}),
    ],
)
def test_images_are_transposed_and_classes_named(name, named):
    arrays = small_sets()
    found = emnist.upright(Source(arrays, notes=("before",), validation=7), name)
    assert_same_arrays(found, [arrays[0].swapaxes(1, 2), arrays[1], arrays[2].swapaxes(1, 2), arrays[3]])
    assert all(array.flags.c_contiguous for array in found.arrays)
    assert {label: found.class_names[label] for label in named} == named
    assert (min(found.class_names), max(found.class_names)) == ("letters" in name, max(named))
    assert found.notes == ("before", "EMNIST's images, transposed in its files, are turned upright")
    assert found.validation == 7


@pytest.mark.parametrize(
    "name, of",
    [
        ("emnist-letters-train.csv", "emnist/letters"),
        ("EMNIST_Letters_train", "emnist/letters"),
        ("emnist-byclass-train-images-idx3-ubyte.gz", "emnist/byclass"),
        ("emnist-mnist", "emnist/mnist"),
        ("emnist-letter-train.csv", None),
        ("my-emnist-letters-train.csv", None),
        ("mnist-train.csv", None),
    ],
)
def test_a_file_s_name_tells_the_set(name, of):
    assert emnist.set_in(name) == of


def test_csv_of_emnist_comes_upright_with_its_letters(tmp_path, mnist_dir):
    images, labels = strokes(80)
    arrays = [images[:50], labels[:50], images[50:], labels[50:]]
    for part, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        save_csv(tmp_path / f"emnist-letters-{part}.csv", images.swapaxes(1, 2), labels + 1)
    dataset = data.load(str(tmp_path / "emnist-letters-train.csv"))
    assert_same_arrays(dataset, arrays)
    assert dataset.class_names == tuple("ABCDEFGHIJ") and "turned upright" in dataset.notes[0]
