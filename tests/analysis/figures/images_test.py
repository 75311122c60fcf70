"""Pictures of weights, training images and augmented images."""

import numpy as np
import pytest

from digits.analysis.figures.images import augmentation, filters, first_of_each
from tests.conftest import tiny_config


@pytest.mark.parametrize("shape, shown", [((3, 3, 1, 20), 20), ((5, 5, 1, 100), 64), ((784, 12), 12)])
def test_filters_are_the_weights_around_zero(shape, shown):
    kernel = np.random.default_rng(0).normal(size=shape)
    axes, bar = filters(kernel).axes
    image = axes.images[0]
    assert image.norm.vmin == -image.norm.vmax and image.cmap.name == "RdBu_r" and bar.get_ylabel() == "weight"
    wall = image.get_array()
    side = 28 if len(shape) == 2 else shape[0]
    assert wall.count() == shown * side * side
    np.testing.assert_array_equal(wall[:side, :side], kernel[..., 0].reshape(side, side))
    # The second stands beside the first, behind a gap.
    gap = max(1, side // 10)
    np.testing.assert_array_equal(wall[:side, side + gap : 2 * side + gap], kernel[..., 1].reshape(side, side))
    assert str(shape[-1]) in axes.get_title() and ("the first 64" in axes.get_title()) == (shape[-1] > 64)


def test_dead_filters_are_white():
    assert filters(np.zeros((3, 3, 1, 2))).axes[0].images[0].norm.vmax == 1


def test_examples_are_of_every_class_in_turn():
    labels = np.array([1, 1, 0, 0, 1, 2])
    assert first_of_each(labels, 3, 2) == [2, 0, 5, 3, 1]


def test_augmentation_is_rows_of_draws_below_the_originals():
    images, config = np.zeros((3, 28, 28), np.uint8), tiny_config().augment
    images[:, 4:20, 10:14] = 255
    ink = 255 - augmentation(images, config, draws=2)[..., 0].astype(int)
    rows = np.split(ink[8 : 8 + 3 * 92], 3)  # 28 pixels of 3, and the gap of 8.
    assert len(ink) == 8 + 3 * 92
    assert not np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[1], rows[2])
    assert rows[1].sum() == pytest.approx(rows[0].sum(), rel=0.1)  # Turned, not lost.
