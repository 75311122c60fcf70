"""Decides which numbers of images mean black and white, for training and for `Run.predict`.

images, notes = as_bytes([train_images, test_images])
"""

from typing import NamedTuple

import numpy as np

_SMALL = (1, 3, 7, 15, 16, 31, 63)  # Full scales of one to six bits; 16 is that of scikit-learn's load_digits.
_SLACK = 1e-3  # Arithmetic may leave a little more than 1.
_LIGHT = 170  # A ground that is at least so light is paper, not MNIST's black.


class Scale(NamedTuple):
    """The numbers that stand for black and for white, and a note; an empty one for bytes from 0 to 255."""

    black: float
    white: float
    note: str = ""

    def bytes_of(self, images: np.ndarray) -> np.ndarray:
        """Converts images to uint8, in pieces: 60,000 images of floats would take another 400 MB."""
        if images.dtype == np.uint8 and self.white == 255:
            return images
        brought = np.empty(images.shape, np.uint8)
        for start in range(0, len(images), 1000):
            piece = images[start : start + 1000].astype(np.float64)
            piece = (piece - self.black) * (255 / (self.white - self.black))
            brought[start : start + 1000] = np.clip(np.rint(piece), 0, 255)
        return brought


def scale(*arrays: np.ndarray) -> Scale:
    """The scale of arrays of pixels, by their type and their range; ValueError, with the reason, if it is ambiguous.

        scale(np.array([0.0, 0.5, 1.0])).white == 1

    A bool is black or white. Whole numbers of more than 8 bits have as many bits as their largest. Floats are from 0
    to 1, from -1 to 1 or from 0 to 255.
    """
    if not all(array.dtype.kind in "biuf" for array in arrays):
        raise ValueError(f"they are of type {arrays[0].dtype}, but must be numbers")
    low, high = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    if not np.isfinite([low, high]).all():
        raise ValueError("some are not finite")
    if high == low:
        raise ValueError(f"all are {high:g}")
    if all(map(is_black_and_white, arrays)):
        return Scale(0, 1, "the pixels are only 0 and 1: taken as black and white")
    floats = any(array.dtype.kind == "f" for array in arrays)
    if floats and high <= 1 + _SLACK:
        if low >= -_SLACK and high > 0.5:
            return Scale(0, 1, "the pixels are floats from 0 to 1: multiplied by 255")
        if -1 - _SLACK <= low <= -0.5 and high > 0.5:
            return Scale(-1, 1, "the pixels are floats from -1 to 1: brought to 0 to 255")
    if low < 0 or (floats and high <= 1 + _SLACK):
        raise ValueError(f"they go from {low:.4g} to {high:.4g}, as if they had been standardised or shifted")
    if floats and not all(_whole(array) for array in arrays):
        if 127 < high <= 255 + _SLACK:
            return Scale(0, 255, "the pixels are floats from 0 to 255: rounded")
        raise ValueError(f"they are floats from {low:.4g} to {high:.4g}")
    return whole_scale(int(high))


def is_black_and_white(images: np.ndarray) -> bool:
    """Whether images are booleans, or whole numbers that are only 0 and 1."""
    return images.dtype == bool or (images.dtype.kind in "iu" and images.min() >= 0 and images.max() == 1)


def _whole(array: np.ndarray) -> bool:
    pieces = (array[start : start + 1000] for start in range(0, len(array), 1000))
    return all(np.array_equal(piece, np.rint(piece)) for piece in pieces)


def whole_scale(high: int) -> Scale:
    """The scale of whole numbers from 0 to `high`, of any type."""
    if high in _SMALL:
        return Scale(0, high, f"the pixels go from 0 to {high}: brought to 0 to 255")
    if high < 64:
        raise ValueError(f"they go from 0 to {high}, which is no known scale")
    if high < 128:
        return Scale(0, 255, f"no pixel is above {high}: taken as they are, of 0 to 255")
    if high <= 255:
        return Scale(0, 255)
    bits = high.bit_length()
    if bits > 16:
        raise ValueError(f"they go up to {high:,}, but 16 bits are the most")
    return Scale(0, 2**bits - 1, f"the pixels go up to {high:,}: taken as {bits} bits and brought to 0 to 255")


def as_bytes(arrays: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Brings images, Nx28x28 of any number type, to uint8, white on black, and says how; ValueError if it is ambiguous.

    All arrays, of training and test images, have one scale and one ground. An image without any contrast is counted.

    arrays, notes = as_bytes([train_images, test_images])
    """
    highs = [float(array.max()) for array in arrays]
    if max(highs) > 8 * max(min(highs), 0.1):
        raise ValueError(
            f"those of the training images go up to {highs[0]:g}, those of the test images to {highs[1]:g}"
        )
    found = scale(*arrays)
    arrays = [found.bytes_of(array) for array in arrays]
    notes = [found.note] if found.note else []
    total = sum(map(len, arrays))
    light = sum(int((_grounds(array) >= _LIGHT).sum()) for array in arrays)
    if light > total / 2:
        arrays = [255 - array for array in arrays]
        notes.append("the images are dark on light: inverted, to be white on black as MNIST's")
    mixed = min(light, total - light)
    if mixed > total / 20:
        notes.append(f"{mixed:,} of {total:,} images are {'light on dark' if light > total / 2 else 'dark on light'}, "
                     "unlike the others: check that this is meant")  # fmt: skip
    if blank := sum(int((array.max((1, 2)) == array.min((1, 2))).sum()) for array in arrays):
        notes.append(f"{blank:,} of {total:,} images are of one grey alone")
    return arrays, notes


def _grounds(images: np.ndarray) -> np.ndarray:
    """The median of each image's outermost pixels."""
    edges = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    return np.median(np.concatenate(edges, axis=1), axis=1)
