"""Which classes a dataset has, what they are called, and what a run says about them."""

import numpy as np
import pytest

from digits import data
from digits.data import classes
from digits.errors import UserError
from tests.made_datasets import strokes, write_idx

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes()


def load(tmp_path, labels=LABELS, test_labels=LABELS[:20], **others):
    np.savez(
        tmp_path / "set.npz",
        x_train=IMAGES,
        y_train=labels,
        x_test=strokes(20, seed=1)[0],
        y_test=test_labels,
        **others,
    )
    return data.load(str(tmp_path / "set.npz"))


def test_labels_from_one_or_with_gaps_become_the_classes_named_by_their_numbers(tmp_path):
    dataset = load(tmp_path, LABELS + 1, LABELS[:20] + 1)
    assert dataset.class_names == tuple(map(str, range(1, 11)))
    np.testing.assert_array_equal(dataset.train_labels, LABELS)
    assert dataset.notes == ("the 10 labels that occur are the classes: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",)
    two = np.array([3, 8])
    dataset = load(tmp_path, two[LABELS % 2], two[LABELS[:20] % 2])
    assert dataset.class_names == ("3", "8")
    np.testing.assert_array_equal(dataset.test_labels, LABELS[:20] % 2)
    assert dataset.notes == ("the 2 labels that occur are the classes: 3, 8",)


def test_classes_have_the_names_of_the_source(tmp_path):
    names = [f"class {number}" for number in range(10)]
    assert load(tmp_path, class_names=names).class_names == tuple(names)
    assert load(tmp_path, label_names=names).notes == ()


@pytest.mark.parametrize(
    "names, words",
    [
        ([*"abcdefghijk"], "has no image of k: add images of it"),
        ([*"abcdefgh"], "has the label 9, but only 8 class names"),
        ([*"abcdefghia"], "has 2 classes named 'a'"),
        ([*"abcdefghi", "\x1b[2J"], "needs a name that can be printed"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, names, words):
    with pytest.raises(UserError) as error:
        load(tmp_path, class_names=names)
    assert str(tmp_path / "set.npz") in str(error.value) and words in str(error.value)


def test_one_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="images of the class 7 alone"):
        load(tmp_path, LABELS * 0 + 7, LABELS[:20] * 0 + 7)


def test_a_benchmark_keeps_its_classes(tmp_path):
    three = LABELS % 2 * 8
    folder = write_idx(tmp_path / "files", [IMAGES, three, IMAGES, three])
    dataset = data.load("fashion_mnist", str(folder))
    assert dataset.class_names == tuple("012345678") and set(dataset.train_labels) == {0, 8} and not dataset.notes
    assert data.load(f"{folder}/").class_names == ("0", "8")


@pytest.mark.parametrize("name", ["mnist", "optdigits", "fashion_mnist", "kmnist", "emnist", "emnist/letters"])
def test_benchmarks(name):
    assert classes.is_benchmark(name)
    assert not classes.is_benchmark(f"./{name}") and not classes.is_benchmark(f"my_{name}")
