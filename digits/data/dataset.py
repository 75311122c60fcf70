"""A dataset: images and labels of a training and a test set, in the file order of its source, and their digest."""

import dataclasses
import functools
import hashlib

import numpy as np

from digits.data.idx import SIDE

SIDE = SIDE


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
