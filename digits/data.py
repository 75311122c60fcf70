"""Datasets as uint8 arrays in a fixed order, their splits, and the normalisations applied on the device.

MNIST is always in the order of the official files, whatever it was read from, because its splits are by index.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import typing

from ml_collections import ConfigDict
import numpy as np

from digits import sources, tfds
from digits.config import check_fields
from digits.errors import require, UserError
from digits.fields import FIELDS

if typing.TYPE_CHECKING:  # A dataset can be read before JAX, which takes longer to import, is there.
    import jax

SIDE = sources.SIDE
# SHA-256 over training images, training labels, test images and test labels, as `Dataset.digest` computes it.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
_DIGESTS = {  # What a cache must hold to be taken under these names.
    "mnist": MNIST_DIGEST,
    "optdigits": "60203f4b4af3f4de20961f9be4e84e974a9fd9670cd5ccc8a0ded8da3d873c84",
}
NORMALIZATIONS = ("unit", "column_l2")
_SPLITS = {
    "none": r"none", "test": r"test", "last": r"last\((\d{1,30})\)", "folds": r"folds\((\d{1,30})\)",
    "writer_folds": r"writer_folds\((\d{1,30})\)",
    "random": r"random\((0?\.\d+),\s*(?:seed\s*=?\s*)?(\d{1,10})\)",
}  # fmt: skip
_NAME = r"\w+|emnist/\w+"  # Every other name with a slash is a path.
_WITH_WRITERS = "mnist where the writers are needed, as for writer_folds(n): those of other sets are not known"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images, uint8 Nx28x28, and labels, uint8 N, of a training and a test set.

    `data_dir` is the folder it was read from, absolute, or None: files that belong to it may lie there (see `writers`).
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    data_dir: str | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def digest(self) -> str:
        """SHA-256 over the bytes of the four arrays."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256()
        for array in self.arrays:
            sha.update(np.ascontiguousarray(array))
        return sha.hexdigest()


@dataclasses.dataclass(frozen=True)
class Splits:
    """Training, validation (None where there is none) and test examples, each as (images, labels)."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray] | None
    test: tuple[np.ndarray, np.ndarray]


def check(config: ConfigDict) -> None:
    """Raises UserError for a `config.data` that names no split or no normalisation."""
    check_fields(config, "data")
    kind, arguments = _parse_split(config.validation)
    if kind == "writer_folds":
        require(config.name == "mnist", "data.name", config.name, _WITH_WRITERS)
    if kind in ("folds", "writer_folds"):
        folds = arguments[0]
        require(folds >= 2, "data.validation", config.validation, f"{kind}(n) with n from 2")
        require(0 <= config.fold < folds, "data.fold", config.fold, f"a whole number from 0 to {folds - 1}")
    else:
        accepted = "0 unless config.data.validation is folds(n) or writer_folds(n)"
        require(config.fold == 0, "data.fold", config.fold, accepted)


def _parse_split(text: str) -> tuple[str, list]:
    for kind, pattern in _SPLITS.items():
        if match := re.fullmatch(pattern, text):
            arguments = [float(g) if "." in g else int(g) for g in match.groups()]
            if kind != "random" or arguments[1] < 2**32:  # What NumPy takes as a seed.
                return kind, arguments
    raise UserError(f"config.data.validation is {text!r}, but it must be {FIELDS['data.validation'].accepted.text}.")


def split_indices(
    validation: str, fold: int, count: int, writers: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the validation examples among `count` training examples.

    `random(f, s)` equals scikit-learn's train_test_split(test_size=f, random_state=s), `folds(k)` its KFold(k) and
    `writer_folds(k)` its GroupKFold(k) with the writers as groups, index for index. `none` and `test` keep all examples
    for training and give no validation indices.

    Args:
      validation: `config.data.validation`.
      fold: `config.data.fold`.
      count: the number of training examples.
      writers: who wrote each of them, any integer type, `count` long; only `writer_folds` needs it.

    Raises:
      UserError: `validation` is no split, or leaves no examples on one side.
    """
    kind, arguments = _parse_split(validation)
    everything = np.arange(count)
    on_each_side = f"a split that leaves some of the {count} examples on each side"
    if kind in ("none", "test"):
        return everything, everything[:0]
    if kind == "random":
        fraction, seed = arguments
        held_out = int(np.ceil(count * fraction))
        order = np.random.RandomState(seed).permutation(count)
        train, held = order[held_out:], order[:held_out]
    elif kind == "last":
        train, held = everything[: max(0, count - arguments[0])], everything[max(0, count - arguments[0]) :]
    elif kind == "writer_folds":
        require(writers is not None, "data.validation", validation, "another split, where the writers are not known")
        from sklearn.model_selection import GroupKFold

        people = len(np.unique(writers))
        accepted = f"writer_folds(n) with n from 2 to the {people} writers"
        require(2 <= arguments[0] <= people, "data.validation", validation, accepted)
        train, held = list(GroupKFold(arguments[0]).split(everything, groups=writers))[fold]
    else:
        require(arguments[0] <= count, "data.validation", validation, f"folds(n) with n up to the {count} examples")
        held = np.array_split(everything, arguments[0])[fold]
        train = np.setdiff1d(everything, held)
    require(0 < len(held) < count, "data.validation", validation, on_each_side)
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
    by_writer = _parse_split(config.validation)[0] == "writer_folds"
    authors = writers(dataset, "train") if by_writer else None
    return split_indices(config.validation, config.fold, len(dataset.train_labels), authors)


