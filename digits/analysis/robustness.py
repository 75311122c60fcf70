"""Measures how accuracy falls when images change: shifts, rotations, blur, noise, contrast and brightness.

Outside an image all is empty (0). Every change is deterministic; an amount of 0, or a contrast of 1, returns the image
itself.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage

from digits.analysis import statistics

_NOISE_SEED = 0


def shift_right(images: np.ndarray, pixels: int) -> np.ndarray:
    """Moves images of NxHxW right, or by negative pixels left."""
    return ndimage.shift(images, (0, 0, pixels), order=0)


def shift_down(images: np.ndarray, pixels: int) -> np.ndarray:
    """Moves images of NxHxW down, or by negative pixels up."""
    return ndimage.shift(images, (0, pixels, 0), order=0)


def rotate(images: np.ndarray, degrees: float) -> np.ndarray:
    """Turns images of NxHxW anticlockwise about their centre; interpolates linearly between pixels."""
    return _by_value(images, lambda values: ndimage.rotate(values, degrees, (1, 2), reshape=False, order=1))


def blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs images of NxHxW by a Gaussian; sigma in pixels."""
    return _by_value(images, lambda values: ndimage.gaussian_filter(values, (0, sigma, sigma), mode="constant"))


def add_noise(images: np.ndarray, std: float) -> np.ndarray:
    """Adds Gaussian noise to images of NxHxW, clipped at black and white; its std as a fraction of white."""
    normal = np.random.default_rng(_NOISE_SEED).standard_normal(images.shape)
    return _by_value(images, lambda values: values + std * normal)


def contrast(images: np.ndarray, factor: float) -> np.ndarray:
    """Multiplies the distance of every pixel from its image's mean, as Hendrycks and Dietterich 2019 do."""

    def change(values):
        means = values.mean(axis=(1, 2), keepdims=True)
        return means + factor * (values - means)

    return _by_value(images, change)


def brighten(images: np.ndarray, amount: float) -> np.ndarray:
    """Adds an amount, a fraction of white, to every pixel, up to white."""
    return _by_value(images, lambda values: values + amount)


def _by_value(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Applies a change to images as values from 0 to 1, and clips them. uint8 images stay uint8, floats stay floats."""
    if images.dtype != np.uint8:
        return np.clip(change(images), 0, 1).astype(images.dtype)
    return np.rint(np.clip(change(images / 255), 0, 1) * 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Change:
    """A change of images: a function of images and an amount, the amounts to measure at, and their unit."""

    function: Callable[[np.ndarray, Any], np.ndarray]
    amounts: Sequence[float]
    unit: str


CHANGES = {
    "shift right": Change(shift_right, (-4, -3, -2, -1, 1, 2, 3, 4), "pixels"),
    "shift down": Change(shift_down, (-4, -3, -2, -1, 1, 2, 3, 4), "pixels"),
    "rotation anticlockwise": Change(rotate, (-45, -30, -15, -5, 5, 15, 30, 45), "degrees"),
    "Gaussian blur": Change(blur, (0.5, 1.0, 1.5, 2.0, 3.0), "sigma in pixels"),
    "Gaussian noise": Change(add_noise, (0.1, 0.2, 0.3, 0.4, 0.6), "std, fraction of white"),
    "contrast": Change(contrast, (0.75, 0.5, 0.25, 0.1, 0.05), "factor"),
    "brightness": Change(brighten, (0.1, 0.2, 0.3, 0.5), "added, fraction of white"),
}
COUNT = 1 + sum(len(change.amounts) for change in CHANGES.values())  # The number of rows of `measure`.


def spread(count: int, most: int) -> np.ndarray:
    """Chooses at most `most` of `count` examples, evenly spaced, because the first may be of one class or writer."""
    n = min(count, most)
    return np.arange(n) * count // n


def measure(
    logits: Callable[[np.ndarray], np.ndarray], images: np.ndarray, labels: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Measures accuracy on the images as they are, and then under every change of CHANGES.

    Args:
      logits: maps images, NxHxW, to logits, NxK, such as `Run.logits`.
      images: uint8 NxHxW, white on black.
      labels: N.

    Yields:
      A dict for each amount of each change, "none" first: change, amount, unit, accuracy, its 95% accuracy_interval
      (Wilson) and n.
    """
    unchanged = {"none": Change(lambda images, _: images, (0,), "")}
    for name, change in (unchanged | CHANGES).items():
        for amount in change.amounts:
            predictions = logits(change.function(images, amount)).argmax(axis=-1)
            correct, n = int(np.sum(predictions == labels)), len(labels)
            row = {"change": name, "amount": amount, "unit": change.unit, "accuracy": correct / n}
            yield row | {"accuracy_interval": statistics.wilson(correct, n), "n": n}
