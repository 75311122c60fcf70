"""Splits and folds that keep the shares of the classes are scikit-learn's, index for index."""

import numpy as np
import pytest
from sklearn import model_selection

from digits.data import stratified


def label_sets():
    """Twenty label sets: from even to very uneven, a third of them in class order."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        classes = int(rng.integers(2, 13))
        count = int(rng.integers(40, 3000))
        drawn = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, 1.5)))
        labels = np.concatenate([drawn, np.repeat(np.arange(classes), 5)]).astype(np.uint8)
        yield seed, np.sort(labels) if seed % 3 == 0 else rng.permutation(labels)


@pytest.mark.parametrize("fraction", [0.1, 0.175, 0.2, 0.5])
def test_split_is_that_of_scikit_learn(fraction):
    compared = 0
    for seed, labels in label_sets():
        held, everything = int(len(labels) * fraction), np.arange(len(labels))
        try:
            expected = model_selection.train_test_split(everything, test_size=held, random_state=seed, stratify=labels)
        except ValueError:  # Fewer examples than classes.
            with pytest.raises(ValueError, match="classes do not fit"):
                stratified.split(labels, held, seed)
            continue
        for found, of_scikit_learn in zip(stratified.split(labels, held, seed), expected, strict=True):
            np.testing.assert_array_equal(found, of_scikit_learn)
        compared += 1
    assert compared >= 15


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_those_of_scikit_learn(folds):
    for _, labels in label_sets():
        places = stratified.fold_of(labels, folds)
        expected = model_selection.StratifiedKFold(folds).split(labels, labels)
        for fold, (_, held) in enumerate(expected):
            np.testing.assert_array_equal(np.flatnonzero(places == fold), held)
