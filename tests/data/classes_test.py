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


def said(train, validation, test, names="abc", notes=()):
    dataset = data.Dataset(
        "x", *[np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8)] * 2, tuple(names), notes=notes
    )
    parts = [None if labels is None else (None, np.array(labels)) for labels in (train, validation, test)]
    record = data.about(dataset, data.Splits(*parts))
    assert record["digest"] == dataset.digest()
    return record, data.about_lines(record)


def test_every_split_is_counted_in_a_line():
    record, lines = said([0, 1, 1, 2], None, [0, 1, 2])
    assert lines == ["images of each class (a, b, c): training 1, 2, 1; test 1 of each"]
    assert record["classes"] == {"train": {"a": 1, "b": 2, "c": 1}, "test": {"a": 1, "b": 1, "c": 1}}
    assert (record["train"], record["validation"], record["test"]) == (4, 0, 3)
    _, lines = said([*range(20), 1], [*range(20)], [*range(20)], [f"k{number}" for number in range(20)])
    assert lines[0].endswith("k11 and 8 more): training 1 to 2; validation 1 of each; test 1 of each")


def test_a_record_of_an_earlier_version_says_nothing():
    assert data.about_lines({"digest": "0" * 64, "train": 20, "validation": 0, "test": 10}) == []


def test_missing_classes_and_notes_are_said():
    _, lines = said([0, 1, 1], [0, 0], [2], notes=("the pixels were turned",))
    assert lines[1:] == [
        "note: training has no image of c: the network cannot learn it",
        "note: validation has no image of b, c: the figures say nothing about it",
        "note: test has no image of a, b: the figures say nothing about it",
        "note: the pixels were turned",
    ]
