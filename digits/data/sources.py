"""Loads datasets from wherever they are: files, folders, the cache, scikit-learn, TensorFlow Datasets.

MNIST is always in the order of the official files, whatever it was read from, because its splits are by index.

Imports optdigits.py and tfds.py where they are used. They need scikit-learn and TFDS, which take a second or more to
import and which a training from IDX files does not need.
"""

import dataclasses
import os
import pathlib
import re

import numpy as np

from digits.config.fields import FIELDS
from digits.data import classes, pixels
from digits.data.dataset import ARRAYS, Dataset
from digits.data.files import read_path
from digits.data.idx import read_idx
from digits.data.npz import NPZ_ERRORS, read_arrays
from digits.data.source import LARGEST, Source
from digits.data.splits import split_indices
from digits.errors import UserError, require
from digits.runtime import cached, machine, paths

# SHA-256 over training images, training labels, test images and test labels, as `Dataset.digest` computes it.
MNIST_DIGEST = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
_DIGESTS = {  # A cached dataset of these names must have this digest.
    "mnist": MNIST_DIGEST,
    "optdigits": "60203f4b4af3f4de20961f9be4e84e974a9fd9670cd5ccc8a0ded8da3d873c84",
}
_NAME = r"\w+|(emnist|mnist_corrupted)/\w+"  # Of a dataset, even if there is a path of that name.
_CONFIG = r"\w+/\w+"  # Of a TFDS set, if there is no path of that name.


def load(name: str, data_dir: str | None = None, digest: str | None = None) -> Dataset:
    """Loads a dataset: `load("mnist").train_images`.

    Args:
      name: "mnist"; "optdigits", embedded in scikit-learn, in MNIST's form; another TFDS set of 28x28 images, such as
        "emnist/letters"; or a path to a file or a folder, see `files.read_path`: a .npz, .csv or Parquet file, a folder
        of IDX files, or a folder with an image folder per class, or with train/ and test/ that have them. Without a
        test set a fifth of the examples becomes one, with each class's share kept.
      data_dir: a folder with the four IDX files, or with a folder `name` that has them. Default: DIGITS_DATA_DIR, which
        is for MNIST, and for the other sets of which it has a folder with their name. For a path: where its file or
        folder lies now, or the folder that holds it now.
      digest: that of the data of a run. Earlier versions made the test set of a path by random(0.2, 0): if the digest
        is of these data, they are loaded.

    Raises:
      UserError: there is no such dataset, or it cannot be read.
    """
    path = paths.local(name, "config.data.name")
    data_dir = data_dir and str(paths.local(data_dir, "--data_dir"))
    if _is_path(name):
        given = path
        path = _moved(given, data_dir)
        source = read_path(path)
        dataset = _dataset(name, source, str(path))
        if digest not in (None, dataset.digest()) and len(source.arrays) == 2:
            before = _dataset(name, source, str(path), held="random(0.2, 0)")
            dataset = before if before.digest() == digest else dataset
        if path != given:
            dataset = dataclasses.replace(dataset, notes=(f"{name} is read from {path}", *dataset.notes))
        return dataset
    require(bool(re.fullmatch(rf"{_NAME}|{_CONFIG}", name)), "data.name", name, FIELDS["data.name"].accepted.text)
    if classes.is_benchmark(name.lower()) and not classes.is_benchmark(name):
        raise UserError(f"config.data.name is {name!r}; did you mean {name.lower()}?")
    if name == "optdigits" and data_dir and not os.path.isdir(data_dir):
        raise UserError(f"--data_dir is {data_dir!r}, but there is no such folder; optdigits needs none.")
    data_dir = data_dir or _from_environment(name)
    if not data_dir and not classes.is_benchmark(name) and path.is_dir() and not _cache_file(name).exists():
        raise UserError(
            f"config.data.name is {name!r}, which is no path and would be downloaded; did you mean ./{name}, the "
            "folder here?"
        )
    return _named(name, data_dir)


def _from_environment(name: str) -> str | None:
    """DIGITS_DATA_DIR, if it has files of the dataset; its own files, in no folder with a name, are MNIST's."""
    folder = paths.folder_of("DIGITS_DATA_DIR")
    return folder if folder and (name == "mnist" or os.path.isdir(f"{folder}/{name.partition('/')[0]}")) else None


def _is_path(name: str) -> bool:
    """Whether a name is that of a file or a folder."""
    if re.fullmatch(_NAME, name) or (re.fullmatch(_CONFIG, name) and not os.path.exists(name)):
        return False
    looks = "/" in name or os.sep in name or name.startswith((".", "~")) or name.endswith(".npz")
    return looks or os.path.isfile(name)


def _moved(path: pathlib.Path, data_dir: str | None) -> pathlib.Path:
    """Where the data of a path lie: in `data_dir`, if there is one that holds them or has their name; else there."""
    if not data_dir:
        return path
    folder = pathlib.Path(data_dir)
    if not folder.exists():
        raise UserError(f"--data_dir is {data_dir!r}, but there is no such file or folder.")
    if (folder / path.name).exists():
        return folder / path.name
    return path if path.exists() and folder.name != path.name else folder


