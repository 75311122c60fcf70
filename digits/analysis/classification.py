"""Measures a classifier beyond its accuracy: by class, by writer, calibration, worst mistakes and doubtful images.

A measure that is not defined, such as the precision of a class that was never predicted, is None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from digits.analysis import statistics
from digits.errors import UserError

BINS = 15  # As Guo et al. 2017.
# NIST gave the writers of its Special Database 1 (series hsf_4), high-school students, the numbers from 2100 on, and
# those of Special Database 3, employees of the Census Bureau, the numbers below. MNIST's training and test set have
# digits of both; the first 5,001 of the test set are students' (Yadav and Bottou 2019, "Cold Case: The Lost MNIST
# Digits").
_FIRST_STUDENT = 2100


def measure(logits_NxK: np.ndarray, labels_N: np.ndarray, class_names: Sequence[str], most: int = 24) -> dict[str, Any]:
    """Measures predictions; the result can be written as JSON.

    measure(run.logits(images), labels, run.class_names)["calibration"]["ece"]

    Args:
      logits_NxK: the logits of N images, as `Run.logits` computes them.
      labels_N: the true classes, 0 to K - 1.
      class_names: K names.
      most: the length of the lists of images.

    Returns:
      "per_class": a dict for each class: its name, support (number of images), precision, recall and f1.
      "macro": means of precision, recall and f1 over the classes that have them.
      "confusion": KxK numbers of images; rows are true classes, columns predicted ones.
      "calibration": "ece" and "mce", the expected and the maximum calibration error; "nll", the mean cross-entropy in
        nats; "brier", the mean squared distance of probabilities and truth, summed over the classes, 0 to 2 (Brier
        1950); and the "bins" of the most probable class's probability, of equal width: low < probability <= high, n,
        mean confidence (that probability) and accuracy (Guo et al. 2017, "On Calibration of Modern Neural Networks").
      "mistakes": the most confident first, with index, label, prediction and the probabilities of both.
      "doubtful": right predictions in the same form, the least probable first.

    Raises:
      UserError: a logit is not a finite number.
    """
    # SciPy takes 0.3 s to import. Training imports `digits.analysis`, and must not wait.
    from scipy.special import log_softmax

    logits_NxK, labels_N = np.asarray(logits_NxK, np.float64), np.asarray(labels_N, np.int64)
    finite = np.isfinite(logits_NxK).all(axis=1)
    if not finite.all():
        raise UserError(f"the network's logits are not finite for {np.sum(~finite):,} of {len(labels_N):,} images.")
    n, k = logits_NxK.shape
    log_probabilities = log_softmax(logits_NxK, axis=1)
    probabilities, predictions = np.exp(log_probabilities), logits_NxK.argmax(axis=1)
    rows = np.arange(n)
    confidence, right = probabilities[rows, predictions], predictions == labels_N
    confusion = np.bincount(labels_N * k + predictions, minlength=k * k).reshape(k, k)
    per_class = [_of_class(confusion, c) | {"name": str(name)} for c, name in enumerate(class_names)]
    macro = {key: statistics.summarize(of[key] for of in per_class).mean for key in ("precision", "recall", "f1")}
    wrong = probabilities - np.eye(k)[labels_N]
    # A stable sort keeps equally confident images in their order.
    least_sure_first = np.argsort(confidence, kind="stable")
    surest_first = np.argsort(-confidence, kind="stable")

    def entry(i):
        return {
            "index": int(i),
            "label": int(labels_N[i]),
            "prediction": int(predictions[i]),
            "probability": float(confidence[i]),
            "probability_of_label": float(probabilities[i, labels_N[i]]),
        }

    return {
        "per_class": per_class,
        "macro": macro,
        "confusion": confusion.tolist(),
        "calibration": _calibration(confidence, right)
        | {"nll": float(-log_probabilities[rows, labels_N].mean()), "brier": float((wrong * wrong).sum(axis=1).mean())},
        "mistakes": [entry(i) for i in surest_first[~right[surest_first]][:most]],
        "doubtful": [entry(i) for i in least_sure_first[right[least_sure_first]][:most]],
    }


def _of_class(confusion: np.ndarray, c: int) -> dict[str, Any]:
    hits, support, predicted = int(confusion[c, c]), int(confusion[c].sum()), int(confusion[:, c].sum())
    return {
        "support": support,
        "precision": hits / predicted if predicted else None,
        "recall": hits / support if support else None,
        "f1": 2 * hits / (support + predicted) if support + predicted else None,
    }


def _calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    edges = np.linspace(0, 1, BINS + 1)
    of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    bins, ece, mce = [], 0.0, 0.0
    for b in range(BINS):
        inside = of == b
        n = int(inside.sum())
        mean, accuracy = (float(confidence[inside].mean()), float(right[inside].mean())) if n else (None, None)
        bins.append({"low": float(edges[b]), "high": float(edges[b + 1]), "n": n})
        bins[b] |= {"confidence": mean, "accuracy": accuracy}
        if n:
            gap = abs(accuracy - mean)
            ece, mce = ece + n / len(right) * gap, max(mce, gap)
    return {"ece": ece, "mce": mce, "bins": bins}


def by_writer(right_N: np.ndarray, writers_N: np.ndarray, most: int = 10) -> dict[str, Any]:
    """Counts errors by writer; the result can be written as JSON.

        by_writer(predictions == labels, data.writers_of(dataset, "test"))["accuracy"]["mean"]

    Args:
      right_N: whether each image was classified rightly.
      writers_N: the number that NIST gave each image's writer, see `data.writers_of`.
      most: the length of the list of writers.

    Returns:
      "n": the number of writers.
      "without_errors": the number of writers without an error.
      "accuracy": "n", "mean" and "std" over writers, each counting once.
      "worst": writer, n (images) and errors, sorted by the lower end of the error rate's 95% interval, so that a writer
        with 1 error in 1 image does not come first.
      "groups": name, writers, n (images), accuracy and its 95% accuracy_interval of the Census employees and of the
        high-school students; a group without writers is left out.
    """
    numbers, of, counts = np.unique(writers_N, return_inverse=True, return_counts=True)
    errors = np.bincount(of, weights=~right_N, minlength=len(numbers)).astype(int)
    least_rate = [statistics.wilson(wrong, n)[0] for wrong, n in zip(errors.tolist(), counts.tolist())]
    worst = [i for i in np.argsort(np.negative(least_rate), kind="stable")[:most] if errors[i]]
    groups, students = [], numbers >= _FIRST_STUDENT
    for name, those in (("Census employees (SD-3)", ~students), ("high-school students (SD-1)", students)):
        if n := int(counts[those].sum()):
            hits = n - int(errors[those].sum())
            about = {"name": name, "writers": int(those.sum()), "n": n, "accuracy": hits / n}
            groups.append(about | {"accuracy_interval": statistics.wilson(hits, n)})
    summary = statistics.summarize((1 - errors / counts).tolist())
    return {
        "n": len(numbers),
        "without_errors": int(np.sum(errors == 0)),
        "accuracy": {"n": summary.n, "mean": summary.mean, "std": summary.std},
        "worst": [{"writer": int(numbers[i]), "n": int(counts[i]), "errors": int(errors[i])} for i in worst],
        "groups": groups,
    }
