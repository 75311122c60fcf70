"""Normalisation, and augmentation: off means untouched, every image has its own draw, names say what is transformed.

tests/parity/augmentation_test.py compares the transform with Keras's.
"""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
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
    assert transforms.augment(jax.random.key(0), IMAGES, base.get_config().augment) is IMAGES


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
        moved = np.abs(transforms.augment(jax.random.key(0), images, config) - images).max()
        assert (moved < 1e-5) == (constant_axis == axis)


def test_a_quarter_turn_about_the_centre_is_exact():
    # Interpolation at the border multiplies rounding of the rotated coordinates, hence 1e-4.
    turned = affine(theta=90.0)
    candidates = [np.rot90(IMAGES, k, axes=(1, 2)) for k in (1, 3)]
    assert min(np.abs(turned - candidate).max() for candidate in candidates) < 1e-4


@pytest.mark.parametrize("field", sorted({*AugmentNumbers._fields} - {"elastic_sigma"}))
def test_every_range_alone_changes_every_image_by_its_own_draw(field):
    config = base.get_config().augment
    config[field] = 20.0 if field in ("rotation", "shear", "elastic") else 0.3
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    out = np.asarray(transforms.augment(jax.random.key(1), same, config))
    assert len(np.unique(out.reshape(5, -1).round(4), axis=0)) == 5
    np.testing.assert_array_equal(out, transforms.augment(jax.random.key(1), same, config))
    assert out.min() >= 0 and out.max() <= 1


def displacements(count, **ranges):
    """The displacements that `augment` draws for images, count x 2 x 28 x 28."""
    with mock.patch.object(transforms, "affine", lambda images, parameters, displacement: displacement):
        images = jnp.zeros((count, 28, 28, 1))
        return np.asarray(transforms.augment(jax.random.key(7), images, AugmentNumbers(**ranges)), np.float64)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 10.0])
def test_the_amplitude_of_the_elastic_field_is_its_standard_deviation_at_every_pixel(sigma):
    count, amplitude = 3000, 1.5
    field = displacements(count, elastic=amplitude, elastic_sigma=sigma)
    of_mean = amplitude / count**0.5
    assert np.abs(field.mean(0)).max() < 5 * of_mean
    assert np.abs(field.std(0) - amplitude).max() < 5 * of_mean / 2**0.5
    assert abs(field.std() - amplitude) < 0.02 * amplitude


@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_the_elastic_field_is_as_smooth_as_its_gaussian(sigma):
    """Noise that a Gaussian has smoothed correlates over a distance d by exp(-d^2 / (4 sigma^2))."""
    field = displacements(4000, elastic=2.0, elastic_sigma=sigma)
    for distance in (1, 2, 4, 7):
        expected = np.exp(-(distance**2) / (4 * sigma**2))
        for other in (field[:, :, 14, 14 - distance], field[:, :, 14 - distance, 14]):
            for direction in (0, 1):
                found = np.corrcoef(field[:, direction, 14, 14], other[:, direction])[0, 1]
                assert found == pytest.approx(expected, abs=0.08)
    assert abs(np.corrcoef(field[:, 0, 14, 14], field[:, 1, 14, 14])[0, 1]) < 0.08, "each direction by itself"
    assert abs(np.corrcoef(field[:-1, 0, 14, 14], field[1:, 0, 14, 14])[0, 1]) < 0.08, "each image by itself"


def test_an_elastic_field_of_amplitude_zero_is_the_identity():
    off = AugmentNumbers(elastic=jnp.float32(0), elastic_sigma=jnp.float32(4))
    np.testing.assert_allclose(transforms.augment(jax.random.key(0), IMAGES, off), IMAGES, atol=1e-6)


def erased(count, side):
    """Where `augment` blackens white images, count x 28 x 28."""
    images = jnp.ones((count, 28, 28, 1))
    return np.asarray(transforms.augment(jax.random.key(3), images, AugmentNumbers(erasing=side)))[..., 0] == 0


