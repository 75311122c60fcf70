"""Decides which classes a dataset has, what they are called, and whether they lie in order."""

import re

import numpy as np

from digits.data.source import Source
from digits.errors import UserError

# Sets with a file order and classes of their own, which papers rely on.
_BENCHMARKS = r"mnist|optdigits|fashion_mnist|kmnist|emnist(/\w+)?|mnist_corrupted(/\w+)?"


def is_benchmark(name: str) -> bool:
    """Whether a dataset keeps its classes and its order, whatever its labels are."""
    return bool(re.fullmatch(_BENCHMARKS, name))


def numbered(labels: list[np.ndarray]) -> tuple[str, ...]:
    """Names the classes of labels that come without names: "0" to the largest label."""
    return tuple(map(str, range(int(max(each.max() for each in labels)) + 1)))


def settled(source: Source, where: str, fixed: bool) -> Source:
    """Makes the classes that occur the classes 0 to K-1 and names them; says so where labels are not 0 to K-1 already.

        settled(Source([images, labels + 1]), "my.npz", fixed=False).class_names == ("1", "2", "3")

    Args:
      source: its labels are whole numbers from 0 to 255.
      where: the file or the folder, for messages.
      fixed: whether all its classes are kept as they are, because it is a benchmark.

    Raises:
      UserError: it has fewer than two classes, or one that the source names has no image.
    """
    arrays, names = list(source.arrays), source.class_names
    occurring = np.unique(np.concatenate(arrays[1::2]))
    if isinstance(names, tuple):
        _check_names(names, where)
        if occurring[-1] >= len(names):
            raise UserError(f"{where} has the label {occurring[-1]}, but only {len(names)} class names, for 0 and up.")
    if fixed and not isinstance(names, dict):
        arrays[1::2] = [labels.astype(np.uint8) for labels in arrays[1::2]]
        return source._replace(arrays=arrays, class_names=names or numbered(arrays[1::2]))
    if len(occurring) < 2:
        raise UserError(f"{where} has images of the class {occurring[0]} alone, but at least 2 classes are needed.")
    if isinstance(names, tuple):
        if empty := [name for label, name in enumerate(names) if label not in occurring]:
            raise UserError(
                f"{where} has no image of {listed(empty)}: add images of {_them(empty)}, or take {_them(empty)} out "
                "of its class names and number the labels anew."
            )
        given = dict(enumerate(names))
    else:
        given = names or {}
    notes = source.notes
    unnamed = [int(label) for label in occurring if given and int(label) not in given]
    if unnamed:
        notes = (*notes, f"no name is known for the label {listed(unnamed)}: the number is the class's name")
    if not np.array_equal(occurring, np.arange(len(occurring))):
        arrays[1::2] = [np.searchsorted(occurring, labels) for labels in arrays[1::2]]
        if not given:
            notes = (*notes, f"the {len(occurring)} labels that occur are the classes: {listed(occurring)}")
    arrays[1::2] = [labels.astype(np.uint8) for labels in arrays[1::2]]
    return source._replace(arrays=arrays, class_names=tuple(given.get(int(n), str(n)) for n in occurring), notes=notes)


def _check_names(names: tuple[str, ...], where: str) -> None:
    for name in names:
        if not name.isprintable() or not name.strip():
            raise UserError(f"{where} has a class named {name!r}, but a class needs a name that can be printed.")
        if names.count(name) > 1:
            raise UserError(f"{where} has {names.count(name)} classes named {name!r}, but each needs its own name.")


def in_order(labels: np.ndarray) -> bool:
    """Whether examples lie class by class, or nearly so; classes may come two times, as in a training and a test part.

        in_order(np.array([0, 0, 1, 1, 2, 2]))

    Then neighbours differ in class far less often than in a shuffled set.
    """
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    changes, shuffled = np.count_nonzero(labels[1:] != labels[:-1]), len(labels) * (1 - shares @ shares)
    few = max(len(shares), float(shuffled) / 10, min(3 * len(shares), float(shuffled) / 4))
    return len(shares) > 1 and bool(changes < few)


def listed(names: list) -> str:
    """Up to 12 names, and how many more there are."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(map(str, names[:12])) + more


def _them(names: list) -> str:
    return "it" if len(names) == 1 else "them"
