"""What the names of a dataset's parts mean, and how its parts become training and test images."""

import numpy as np
import pytest

from digits import data
from digits.data import source
from digits.errors import UserError
from tests.made_datasets import save_csv, small_sets, strokes

IMAGES, LABELS = strokes(80)
ARRAYS = [IMAGES[:50], LABELS[:50], IMAGES[50:], LABELS[50:]]


@pytest.mark.parametrize(
    "name, words, part, role",
    [
        ("X_kannada_MNIST_train", ["x", "kannada", "mnist", "train"], "train", "images"),
        ("k49-test-labels", ["k", "test", "labels"], "test", "labels"),
        ("xTrain", ["x", "train"], "train", "images"),
        ("ytest", ["y", "test"], "test", "labels"),
        ("Yval", ["y", "val"], "validation", "labels"),
        ("t10k-images-idx3-ubyte", ["t10k", "images", "idx", "ubyte"], "test", "images"),
        ("train_data_labels", ["train", "data", "labels"], "train", "labels"),
        ("valid", ["valid"], "validation", None),
        ("MyDigitsDEV2", ["my", "digits", "dev"], "validation", None),
        ("latest_contest", ["latest", "contest"], None, None),
        ("datasets", ["datasets"], None, None),
        ("", [], None, None),
    ],
)
def test_names_speak_of_a_part_and_a_role(name, words, part, role):
    assert (source.words(name), source.part_of(name), source.role_of(name)) == (words, part, role)


def parts(*names):
    """Noise for each part."""
    return {name: tuple(small_sets(seed, (20,))) for seed, name in enumerate(names)}


def test_a_training_and_a_test_set_are_the_source_s():
    given = parts("test", "train")
    found = source.joined(given, "my.npz", ("a", "b"), ("a note",))
    for array, expected in zip(found.arrays, (*given["train"], *given["test"]), strict=True):
        assert array is expected
    assert found[1:] == (("a", "b"), ("a note",), 0)


def test_without_a_test_set_there_is_none_or_it_is_the_validation_set():
    assert len(source.joined(parts("train"), "my.npz").arrays) == 2
    given = parts("train", "validation")
    found = source.joined(given, "my.npz", notes=("a note",))
    for array, expected in zip(found.arrays, (*given["train"], *given["validation"]), strict=True):
        assert array is expected
    assert found.validation == 0 and found.notes[0] == "a note"
    assert found.notes[1:] == ("there is no test set: the validation set of the source serves as one",)


def test_npz_with_a_validation_set_as_medmnist_has_it(tmp_path, mnist_dir):
    named = {"val_images": IMAGES[:30], "val_labels": LABELS[:30, None]}
    for part, images, labels in (("train", *ARRAYS[:2]), ("test", *ARRAYS[2:])):
        named |= {f"{part}_images": images, f"{part}_labels": labels[:, None]}
    np.savez(tmp_path / "set.npz", **named)
    dataset = data.load(str(tmp_path / "set.npz"))
    assert dataset.validation == 30 and "--config.data.validation='last(30)'" in dataset.notes[0]
    np.testing.assert_array_equal(dataset.train_images, np.concatenate([ARRAYS[0], IMAGES[:30]]))


def test_a_folder_of_test_images_alone_is_refused(tmp_path, mnist_dir):
    save_csv(tmp_path / "set" / "mnist_test.csv", IMAGES, LABELS)
    with pytest.raises(UserError, match="has a test set but no training set"):
        data.load(str(tmp_path / "set"))
