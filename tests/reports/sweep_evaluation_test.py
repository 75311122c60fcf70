"""Ensembles: figures of the mean of several networks' probabilities. Sweeps are evaluated in evaluation_test.py."""

import types

import numpy as np
import pytest

from digits.reports import sweep_evaluation


def judged(logits_NxK, labels_N):
    """A run whose network gives these logits, whatever it is shown."""
    run = types.SimpleNamespace(logits=lambda images: logits_NxK)
    return types.SimpleNamespace(run=run, examples=(np.zeros((len(labels_N), 28, 28), np.uint8), labels_N))


def test_an_ensemble_predicts_by_the_mean_of_its_members_probabilities():
    labels_N, rng = np.array([0, 1, 2, 1]), np.random.default_rng(0)
    logits_MxNxK = rng.normal(0, 2, (3, 4, 3)).astype(np.float32)
    exponentials = np.exp(np.float64(logits_MxNxK))
    mean_NxK = (exponentials / exponentials.sum(-1, keepdims=True)).mean(0)
    figures = sweep_evaluation.ensemble([judged(logits_NxK, labels_N) for logits_NxK in logits_MxNxK])
    assert figures["n"] == 4 and figures["accuracy"] == np.mean(mean_NxK.argmax(-1) == labels_N)
    assert figures["loss"] == pytest.approx(-np.log(mean_NxK[np.arange(4), labels_N]).mean())


def test_the_loss_of_an_ensemble_is_finite_where_its_probability_is_too_small_for_a_float():
    labels_N = np.arange(10)
    logits_NxK = np.zeros((10, 10), np.float32)
    logits_NxK[labels_N, labels_N] = -1000  # Every label is 1000 nats away, each of the other nine costs log 9.
    figures = sweep_evaluation.ensemble([judged(logits_NxK, labels_N)] * 2)
    assert figures["loss"] == pytest.approx(1000 + np.log(9)) and figures["accuracy"] == 0
