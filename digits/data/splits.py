"""Splits of a dataset into training, validation and test examples: by index, at random, in folds, by writer."""

import dataclasses
import re

from ml_collections import ConfigDict
import numpy as np

from digits.config.fields import FIELDS
from digits.config.values import check_fields
from digits.data import classes, stratified
from digits.data.dataset import Dataset
from digits.data.writers import WITH_WRITERS, writers_of
from digits.errors import UserError, require

_SPLITS = {
    "none": r"none", "test": r"test", "last": r"last\((\d{1,30})\)", "folds": r"folds\((\d{1,30})\)",
    "writer_folds": r"writer_folds\((\d{1,30})\)",
    "stratified_folds": r"stratified_folds\((\d{1,30})\)",
    "random": r"random\((0?\.\d+),\s*(?:seed\s*=?\s*)?(\d{1,10})\)",
    "stratified": r"stratified\((0?\.\d+),\s*(?:seed\s*=?\s*)?(\d{1,10})\)",
}  # fmt: skip
_FOLDS = ("folds", "stratified_folds", "writer_folds")


@dataclasses.dataclass(frozen=True, repr=False)
class Splits:
    """Training, validation (None where there is none) and test examples, each as (images, labels)."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray] | None
    test: tuple[np.ndarray, np.ndarray]

    def __repr__(self) -> str:
        counts = [0 if images is None else len(images[1]) for images in (self.train, self.validation, self.test)]
        return "Splits({:,} training, {:,} validation, {:,} test images)".format(*counts)


def check(config: ConfigDict) -> None:
    """Raises UserError for a `config.data` that names no split or no normalisation."""
    check_fields(config, "data")
    kind, arguments = _parse_split(config.validation)
    if kind == "writer_folds":
        require(config.name == "mnist", "data.name", config.name, WITH_WRITERS)
    if kind in _FOLDS:
        folds = arguments[0]
        require(folds >= 2, "data.validation", config.validation, f"{kind}(n) with n from 2")
        require(0 <= config.fold < folds, "data.fold", config.fold, f"a whole number from 0 to {folds - 1}")
    else:
        accepted = "0 unless config.data.validation is folds(n), stratified_folds(n) or writer_folds(n)"
        require(config.fold == 0, "data.fold", config.fold, accepted)


def _parse_split(text: str) -> tuple[str, list]:
    for kind, pattern in _SPLITS.items():
        if match := re.fullmatch(pattern, text):
            arguments = [float(g) if "." in g else int(g) for g in match.groups()]
            if kind not in ("random", "stratified") or arguments[1] < 2**32:  # NumPy takes no larger seed.
                return kind, arguments
    raise UserError(f"config.data.validation is {text!r}, but it must be {FIELDS['data.validation'].accepted.text}.")


def split_indices(
    validation: str, fold: int, count: int, writers: np.ndarray | None = None, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the validation examples among `count` training examples.

        split_indices("last(1)", fold=0, count=3)[1].tolist() == [2]

    `random(f, s)` equals scikit-learn's train_test_split(test_size=f, random_state=s), `stratified(f, s)` the same with
    stratify=labels, `folds(k)` its KFold(k), `stratified_folds(k)` its StratifiedKFold(k) and `writer_folds(k)` its
    GroupKFold(k) with the writers as groups, index for index. `none` and `test` keep all examples for training and give
    no validation indices.

    Args:
      validation: `config.data.validation`.
      fold: `config.data.fold`.
      count: the number of training examples.
      writers: who wrote each of them, whole numbers, `count` long; only `writer_folds` needs it.
      labels: their classes, whole numbers, `count` long; only the stratified splits need them.

    Raises:
      UserError: `validation` is no split, or leaves no examples on one side.
    """
    kind, arguments = _parse_split(validation)
    everything = np.arange(count)
    if kind in ("none", "test"):
        return everything, everything[:0]
    if kind == "random":
        fraction, seed = arguments
        order = np.random.RandomState(seed).permutation(count)
        held, train = np.split(order, [int(np.ceil(count * fraction))])
    elif kind == "last":
        train, held = np.split(everything, [max(0, count - arguments[0])])
    elif kind in ("stratified", "stratified_folds"):
        require(labels is not None, "data.validation", validation, "another split, where the classes are not known")
        try:
            if kind == "stratified":
                train, held = stratified.split(labels, int(np.ceil(count * arguments[0])), arguments[1])
            else:
                places = stratified.fold_of(labels, arguments[0])
                train, held = np.flatnonzero(places != fold), np.flatnonzero(places == fold)
        except ValueError as error:
            accepted = f"a split that the {count} examples allow: {error}"
            raise UserError(f"config.data.validation is {validation!r}, but it must be {accepted}.") from error
    elif kind == "writer_folds":
        require(writers is not None, "data.validation", validation, "another split, where the writers are not known")
        from sklearn.model_selection import GroupKFold  # scikit-learn takes a second to import.

        people = len(np.unique(writers))
        accepted = f"writer_folds(n) with n from 2 to the {people} writers"
        require(2 <= arguments[0] <= people, "data.validation", validation, accepted)
        train, held = list(GroupKFold(arguments[0]).split(everything, groups=writers))[fold]
    else:
        require(arguments[0] <= count, "data.validation", validation, f"folds(n) with n up to the {count} examples")
        held = np.array_split(everything, arguments[0])[fold]
        train = np.setdiff1d(everything, held)
    accepted = f"a split that leaves some of the {count} examples on each side"
    require(0 < len(held) < count, "data.validation", validation, accepted)
    return train, held


def split(dataset: Dataset, config: ConfigDict) -> Splits:
    """The splits of `config.data`. With validation `test`, the validation examples are the test examples.

    Raises:
      UserError: there is no such split of this dataset, or the writers that it needs cannot be read.
    """
    test = dataset.test_images, dataset.test_labels
    train, held = indices(dataset, config)
    images, labels = dataset.train_images, dataset.train_labels
    if config.validation == "test":
        validation = test
    else:
        validation = (_take(images, held), _take(labels, held)) if len(held) else None
    return Splits((_take(images, train), _take(labels, train)), validation, test)


def indices(dataset: Dataset, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and validation examples of a `config.data` in the training set, as `split_indices`."""
    kind, arguments = _parse_split(config.validation)
    labels = dataset.train_labels
    by_index = kind == "folds" or (kind == "last" and arguments[0] != dataset.validation)
    if by_index and not classes.is_benchmark(dataset.name) and classes.in_order(labels):
        instead = "stratified(0.1, 0)" if kind == "last" else f"stratified_{config.validation}"
        raise UserError(
            f"config.data.validation is {config.validation!r}, but the images of {dataset.name} lie class by class, so "
            "that training and validation images would be of different classes: write "
            f"--config.data.validation={instead!r}."
        )
    authors = writers_of(dataset, "train") if kind == "writer_folds" else None
    return split_indices(config.validation, config.fold, len(labels), authors, labels)


def _take(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """array[indices], without a copy where the indices are a range."""
    start, stop = int(indices[0]), int(indices[0]) + len(indices)
    return array[start:stop] if np.array_equal(indices, np.arange(start, stop)) else array[indices]
