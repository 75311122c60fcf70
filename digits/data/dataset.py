"""A dataset: images and labels of a training and a test set, in the file order of its source, and their digest."""

import dataclasses
import functools
import hashlib

import numpy as np

SIDE = 28  # Pixels of an image's height and width.
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset:
    """Images, uint8 Nx28x28, and labels, uint8 N, of a training and a test set.

    `data_dir` is the folder that it was read from, absolute, or None. Other files of the dataset may lie there, see
    `writers_of`. `notes` are sentences about how the images, the classes and the test set were made of the source.
    `validation` says how many of the last training examples are the source's own validation set.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    data_dir: str | None = None
    notes: tuple[str, ...] = ()
    validation: int = 0

    def __repr__(self) -> str:
        side = "x".join(map(str, self.train_images.shape[1:]))
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test images of {side}"
        return f"Dataset({self.name}: {counts}, {len(self.class_names)} classes)"

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(getattr(self, name) for name in ARRAYS)

    def digest(self) -> str:
        """SHA-256 over the bytes of the four arrays."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256()
        for array in self.arrays:
            sha.update(np.ascontiguousarray(array))
        return sha.hexdigest()
