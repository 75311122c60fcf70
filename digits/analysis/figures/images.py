"""Figures made of images: first-layer filters, augmentation, and the choice of examples of every class."""

import math

import jax
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from digits.analysis.figures import sheet
from digits.analysis.figures.style import new_figure, styled
from digits.data import transforms

_COLUMNS = 8  # Of filters, at most.


@styled
def filters(kernel: np.ndarray, most: int = 64) -> Figure:
    """Draws the weights of a first layer: for each unit a picture of the pixels that it sees.

        filters(run.model.conv_1.kernel).savefig("filters.png")

    Args:
      kernel: HxWx1xC of a convolution, or (H*H)xC of a dense layer, on images of one channel.
      most: the number of units shown.

    Returns:
      A figure: negative weights blue, positive ones red, zero white, on one scale for all units.
    """
    kernel = np.asarray(kernel)
    units = kernel.shape[-1]
    side = math.isqrt(kernel.shape[0]) if kernel.ndim == 2 else kernel.shape[0]
    pictures = np.moveaxis(kernel.reshape(side, -1, units), -1, 0)[:most]
    columns = min(len(pictures), _COLUMNS)
    rows = math.ceil(len(pictures) / columns)
    gap = max(1, side // 10)
    wall = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap), np.nan)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (side + gap), i % columns * (side + gap)
        wall[top : top + side, left : left + side] = picture
    width, height = (margin + 4.6 * count / _COLUMNS for margin, count in ((1.2, columns), (0.9, rows)))
    figure = new_figure(max(width, 4), height)
    axes, largest = figure.subplots(), float(np.abs(pictures).max()) or 1.0
    image = axes.imshow(wall, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    axes.set_axis_off()
    some = f"the first {len(pictures)} of " if len(pictures) < units else ""
    axes.set_title(f"First layer: {some}{units} units of {side}x{side} weights")
    figure.colorbar(image, ax=axes, label="weight", fraction=0.05, aspect=12 * rows**0.5)
    return figure


def first_of_each(labels: np.ndarray, classes: int, times: int = 1) -> list[int]:
    """Finds the first example of each class, then the second of each, and so on; returns their indices.

    first_of_each(np.array([1, 0, 1]), classes=2) == [1, 0]
    """
    first = [np.flatnonzero(np.asarray(labels) == c)[:times] for c in range(classes)]
    return [int(of[i]) for i in range(times) for of in first if i < len(of)]


def augmentation(images: np.ndarray, config: ConfigDict, draws: int = 4, seed: int = 0) -> np.ndarray:
    """Draws augmented images as training sees them: a row of originals over rows of draws; a picture, HxWx3, uint8.

    Args:
      images: Nx28x28, uint8.
      config: `config.augment`, with at least one range above 0.
      draws: the number of rows of draws.
      seed: seeds the draws.
    """
    transform = jax.jit(lambda key, images: transforms.augment(key, images, config))
    many = np.tile(np.asarray(images, np.float32), (draws, 1, 1))[..., None]
    drawn = np.asarray(transform(jax.random.key(seed), many))[..., 0]
    rows = np.concatenate([images, np.round(np.clip(drawn, 0, 255)).astype(np.uint8)])
    return sheet.sheet(rows, columns=len(images))
