"""Augmentation: off means untouched, every image has its own draw, and the transform does what its name says.

tests/parity/augmentation_test.py compares the transform with Keras's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits.config.numbers import AugmentNumbers
from digits.data import transforms

IMAGES = jnp.asarray(np.random.default_rng(0).random((5, 28, 28, 1)), jnp.float32)
NOTHING = {"theta": 0.0, "shear": 0.0, "zoom_x": 1.0, "zoom_y": 1.0, "tx": 0.0, "ty": 0.0}


def affine(**changed):
    chosen = transforms.Transforms(**{k: jnp.full(5, v) for k, v in (NOTHING | changed).items()})
    return np.asarray(transforms.affine(IMAGES, chosen))


def test_no_range_leaves_the_images_untouched():
    assert transforms.random_affine(jax.random.key(0), IMAGES, base.get_config().augment) is IMAGES


def test_the_identity_is_exact():
    np.testing.assert_allclose(affine(), IMAGES, atol=1e-6)


def test_shifts_move_rows_and_columns_and_repeat_the_edge():
    np.testing.assert_allclose(affine(ty=3.0)[:, :-3], IMAGES[:, 3:], atol=1e-5)
    np.testing.assert_allclose(affine(ty=3.0)[:, -1], IMAGES[:, -1], atol=1e-5)
    np.testing.assert_allclose(affine(tx=-2.0)[:, :, 2:], IMAGES[:, :, :-2], atol=1e-5)


@pytest.mark.parametrize("field, axis", [("height_shift", 1), ("width_shift", 2)])
def test_shift_ranges_move_the_axis_they_name(field, axis):
    """An image that is constant along an axis does not change when it is shifted along that axis."""
    config = base.get_config().augment
    config[field] = 0.3
    for constant_axis in (1, 2):
        images = jnp.broadcast_to(IMAGES.mean(constant_axis, keepdims=True), IMAGES.shape)
        moved = np.abs(transforms.random_affine(jax.random.key(0), images, config) - images).max()
        assert (moved < 1e-5) == (constant_axis == axis)


def test_a_quarter_turn_about_the_centre_is_exact():
    # Interpolation at the border multiplies rounding of the rotated coordinates, hence 1e-4.
    turned = affine(theta=90.0)
    candidates = [np.rot90(IMAGES, k, axes=(1, 2)) for k in (1, 3)]
    assert min(np.abs(turned - candidate).max() for candidate in candidates) < 1e-4


@pytest.mark.parametrize("field", AugmentNumbers._fields)
def test_every_range_alone_changes_every_image_by_its_own_draw(field):
    config = base.get_config().augment
    config[field] = 0.3 if field in ("zoom", "height_shift", "width_shift") else 20.0
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    out = np.asarray(transforms.random_affine(jax.random.key(1), same, config))
    assert len(np.unique(out.reshape(5, -1).round(4), axis=0)) == 5
    np.testing.assert_array_equal(out, transforms.random_affine(jax.random.key(1), same, config))
    assert out.min() >= 0 and out.max() <= 1