@pytest.mark.parametrize("side", [0.02, 0.25, 0.6, 0.99])
def test_a_square_of_the_given_side_is_erased_at_a_uniform_place(side):
    found = erased(20_000, side)
    rows, columns = found.any(2), found.any(1)
    np.testing.assert_array_equal(found, rows[:, :, None] & columns[:, None, :], "a rectangle")
    for line in (rows, columns):
        within = line[~line[:, [0, -1]].any(1)].sum(1)
        assert set(within) <= {int(28 * side), int(28 * side) + 1}
    # The share of all centres, uniform in 0 to 1, that are within side / 2 of a pixel.
    pixels = (np.arange(28) + 0.5) / 28
    line = np.minimum(pixels + side / 2, 1) - np.maximum(pixels - side / 2, 0)
    np.testing.assert_allclose(found.mean(0), np.outer(line, line), atol=0.02)
    assert found.mean() == pytest.approx(line.mean() ** 2, rel=0.05)


def test_the_new_ranges_leave_the_affine_draws_as_they_are():
    """A network that was trained with rotation is rotated by the same angles when another range is added."""
    seen = []

    def spy(images, parameters, displacement=None):
        seen.append(parameters)
        return images

    with mock.patch.object(transforms, "affine", spy):
        for added in ({}, {"elastic": 1.0, "elastic_sigma": 3.0}, {"erasing": 0.3}):
            transforms.augment(jax.random.key(2), IMAGES, AugmentNumbers(rotation=9.0, **added))
    for parameters in seen[1:]:
        for one, other in zip(seen[0], parameters, strict=True):
            np.testing.assert_array_equal(one, other)
    # A square is erased after the warp, in the same image.
    whole, part = (
        np.asarray(transforms.augment(jax.random.key(2), IMAGES, AugmentNumbers(rotation=9.0, erasing=side)))
        for side in (None, 0.3)
    )
    assert 0 < (part != whole).mean() < 0.1 and (part[part != whole] == 0).all()


EVERYTHING = AugmentNumbers(10.0, 5.0, 0.1, 0.05, 0.05, elastic=1.0, elastic_sigma=3.0, erasing=0.3)


def test_members_of_a_population_are_augmented_as_by_themselves():
    numbers = [jax.tree.map(jnp.float32, EVERYTHING), jax.tree.map(lambda number: jnp.float32(number / 2), EVERYTHING)]
    keys, stacked = jax.random.split(jax.random.key(1)), jax.tree.map(lambda *each: jnp.stack(each), *numbers)
    together = jax.jit(jax.vmap(transforms.augment, (0, None, 0)))(keys, IMAGES, stacked)
    for key, own, found in zip(keys, numbers, together, strict=True):
        np.testing.assert_allclose(found, jax.jit(transforms.augment)(key, IMAGES, own), atol=1e-4)


@pytest.mark.slow
def test_the_elastic_field_is_the_same_in_float64():
    augment = jax.jit(functools.partial(transforms.augment, ranges=AugmentNumbers(elastic=1.0, elastic_sigma=3.0)))
    single = augment(jax.random.key(1), IMAGES)
    with jax.enable_x64(True):
        double = augment(jax.random.key(1), jnp.asarray(IMAGES, jnp.float64))
        assert double.dtype == jnp.float64
    np.testing.assert_allclose(double, single, atol=1e-4)


def test_pixels_are_read_with_the_bits_of_map_coordinates():
    places = np.random.default_rng(1).uniform(-5, 33, (2, 28, 28)).astype(np.float32)
    places[:, :5] = places[:, :5].round()
    ours = jax.jit(transforms._sample)(IMAGES[0, ..., 0], *places)
    theirs = jax.jit(functools.partial(map_coordinates, order=1, mode="nearest"))(IMAGES[0, ..., 0], list(places))
    np.testing.assert_array_equal(ours, theirs)


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
