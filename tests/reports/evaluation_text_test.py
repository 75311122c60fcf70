"""What an evaluation found, as text that fits a terminal of 80 columns."""

import numpy as np

from digits.analysis import classification
from digits.reports.evaluation_text import text
from digits.reports.judged_run import with_interval


def found(names, confusion=None):
    """What is found of a run whose network takes some images for the first class."""
    labels_N = np.arange(360) % len(names)
    predictions_N = np.where(np.arange(360) % 7, labels_N, 0)
    measured = classification.measure(3.0 * np.eye(len(names))[predictions_N], labels_N, names)
    about = {"kind": "run", "path": "/runs/a", "split": "test", "data": ["optdigits"], "notes": ["it is made up"]}
    about |= {"epoch": 3} | with_interval(0.5, int(np.sum(predictions_N == labels_N)), 360)
    return about | measured | {"writers": None, "robustness": None, "pictures": []}


def test_names_of_classes_are_shortened_until_they_fit():
    words = text(found([f"class number {i}" for i in range(10)]))
    assert "confusion matrix" in words and max(map(len, words.split("\n"))) <= 79
    assert words.startswith("/runs/a: the weights of epoch 3 on 360 test images of optdigits\naccuracy 0.8")
    assert words.endswith("\nnote: it is made up")


def test_of_more_classes_than_fit_the_most_frequent_confusions_are_shown():
    many = found([f"c{i}" for i in range(60)])
    matrix = np.eye(60, dtype=int) * 1000
    matrix[3, 5], matrix[7, 1], matrix[8, 9] = 12, 345, 1
    many |= {"confusion": matrix.tolist(), "mistakes": []}
    many["per_class"][0] |= {"support": 9, "precision": None, "recall": 1.0, "f1": 0.5}
    lines = text(many).split("\n")
    start = lines.index("the most frequent confusions")
    assert lines[start + 1 : start + 5] == [
        "345 of c7 taken for c1",
        "12 of c3 taken for c5",
        "1 of c8 taken for c9",
        "",
    ]
    assert any(line.split() == ["class", "images", "precision", "recall", "F1"] for line in lines)
    assert any(line.split() == ["c0", "9", "-", "1.0000", "0.5000"] for line in lines)
