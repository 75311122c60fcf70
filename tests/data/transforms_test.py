"""Normalisation, and augmentation: off means untouched, every image has its own draw, names say what is transformed.

tests/parity/augmentation_test.py compares the transform with Keras's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits.config.numbers import AugmentNumbers
from digits.data import splits, transforms
from digits.errors import UserError
from tests.made_datasets import small_sets

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


def column_l2(images):
    """Keras's normalize(x, axis=1), in float64."""
    x = images.astype(np.float64)
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    norm[norm == 0] = 1
    return x / norm


EXPECTED = {"unit": lambda images: images.astype(np.float64) / 255, "column_l2": column_l2}


@pytest.mark.parametrize("channel", [False, True], ids=["NxHxW", "NxHxWx1"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("kind", transforms.NORMALIZATIONS)
def test_normalize_equals_numpy(kind, dtype, channel):
    images = small_sets()[0]
    images[0] = 0
    images[1, :, 5:20] = 0
    images[2] = 255
    given = images.astype(dtype).reshape(-1, 28, 28, *[1] * channel)
    result = transforms.normalize(jnp.asarray(given), kind)
    assert result.shape == (40, 28, 28, 1) and result.dtype == jnp.float32
    np.testing.assert_allclose(result[..., 0], EXPECTED[kind](images), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", transforms.NORMALIZATIONS)
def test_normalize_keeps_float64(kind):
    images = small_sets()[0]
    with jax.enable_x64(True):
        result = transforms.normalize(jnp.asarray(images, jnp.float64), kind)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result[..., 0], EXPECTED[kind](images), rtol=1e-14, atol=0)


def test_column_l2_keeps_zero_columns_and_gives_the_others_norm_one():
    images = small_sets()[0]
    images[:, :, ::3] = 0
    result = np.asarray(transforms.normalize(jnp.asarray(images), "column_l2"))[..., 0]
    assert np.all(result[:, :, ::3] == 0)
    norms = np.sqrt((result**2).sum(axis=1))
    np.testing.assert_allclose(np.delete(norms, np.s_[::3], axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["", "minmax", "Unit"])
def test_unknown_normalization_is_refused(kind):
    config = base.get_config().data
    config.normalization = kind
    with pytest.raises(UserError) as error:
        splits.check(config)
    message = str(error.value)
    assert "config.data.normalization" in message and repr(kind) in message and "column_l2, unit" in message

    with pytest.raises(UserError, match=f"kind is {kind!r}, but it must be one of unit, column_l2"):
        transforms.normalize(np.zeros((1, 28, 28)), kind)
