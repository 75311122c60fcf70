"""Measures by class and writer, and calibration: scikit-learn's figures, and examples made by hand."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics

from digits import data, errors
from digits.analysis import classification, statistics

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")


@pytest.fixture
def example():
    """Logits of 400 images and their labels: class 3 has no images, class 4 is never predicted."""
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 2, 4], 400).astype(np.uint8)
    logits = random.normal(size=(400, 5)).astype(np.float32)
    logits[np.arange(400), labels] += 1.5
    logits[:, 4] = -20
    return logits, labels


def test_classes_and_confusion_are_those_of_scikit_learn(example):
    logits, labels = example
    found, predictions = classification.measure(logits, labels, NAMES), logits.argmax(-1)
    assert found["confusion"] == metrics.confusion_matrix(labels, predictions, labels=range(5)).tolist()
    about = {"labels": range(5), "zero_division": np.nan}
    expected = np.transpose(metrics.precision_recall_fscore_support(labels, predictions, **about))
    assert [of["name"] for of in found["per_class"]] == list(NAMES)
    for of, figures in zip(found["per_class"], expected, strict=True):
        figures = [None if np.isnan(figure) else pytest.approx(figure) for figure in figures]
        assert [of[key] for key in ("precision", "recall", "f1", "support")] == figures
    assert found["per_class"][4]["precision"] is None and found["per_class"][3]["recall"] is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That some are undefined.
        macro = metrics.precision_recall_fscore_support(labels, predictions, average="macro", **about)
    assert [found["macro"][key] for key in ("precision", "recall", "f1")] == pytest.approx(macro[:3])
    json.dumps(found, allow_nan=False)


def test_scores_of_probabilities_are_those_of_scikit_learn(example):
    logits, labels = example
    exponentials = np.exp(np.float64(logits))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    calibration = classification.measure(logits, labels, NAMES)["calibration"]
    assert calibration["nll"] == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(5)))
    brier = metrics.brier_score_loss(labels, probabilities, labels=range(5), scale_by_half=False)
    assert calibration["brier"] == pytest.approx(brier)


def logits_of(confidences):
    """Logits of two classes, of which class 0 has these probabilities."""
    confidences = np.array(confidences)
    return np.log(np.stack([confidences, 1 - confidences], axis=1))


def test_calibration_of_an_example_made_by_hand():
    # Bins of 1/15: 0.62 and 0.64 lie in the one from 9/15 to 10/15, and 0.91 in the one from 13/15 to 14/15.
    logits = logits_of([0.62, 0.64, 0.91, 0.91])
    found = classification.measure(logits, np.array([0, 1, 0, 0]), ("a", "b"))["calibration"]
    filled = {i: b for i, b in enumerate(found["bins"]) if b["n"]}
    assert len(found["bins"]) == 15 and list(filled) == [9, 13]
    assert filled[9] == {
        "low": pytest.approx(9 / 15),
        "high": pytest.approx(10 / 15),
        "n": 2,
        "confidence": pytest.approx(0.63),
        "accuracy": 0.5,
    }
    assert found["ece"] == pytest.approx(0.5 * (0.63 - 0.5) + 0.5 * (1 - 0.91))
    assert found["mce"] == pytest.approx(0.63 - 0.5)
    assert found["bins"][0] == {"low": 0, "high": pytest.approx(1 / 15), "n": 0, "confidence": None, "accuracy": None}


def test_a_probability_on_the_edge_belongs_to_the_lower_bin_and_1_to_the_last():
    logits = np.array([[0.0, 0.0, 0.0], [900.0, 0.0, 0.0]])
    found = classification.measure(logits, np.array([0, 0]), "abc")["calibration"]
    low, high = (b for b in found["bins"] if b["n"])
    assert (low["high"], high["high"]) == (pytest.approx(1 / 3), 1) and high["confidence"] == 1
    assert found["ece"] == pytest.approx(0.5 * 2 / 3)


def test_the_telling_images_come_in_their_order():
    labels = np.array([1, 0, 1, 0, 0, 1])
    found = classification.measure(logits_of([0.7, 0.6, 0.9, 0.8, 0.55, 0.7]), labels, "ab", most=2)
    assert [entry["index"] for entry in found["mistakes"]] == [2, 0]  # Not 5, which is as sure as 0.
    assert found["mistakes"][0] == {
        "index": 2,
        "label": 1,
        "prediction": 0,
        "probability": pytest.approx(0.9),
        "probability_of_label": pytest.approx(0.1),
    }
    assert [entry["index"] for entry in found["doubtful"]] == [4, 1]
    assert found["doubtful"][0]["probability_of_label"] == found["doubtful"][0]["probability"] == pytest.approx(0.55)


def test_large_logits_do_not_overflow_and_what_is_not_finite_is_refused():
    logits, labels = np.array([[5e4, 0.0], [0.0, 5e4]], np.float32), np.array([0, 0])
    found = classification.measure(logits, labels, ("a", "b"))
    assert found["calibration"]["nll"] == 25_000 and found["mistakes"][0]["probability_of_label"] == 0
    logits[1, 1] = np.nan
    with pytest.raises(errors.UserError, match="logits are not finite for 1 of 2 images"):
        classification.measure(logits, labels, ("a", "b"))


def test_errors_by_writer():
    # Writer, images, errors. One error of one image is weaker evidence than five of ten.
    table = [(5, 10, 0), (2099, 10, 5), (2100, 1, 1), (2200, 4, 1)]
    writers = np.concatenate([np.full(images, number, np.int32) for number, images, _ in table])
    right = np.concatenate([np.arange(images) >= wrong for _, images, wrong in table])
    shuffled = np.random.default_rng(0).permutation(len(right))
    found = classification.by_writer(right[shuffled], writers[shuffled], most=3)
    assert (found["n"], found["without_errors"]) == (4, 1)
    rates = [1.0, 0.5, 0.0, 0.75]
    assert found["accuracy"] == {"n": 4, "mean": np.mean(rates), "std": pytest.approx(np.std(rates, ddof=1))}
    assert found["worst"] == [
        {"writer": 2099, "n": 10, "errors": 5},
        {"writer": 2100, "n": 1, "errors": 1},
        {"writer": 2200, "n": 4, "errors": 1},
    ]
    employees, students = found["groups"]
    assert (employees["writers"], employees["n"], employees["accuracy"]) == (2, 20, 0.75)
    assert (students["writers"], students["n"], students["accuracy"]) == (2, 5, 0.6)
    assert students["accuracy_interval"] == statistics.wilson(3, 5)
    perfect = classification.by_writer(np.ones(3, bool), np.array([1, 1, 2]))
    assert perfect["worst"] == [] and [group["writers"] for group in perfect["groups"]] == [2]
    json.dumps([found, perfect], allow_nan=False)


@pytest.mark.mnist
def test_the_first_5001_of_mnists_test_digits_are_students():
    dataset = data.load("mnist")
    right = np.arange(10_000) < 5001
    employees, students = classification.by_writer(right, data.writers_of(dataset, "test"))["groups"]
    assert (students["n"], students["accuracy"]) == (5001, 1) and (employees["n"], employees["accuracy"]) == (4999, 0)
    assert (students["writers"], employees["writers"]) == (249, 48)
