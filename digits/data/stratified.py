"""Splits with the shares of the classes kept, index for index as scikit-learn makes them.

Written out, because importing scikit-learn takes longer than a short training, and because the digest of a dataset
whose test set is held out must not change with scikit-learn's version.
"""

import numpy as np


def split(labels: np.ndarray, held: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's train_test_split(range(N), test_size=held, random_state=seed, stratify=labels).

        train, test = split(labels, 200, seed=0)

    Raises:
      ValueError: a class has one example only, or a side would have fewer examples than there are classes.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = len(labels) - held
    if sizes.min() < 2:
        raise ValueError("a class has only one example, but both sides need one")
    if min(held, kept) < len(sizes):
        raise ValueError(f"{len(sizes)} classes do not fit into {min(held, kept)} examples")
    rng = np.random.RandomState(seed)
    train_sizes = _shares(sizes, kept, rng)
    held_sizes = _shares(sizes - train_sizes, held, rng)
    of_classes = np.split(np.argsort(classes, kind="stable"), np.cumsum(sizes)[:-1])
    train, test = [], []
    for members, first, second in zip(of_classes, train_sizes, held_sizes, strict=True):
        members = members[rng.permutation(len(members))]
        train.append(members[:first])
        test.append(members[first : first + second])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def _shares(sizes: np.ndarray, count: int, rng: np.random.RandomState) -> np.ndarray:
    """Divides `count` among classes by their sizes. The largest remainders are rounded up, ties by lot."""
    exact = sizes / sizes.sum() * count
    whole = np.floor(exact)
    missing = int(count - whole.sum())
    for remainder in np.unique(exact - whole)[::-1]:
        if missing <= 0:
            break
        (tied,) = np.where(exact - np.floor(exact) == remainder)
        tied = rng.choice(tied, min(len(tied), missing), replace=False)
        whole[tied] += 1
        missing -= len(tied)
    return whole.astype(int)


def fold_of(labels: np.ndarray, folds: int) -> np.ndarray:
    """The fold, from 0, in which scikit-learn's StratifiedKFold(folds) holds out each example.

        fold_of(np.array([0, 0, 1, 1]), 2).tolist() == [0, 1, 0, 1]

    Raises:
      ValueError: no class has so many examples.
    """
    _, first, classes, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    if sizes.max() < folds:
        raise ValueError(f"no class has {folds} examples")
    classes = np.argsort(np.argsort(first))[classes]  # Numbered in the order in which they appear.
    in_order = np.sort(classes)
    places = np.empty(len(labels), int)
    dealt = [np.bincount(in_order[fold::folds], minlength=len(first)) for fold in range(folds)]
    for number, counts in enumerate(np.transpose(dealt)):
        places[classes == number] = np.repeat(np.arange(folds), counts)
    return places
