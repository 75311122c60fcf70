"""What a run records and tells of its data: the images of each class in each split, and notes."""

import numpy as np

from digits import data


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
