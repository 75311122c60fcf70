"""The writers of MNIST's digits, read from the QMNIST project's extended labels."""

import os
import pathlib

import numpy as np

from digits.data.dataset import Dataset
from digits.data.idx import idx_in, read_idx_file
from digits.errors import UserError, require
from digits.runtime import machine, paths

WITH_WRITERS = "mnist where the writers are needed, as for writer_folds(n): those of other sets are not known"
# QMNIST's extended labels of MNIST's examples, in MNIST's order. The test file goes on with 50,000 other examples.
WRITER_FILES = {"train": "qmnist-train-labels-idx2-int", "test": "qmnist-test-labels-idx2-int"}
_WRITER_COLUMN = 2  # 0: class, 1: NIST's series, 2: NIST's number of the writer, 3-7: the place in NIST's set.


def writers_of(dataset: Dataset, part: str) -> np.ndarray:
    """Reads who wrote each example of MNIST from the extended labels of the QMNIST project.

    Looks for their file in DIGITS_WRITERS_DIR; in `dataset.data_dir`, its subfolders mnist and qmnist and the folder
    qmnist beside it; and in `cache_dir()`.

    Args:
      dataset: MNIST, from `load`.
      part: "train" or "test".

    Returns:
      NIST's number of the writer, int32 N. Nobody wrote digits of both parts.

    Raises:
      UserError: the dataset is another one, or the file is not there, damaged, or of other examples.
    """
    require(dataset.name == "mnist", "data.name", dataset.name, WITH_WRITERS)
    folders = [pathlib.Path(given)] if (given := paths.folder_of("DIGITS_WRITERS_DIR")) else []
    if dataset.data_dir:
        folder = pathlib.Path(dataset.data_dir)
        folders += [folder, *filter(os.path.isdir, [folder / "mnist"]), folder / "qmnist", folder.parent / "qmnist"]
    folders.append(machine.cache_dir())
    labels = {"train": dataset.train_labels, "test": dataset.test_labels}[part]
    return read_writers(part, labels, folders)


def read_writers(part: str, labels: np.ndarray, folders: list[pathlib.Path]) -> np.ndarray:
    """Reads who wrote each example of MNIST from QMNIST's extended labels.

        read_writers("test", labels, [pathlib.Path("mnist")])

    Args:
      part: "train" or "test".
      labels: MNIST's own labels of that part, uint8 N; the file must have the same.
      folders: folders that may hold the file; the first that does counts.
    """
    stem = WRITER_FILES[part]
    path = next(filter(None, (idx_in(folder, stem) for folder in folders)), None)
    if path is None:
        raise UserError(
            f"{stem}.gz, which tells who wrote MNIST's digits, is not in {', '.join(map(str, folders))}: it comes from "
            "the QMNIST project (github.com/facebookresearch/qmnist) and must be put into one of these folders, or one "
            "that DIGITS_WRITERS_DIR names."
        )
    table = read_idx_file(path, stem)
    if part == "test":
        table = table[: len(labels)]
    if len(table) != len(labels):
        raise UserError(f"{path} has {len(table):,} rows, but MNIST has {len(labels):,} {part} examples.")
    other = np.flatnonzero(table[:, 0] != labels)
    if len(other):
        row = other[0]
        raise UserError(
            f"{path} is not of MNIST's {part} examples: its row {row} says {table[row, 0]}, but MNIST's label {row} is "
            f"{labels[row]}."
        )
    return table[:, _WRITER_COLUMN].copy()
