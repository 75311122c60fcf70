"""Loads datasets from wherever they are: files, folders, the cache, scikit-learn, TensorFlow Datasets.

MNIST is always in the order of the official files, whatever it was read from, because its splits are by index.

Imports folders.py, optdigits.py and tfds.py where they are used. They need Pillow, scikit-learn and TFDS, which take up
to a second to import and which a training from IDX files does not need.
"""

import contextlib
import os
import pathlib
import re

import numpy as np

from digits.config.fields import FIELDS
from digits.data.dataset import ARRAYS, Dataset
from digits.data.idx import Source, read_idx
from digits.data.npz import NPZ_ERRORS, read_npz
from digits.data.splits import split_indices
from digits.errors import UserError, require
from digits.runtime import atomic, machine, paths

# SHA-256 over training images, training labels, test images and test labels, as `Dataset.digest` computes it.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
_DIGESTS = {  # A cached dataset of these names must have this digest.
    "mnist": MNIST_DIGEST,
    "optdigits": "60203f4b4af3f4de20961f9be4e84e974a9fd9670cd5ccc8a0ded8da3d873c84",
}
_NAME = r"\w+|emnist/\w+"  # Every other name with a slash is a path.


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Loads a dataset: `load("mnist").train_images`.

    Args:
      name: "mnist"; "optdigits", embedded in scikit-learn, in MNIST's form; another TFDS set of 28x28 images, such as
        "emnist/letters"; the path of a `.npz` with x_train, y_train and, if it has them, x_test, y_test; or the path of
        a folder with an image folder per class, or with train/ and test/ that have them. Without a test set a fifth of
        the examples becomes one.
      data_dir: a folder with the four IDX files, or with a folder `name` that has them. Default: DIGITS_DATA_DIR, which
        is for MNIST, and for the other sets of which it has a folder with their name.

    Raises:
      UserError: there is no such dataset, or it cannot be read.
    """
    path = paths.local(name, "config.data.name")
    data_dir = data_dir and str(paths.local(data_dir, "--data_dir"))
    if path.suffix == ".npz":
        return _dataset(name, read_npz(path), name)
    named = re.fullmatch(_NAME, name)
    if not named and ("/" in name or os.sep in name or name.startswith(".")):
        from digits.data.folders import read_folder

        return _dataset(name, read_folder(path), name)
    require(bool(named), "data.name", name, FIELDS["data.name"].accepted.text)
    if name == "optdigits" and data_dir and not os.path.isdir(data_dir):
        raise UserError(f"--data_dir is {data_dir!r}, but there is no such folder; optdigits needs none.")
    data_dir = data_dir or _from_environment(name)
    if not data_dir and name not in _DIGESTS and path.is_dir() and not _cache_file(name).exists():
        raise UserError(
            f"config.data.name is {name!r}, which is no path and would be downloaded; did you mean ./{name}, the "
            "folder here?"
        )
    return _named(name, data_dir)


def _from_environment(name: str) -> str | None:
    """DIGITS_DATA_DIR, if it has files of the dataset; its own files, in no folder with a name, are MNIST's."""
    folder = paths.folder_of("DIGITS_DATA_DIR")
    return folder if folder and (name == "mnist" or os.path.isdir(os.path.join(folder, name))) else None


def _named(name: str, data_dir: str | None) -> Dataset:
    """Loads a dataset that has a name and not a path, see `load`."""
    if data_dir and name != "optdigits":
        folder = pathlib.Path(data_dir)
        folder = folder / name if (folder / name).is_dir() else folder
        # Absolute: the working directory may be another one when the writers are read.
        dataset = _dataset(name, read_idx(folder), str(folder), os.path.abspath(data_dir))
        if name != "mnist" and dataset.digest() == MNIST_DIGEST:
            raise UserError(
                f"{folder} holds MNIST, but config.data.name is {name!r}: name mnist, or give that set's own files."
            )
        # Other sets have no known digest: another folder may hold another set under the same name tomorrow.
        return _keep(dataset) if name == "mnist" and not _cache_file(name).exists() else dataset
    if cached := _cached(name):
        return cached
    if name == "optdigits":
        from digits.data import optdigits

        source = optdigits.read_optdigits()
    else:
        from digits.data import tfds

        source = tfds.read_tfds(name)
    return _keep(_dataset(name, source, f"TFDS's copy of {name}"))


def is_quick(name: str, data_dir: str | None = None) -> bool:
    """Whether `load` only reads IDX files, the cache or the embedded set: no download, no folder of images."""
    near = data_dir or _from_environment(name) or name == "optdigits" or _cache_file(name).exists()
    return bool(re.fullmatch(_NAME, name) and near)


def _dataset(name: str, source: Source, where: str, data_dir: str | None = None) -> Dataset:
    """Makes a Dataset of a source: checks MNIST's digest, and holds out a random fifth if there is no test set."""
    arrays, class_names = source
    if len(arrays) == 2:
        if len(arrays[1]) < 10:
            raise UserError(f"{where} has {len(arrays[1])} images and no test set: 10 are needed to hold one out.")
        train, test = split_indices("random(0.2, 0)", 0, len(arrays[1]))
        arrays = [array[part] for part in (train, test) for array in arrays]
    dataset = Dataset(name, **dict(zip(ARRAYS, arrays, strict=True)), class_names=class_names, data_dir=data_dir)
    if name == "mnist" and dataset.digest() != MNIST_DIGEST:
        raise UserError(f"{where} does not hold the official MNIST files: their SHA-256 digest differs.")
    return dataset


def _cache_file(name: str) -> pathlib.Path:
    return machine.cache_dir() / f"{name}.npz"


def _cached(name: str) -> Dataset | None:
    """Reads the dataset from the cache; None if there is none, or its digest is wrong."""
    try:
        with np.load(_cache_file(name), allow_pickle=False) as file:
            arrays = {key: file[key] for key in ARRAYS}
            dataset = Dataset(name, **arrays, class_names=tuple(map(str, file["class_names"])))
            digest = str(file["digest"])
    except (KeyError, *NPZ_ERRORS):
        return None
    return dataset if dataset.digest() == digest == _DIGESTS.get(name, digest) else None


def _keep(dataset: Dataset) -> Dataset:
    """Writes the dataset to the cache and returns it. A cache that cannot be written is no error."""
    path = _cache_file(dataset.name)
    arrays = dict(zip(ARRAYS, dataset.arrays, strict=True))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(path) as file:
            np.savez(file, digest=dataset.digest(), class_names=dataset.class_names, **arrays)
    return dataset