def _take(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """array[indices], without a copy where the indices are a range."""
    start, stop = int(indices[0]), int(indices[0]) + len(indices)
    return array[start:stop] if np.array_equal(indices, np.arange(start, stop)) else array[indices]


def writers(dataset: Dataset, part: str) -> np.ndarray:
    """Who wrote each example of MNIST, by the extended labels of the QMNIST project, which this call reads.

    Their file is looked for in DIGITS_WRITERS_DIR; in `dataset.data_dir`, its subfolders mnist and qmnist and the
    folder qmnist beside it; and in `cache_dir()`.

    Args:
      dataset: MNIST, from `load`.
      part: "train" or "test".

    Returns:
      NIST's number of the writer, int32 N, the same for both parts; nobody wrote digits of both.

    Raises:
      UserError: the dataset is another one, or the file is not there, damaged, or of other examples.
    """
    require(dataset.name == "mnist", "data.name", dataset.name, _WITH_WRITERS)
    folders = [pathlib.Path(given)] if (given := os.environ.get("DIGITS_WRITERS_DIR")) else []
    if dataset.data_dir:
        folder = pathlib.Path(dataset.data_dir)
        folders += [folder, *filter(os.path.isdir, [folder / "mnist"]), folder / "qmnist", folder.parent / "qmnist"]
    folders.append(cache_dir())
    labels = {"train": dataset.train_labels, "test": dataset.test_labels}[part]
    return sources.read_writers(part, labels, folders)


def normalize(images: "jax.Array", kind: str) -> "jax.Array":
    """Normalises pixels of 0 to 255 for the network.

    Args:
      images: Nx28x28 or Nx28x28x1, any number type.
      kind: "unit" (pixels / 255) or "column_l2" (each image column divided by its L2 norm over the rows, zero columns
        stay zero: Keras's `normalize(x, axis=1)`).

    Returns:
      float32 (float64 stays), Nx28x28x1.

    Raises:
      UserError: there is no such kind.
    """
    import jax.numpy as jnp

    if kind not in NORMALIZATIONS:
        raise UserError(f"kind is {kind!r}, but it must be one of {', '.join(NORMALIZATIONS)}.")
    x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    # The channel is added last: XLA's CPU backend vectorises over the last axis, ten times slower if that has length 1.
    x = x.reshape(x.shape[0], SIDE, SIDE)
    if kind == "unit":
        x = x / 255
    else:
        norm = jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True))
        x = x / jnp.where(norm == 0, 1, norm)
    return x[..., None]


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Loads a dataset: `load("mnist").train_images`.

    Args:
      name: "mnist"; "optdigits", embedded in scikit-learn, in MNIST's form; another TFDS set of 28x28 images, such as
        "emnist/letters"; the path of a `.npz` with x_train, y_train and, if it has them, x_test, y_test; or the path of
        a folder with an image folder per class, or with train/ and test/ that have them. Without a test set a fifth of
        the examples becomes one.
      data_dir: a folder with the four IDX files, or with a folder `name` that has them. Default: DIGITS_DATA_DIR.

    Raises:
      UserError: there is no such dataset, or it cannot be read.
    """
    path = pathlib.Path(name)
    if path.suffix == ".npz":
        return _dataset(name, sources.read_npz(path), name)
    named = re.fullmatch(_NAME, name)
    if not named and ("/" in name or os.sep in name or name.startswith(".")):
        return _dataset(name, sources.read_folder(path), name)
    if not named:
        accepted = "mnist, optdigits, the name of a TFDS set, a path to a .npz file, or a path (with a /) to a folder"
        raise UserError(f"config.data.name is {name!r}, but it must be {accepted}.")
    if name == "optdigits" and data_dir and not os.path.isdir(data_dir):
        raise UserError(f"--data_dir is {data_dir!r}, but there is no such folder; optdigits needs none.")
    data_dir = data_dir or os.environ.get("DIGITS_DATA_DIR")
    try:
        return _named(name, data_dir)
    except UserError as error:
        if name in ("mnist", "optdigits") or not path.is_dir():
            raise
        sentence = f"{str(error).rstrip('.')}; for the folder of that name here, write ./{name}."
        raise UserError(sentence) from error


def _named(name: str, data_dir: str | None) -> Dataset:
    """Loads a dataset that has a name and not a path, see `load`."""
    if data_dir and name != "optdigits":
        folder = pathlib.Path(data_dir)
        folder = folder / name if (folder / name).is_dir() else folder
        # Absolute: the working directory may be another one when the writers are read.
        dataset = _dataset(name, sources.read_idx(folder), str(folder), os.path.abspath(data_dir))
        if name != "mnist" and dataset.digest() == MNIST_DIGEST:
            raise UserError(
                f"{folder}, of --data_dir or DIGITS_DATA_DIR, holds MNIST, but config.data.name is {name!r}: name "
                "mnist or give its own files."
            )
        # Other sets have no known digest: another folder may hold another set under the same name tomorrow.
        return _keep(dataset) if name == "mnist" and not _cache_file(name).exists() else dataset
    if cached := _cached(name):
        return cached
    read = sources.read_optdigits() if name == "optdigits" else tfds.read_tfds(name)
    return _keep(_dataset(name, read, f"TFDS's copy of {name}"))


def is_quick(name: str, data_dir: str | None = None) -> bool:
    """Whether `load` only reads IDX files, the cache or the embedded set: no download, no folder of images."""
    near = data_dir or os.environ.get("DIGITS_DATA_DIR") or name == "optdigits" or _cache_file(name).exists()
    return bool(re.fullmatch(_NAME, name) and near)


def _dataset(name: str, source: sources.Source, where: str, data_dir: str | None = None) -> Dataset:
    """Makes a Dataset of a source: checks MNIST's digest, and holds out a random fifth if there is no test set."""
    arrays, class_names = source
    if len(arrays) == 2:
        if len(arrays[1]) < 10:
            raise UserError(f"{where} has {len(arrays[1])} images and no test set: 10 are needed to hold one out.")
        train, test = split_indices("random(0.2, 0)", 0, len(arrays[1]))
        arrays = [array[part] for part in (train, test) for array in arrays]
    dataset = Dataset(name, *arrays, class_names, data_dir)
    if name == "mnist" and dataset.digest() != MNIST_DIGEST:
        raise UserError(f"{where} does not hold the official MNIST files: their SHA-256 digest differs.")
    return dataset


def cache_dir() -> pathlib.Path:
    """DIGITS_CACHE_DIR, or `digits` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("DIGITS_CACHE_DIR") or pathlib.Path(home) / "digits")


def _cache_file(name: str) -> pathlib.Path:
    return cache_dir() / f"{name}.npz"


def _cached(name: str) -> Dataset | None:
    """Reads the dataset from the cache; None if it is not there or its digest differs from the one kept with it."""
    try:
        with np.load(_cache_file(name), allow_pickle=False) as file:
            arrays = [file[field.name] for field in dataclasses.fields(Dataset)[1:5]]
            dataset = Dataset(name, *arrays, tuple(map(str, file["class_names"])))
            digest = str(file["digest"])
    except (KeyError, *sources.NPZ_ERRORS):
        return None
    return dataset if dataset.digest() == digest == _DIGESTS.get(name, digest) else None


def _keep(dataset: Dataset) -> Dataset:
    """Writes the dataset to the cache, whole or not at all; a cache that cannot be written is no error."""
    path = _cache_file(dataset.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(Dataset)[1:6]}
        np.savez(temporary, digest=dataset.digest(), **fields)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return dataset