def _named(name: str, data_dir: str | None) -> Dataset:
    """Loads a dataset that has a name and not a path, see `load`."""
    if data_dir and name != "optdigits":
        folder = pathlib.Path(data_dir)
        below = [folder / name, folder / name.partition("/")[0]]
        folder = next(filter(os.path.isdir, below), folder)
        # Absolute: the working directory may be another one when the writers are read.
        dataset = _dataset(name, read_idx(folder, name), str(folder), os.path.abspath(data_dir))
        if name != "mnist" and dataset.digest() == MNIST_DIGEST:
            raise UserError(
                f"{folder} holds MNIST, but config.data.name is {name!r}: name mnist, or give that set's own files."
            )
        # Other sets have no known digest: another folder may hold another set under the same name tomorrow.
        return _keep(dataset) if name == "mnist" and not _cache_file(name).exists() else dataset
    if kept := _cached(name):
        return kept
    if name == "optdigits":
        from digits.data import optdigits

        source = optdigits.read_optdigits()
    else:
        from digits.data import tfds

        source = tfds.read_tfds(name)
    return _keep(_dataset(name, source, f"TFDS's copy of {name}", fixed=True))


def is_quick(name: str, data_dir: str | None = None) -> bool:
    """Whether `load` only reads IDX files, the cache or the embedded set: no download, no folder of images."""
    near = data_dir or _from_environment(name) or name == "optdigits" or _cache_file(name).exists()
    return bool(re.fullmatch(_NAME, name) and near)


def _dataset(
    name: str, source: Source, where: str, data_dir: str | None = None, held: str = "", fixed: bool = False
) -> Dataset:
    """Makes a Dataset of a source: settles pixels and classes, makes a test set if need be, checks MNIST's digest.

    Args:
      name: the dataset's.
      source: as its reader gives it.
      where: the file or the folder, for messages.
      data_dir: see `Dataset`.
      held: the split that makes a test set if there is none; by default a stratified one.
      fixed: whether pixels and classes are kept as they are, as those of a benchmark.
    """
    benchmark = fixed or classes.is_benchmark(name)
    if not benchmark:
        try:
            images, notes = pixels.as_bytes(source.arrays[::2])
        except ValueError as error:
            kind = source.arrays[0].dtype
            raise UserError(
                f"{where}: the pixels, {kind}, are ambiguous: {error}; give them as bytes from 0, black, to 255, white."
            ) from error
        arrays = [array for pair in zip(images, source.arrays[1::2]) for array in pair]
        source = source._replace(arrays=arrays, notes=(*source.notes, *notes))
    source = classes.settled(source, where, benchmark)
    arrays, notes = source.arrays, source.notes
    if len(arrays) == 2:
        held = held or ("random(0.2, 0)" if benchmark else _held_out(arrays[1], where))
        train, test = split_indices(held, 0, len(arrays[1]), labels=arrays[1])
        arrays = [array[part] for part in (train, test) for array in arrays]
        if not benchmark:
            notes = (*notes, f"there is no test set: {held} holds out {len(test):,} of the images as one")
    if not benchmark and (known := _repeated(arrays[0], arrays[2])):
        notes = (*notes, f"{known:,} of {len(arrays[2]):,} test images are training images too")
    about = {"class_names": source.class_names, "data_dir": data_dir, "notes": notes, "validation": source.validation}
    dataset = Dataset(name, **dict(zip(ARRAYS, arrays, strict=True)), **about)
    if name == "mnist" and dataset.digest() != MNIST_DIGEST:
        raise UserError(f"{where} does not hold the official MNIST files: their SHA-256 digest differs.")
    return dataset


def _repeated(images: np.ndarray, others: np.ndarray) -> int:
    """The number of `others` that are among `images`."""
    known = {hash(image.tobytes()) for image in images}
    return sum(hash(image.tobytes()) in known for image in others)


def _held_out(labels: np.ndarray, where: str) -> str:
    """The split that makes a test set of a fifth of the examples, or of as many as there are classes."""
    counts = np.bincount(labels)
    if len(labels) < 10 or counts.min() < 2:
        raise UserError(
            f"{where} has {len(labels)} images, of one class {counts.min()}, and no test set: 10 are needed to hold "
            "one out, 2 of each class."
        )
    fraction = max(0.2, len(counts) / len(labels))
    return f"stratified({fraction:.6g}, 0)"


def _cache_file(name: str) -> pathlib.Path:
    return machine.cache_dir() / f"{name}.npz"


def _cached(name: str) -> Dataset | None:
    """Reads the dataset from the cache; None if there is none, or it is damaged or another one."""
    try:
        with paths.opened(_cache_file(name), len(ARRAYS) * LARGEST) as file:
            found = read_arrays(file, *ARRAYS, "class_names", "notes", "digest")
        # Caches of earlier versions have no notes, and EMNIST's images transposed.
        notes = found["notes"] if "notes" in found or name.startswith("emnist") else ()
        words = {"class_names": tuple(map(str, found["class_names"])), "notes": tuple(map(str, notes))}
        dataset = Dataset(name, **{key: found[key] for key in ARRAYS}, **words)
    except (KeyError, *NPZ_ERRORS):
        return None
    return dataset if dataset.digest() == str(found["digest"]) == _DIGESTS.get(name, dataset.digest()) else None


def _keep(dataset: Dataset) -> Dataset:
    """Writes the dataset to the cache and returns it. If the cache cannot be written, says so."""
    path = _cache_file(dataset.name)
    arrays = dict(zip(ARRAYS, dataset.arrays, strict=True))
    notes = {"notes": dataset.notes} if dataset.notes else {}
    about = {"digest": dataset.digest(), "class_names": dataset.class_names, **notes}
    cached.write(path, lambda file: np.savez(file, **about, **arrays))
    return dataset
