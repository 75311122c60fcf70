"""A dataset as a reader found it, its pixels and labels not interpreted yet; and what the names of its parts mean."""

import re
from typing import NamedTuple

import numpy as np

from digits.errors import UserError

LARGEST = 2**30  # Bytes of an array. Any set of 28x28 images has fewer, and no file can exhaust the memory.
MOST_FROM_A_BYTE = 1032  # Deflate (.gz, .npz) expands a byte to at most so many (zlib.net/zlib_tech.html).

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
_ROLES = {
    **dict.fromkeys(("x", "image", "images", "img", "imgs", "data", "pixels"), "images"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets"), "labels"),
}


class Source(NamedTuple):
    """The arrays of a dataset as its files have them.

    Attributes:
      arrays: training images and labels and, where there is a test set, its images and labels. Images are Nx28x28 of
        any number type, labels N whole numbers from 0 to 255.
      class_names: a name for each label from 0; or, as a dict, for labels that may occur; None if there are none.
      notes: sentences about images that were left out, joined or turned.
      validation: so many of the last training examples are the source's own validation set.
    """

    arrays: list[np.ndarray]
    class_names: tuple[str, ...] | dict[int, str] | None = None
    notes: tuple[str, ...] = ()
    validation: int = 0


def words(name: str) -> list[str]:
    """Splits a name into lower-case words: "X_kannada_MNIST_train", "xTrain" and "x_train" all have x and train."""
    found = re.findall(r"t10k|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.sub(r"^([xXyY])(?=t|v)", r"\1_", name))
    return [word.lower() for word in found]


def part_of(name: str) -> str | None:
    """The part that a name speaks of, "train", "validation" or "test": of "t10k-images" the test set."""
    return next((_PARTS[word] for word in words(name) if word in _PARTS), None)


def role_of(name: str) -> str | None:
    """Whether a name speaks of "images" or of "labels": of "train_data_labels" the labels."""
    roles = {_ROLES[word] for word in words(name) if word in _ROLES}
    return "labels" if "labels" in roles else "images" if roles else None


def joined(
    parts: dict[str, tuple[np.ndarray, np.ndarray]],
    where: object,
    class_names: tuple[str, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Source:
    """Makes a Source of (images, labels) by part. A validation set joins the training images, or is the test set.

        joined({"train": (images, labels), "test": (others, their_labels)}, "my.npz")

    `where` is the file or the folder, for messages.
    """
    if "train" not in parts:
        raise UserError(f"{where} has a {next(iter(parts))} set but no training set: name one of its parts train.")
    train, validation, test = (parts.get(part) for part in ("train", "validation", "test"))
    count = 0
    if validation and not test:
        test = validation
        notes = (*notes, "there is no test set: the validation set of the source serves as one")
    elif validation:
        count = len(validation[1])
        train = tuple(np.concatenate(pair) for pair in zip(train, validation))
        notes = (
            *notes,
            f"the source's {count:,} validation images are the last of the training images: "
            f"--config.data.validation='last({count})' holds them out",
        )
    return Source([*train, *(test or ())], class_names, notes, count)
