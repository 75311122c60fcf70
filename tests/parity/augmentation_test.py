"""Augmentation against Keras's ImageDataGenerator and SciPy, normalisation against `keras.utils.normalize`."""

import functools
import math
from unittest import mock

import jax
import jax.numpy as jnp
import keras
from keras.src.legacy.preprocessing import image as keras_image
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
import scipy.stats

from configs import base
from digits.data import transforms
from tests.parity.comparison import load


def keras_affine(images, parameters):
    """Keras's transform of every image, with the axes that its ImageDataGenerator passes."""
    return np.stack([
        keras_image.apply_affine_transform(
            image, **{name: value[index] for name, value in parameters.items()},
            row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
        )
        for index, image in enumerate(images)
    ])  # fmt: skip


def our_affine(images, parameters):
    names = {"zx": "zoom_x", "zy": "zoom_y"}
    arguments = {names.get(name, name): jnp.asarray(value, jnp.float32) for name, value in parameters.items()}
    return np.asarray(jax.jit(transforms.affine)(jnp.asarray(images, jnp.float32), transforms.Transforms(**arguments)))


def digit_like(rng, count, height=28, width=28):
    """Blurred strokes on black, 0 to 255, off the centre: not symmetric under anything."""
    rows, columns = np.mgrid[:height, :width]
    images = np.zeros((count, height, width))
    for image in images:
        for _ in range(4):
            (r0, c0), (r1, c1) = rng.uniform(0.15, 0.75, (2, 2)) * (height, width)
            along = np.linspace(0, 1, 20)[:, None, None]
            distance = (rows - r0 - along * (r1 - r0)) ** 2 + (columns - c0 - along * (c1 - c0)) ** 2
            image += np.exp(-distance.min(0) / 1.5)
    return 255 * np.minimum(images, 1)[..., None]


NEUTRAL = {"theta": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0, "tx": 0.0, "ty": 0.0}
AFFINE_RANGES = {
    "theta": (-40, 40), "shear": (-30, 30), "zx": (0.6, 1.4), "zy": (0.6, 1.4), "tx": (-6, 6), "ty": (-6, 6)
}  # fmt: skip


@pytest.mark.parametrize("which", [*AFFINE_RANGES, "all", "as in deep_cnn", "as in plateau_cnn_as_written"])
@pytest.mark.parametrize("kind", ["digit-like", "random", "not square"])
def test_affine_transform_equals_keras(kind, which):
    """Each parameter by itself, which shows its axis and sign, and all together; to 1e-5 of the range of the pixels."""
    rng, count = np.random.default_rng(19), 12
    if kind == "digit-like":
        images = digit_like(rng, count)
    else:
        images = rng.uniform(0, 255, (count, 28, 28 if kind == "random" else 20, 1))
    images = images.astype(np.float32)
    ranges = dict(AFFINE_RANGES)
    if which == "as in deep_cnn":
        ranges = {"theta": (-5, 5), "shear": (-0.05, 0.05), "zx": (0.95, 1.05), "zy": (0.95, 1.05)}
    elif which == "as in plateau_cnn_as_written":
        ranges = {"theta": (-10, 10), "zx": (0.9, 1.1), "zy": (0.9, 1.1), "tx": (-2.8, 2.8), "ty": (-2.8, 2.8)}
    elif which != "all":
        ranges = {which: AFFINE_RANGES[which]}
    parameters = {name: np.full(count, value) for name, value in NEUTRAL.items()}
    parameters |= {name: rng.uniform(*limits, count) for name, limits in ranges.items()}
    # Keras gets the numbers that ours has, in float32.
    parameters = {name: value.astype(np.float32).astype(np.float64) for name, value in parameters.items()}
    expected = keras_affine(images.astype(np.float64), parameters)
    assert np.abs(expected - images).max() > 0.01 * 255, "the transform must do something"
    np.testing.assert_allclose(our_affine(images, parameters), expected, rtol=0, atol=1e-5 * 255)


def test_ranges_are_drawn_as_the_image_data_generator_of_keras_does():
    """Ranges, units and independence of the six draws, against 4000 draws of Keras for images of 28x20."""
    config, count = base.get_config(), 4000
    config.augment.update({"rotation": 10.0, "shear": 5.0, "zoom": 0.2, "height_shift": 0.1, "width_shift": 0.25})
    seen = {}

    def spy(images, transforms):
        seen.update(transforms._asdict(), zx=transforms.zoom_x, zy=transforms.zoom_y)
        return images

    with mock.patch.object(transforms, "affine", spy):
        transforms.augment(jax.random.key(1), jnp.zeros((count, 28, 20, 1)), config.augment)
    generator = keras_image.ImageDataGenerator(
        rotation_range=10.0, shear_range=5.0, zoom_range=0.2, height_shift_range=0.1, width_shift_range=0.25,
        data_format="channels_last",
    )  # fmt: skip
    draws = [generator.get_random_transform((28, 20, 1), seed=index) for index in range(count)]
    # tx moves columns, ty rows. Keras draws tx from its height range nevertheless; ours, on purpose, from the width's.
    as_in_keras = {"tx": "ty", "ty": "tx"}
    limits = {"theta": (-10, 10), "shear": (-5, 5), "tx": (-5, 5), "ty": (-2.8, 2.8)}
    limits |= {"zx": (0.8, 1.2), "zy": (0.8, 1.2)}
    for name, (low, high) in limits.items():
        ours = np.asarray(seen[name], np.float64)
        theirs = np.array([draw[as_in_keras.get(name, name)] for draw in draws])
        slack = 1e-6 * (high - low)
        for sample in (ours, theirs):
            assert low - slack <= sample.min() < low + 0.01 * (high - low), name
            assert high - 0.01 * (high - low) < sample.max() <= high + slack, name
        assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-4, name
    correlations = np.corrcoef([np.asarray(seen[name]) for name in limits]) - np.eye(len(limits))
    assert np.abs(correlations).max() < 5 / math.sqrt(count), "each by itself, the two zooms too"


@pytest.mark.parametrize("field, moves", [("height_shift", "rows"), ("width_shift", "columns")])
def test_shifts_move_the_axis_that_they_name(field, moves):
    config = base.get_config().augment
    config[field] = 0.2
    ramp = jnp.broadcast_to(jnp.arange(28.0)[:, None], (28, 28))
    images = jnp.stack([ramp, ramp.T])[..., None]  # The first differs between rows only, the second between columns.
    transformed = jax.jit(functools.partial(transforms.augment, ranges=config))(jax.random.key(5), images)
    moved = np.abs(np.asarray(transformed - images)).max((1, 2, 3)) > 0.1
    assert moved.tolist() == [moves == "rows", moves == "columns"]


@pytest.mark.parametrize("name", ["deep_cnn", "plateau_cnn_as_written"])
def test_augmentation_of_a_config_has_the_ranges_of_the_notebook(name):
    arguments = {
        "deep_cnn": {"rotation_range": 5, "zoom_range": 0.05, "shear_range": 0.05},
        "plateau_cnn_as_written": {
            "rotation_range": 10, "zoom_range": 0.1, "width_shift_range": 0.1, "height_shift_range": 0.1
        },
    }[name]  # fmt: skip
    generator = keras_image.ImageDataGenerator(**arguments, data_format="channels_last")
    config = load(name).augment
    assert (config.rotation, config.shear) == (generator.rotation_range, generator.shear_range)
    assert (config.height_shift, config.width_shift) == (generator.height_shift_range, generator.width_shift_range)
    assert (1 - config.zoom, 1 + config.zoom) == pytest.approx(generator.zoom_range)


def test_every_image_is_transformed_by_its_own_draw():
    image = digit_like(np.random.default_rng(0), 1)
    images = jnp.asarray(np.repeat(image, 8, axis=0), jnp.float32)
    transform = jax.jit(functools.partial(transforms.augment, ranges=load("deep_cnn").augment))
    transformed = np.asarray(transform(jax.random.key(3), images))
    differences = np.abs(transformed[:, None] - transformed[None]).max((2, 3, 4))
    assert (differences + 1000 * np.eye(8)).min() > 1
    assert np.abs(np.asarray(transform(jax.random.key(4), images)) - transformed).max() > 1


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 12.0])
def test_the_elastic_field_is_the_gaussian_filter_of_scipy_with_the_same_deviation_everywhere(sigma):
    noise = np.random.default_rng(2).uniform(-1, 1, (28, 20))
    field = functools.partial(gaussian_filter, sigma=sigma, mode="constant", truncate=60.0 / sigma)
    # The deviation of the filtered noise at a pixel is that of the noise times the norm of the pixel's weights.
    pixels = np.eye(28 * 20).reshape(-1, 28, 20)
    norms = np.sqrt(sum(field(pixel) ** 2 for pixel in pixels))
    with jax.enable_x64(True):
        ours = transforms.elastic_field(jnp.asarray(noise * math.sqrt(3)), 1.5, sigma)
    np.testing.assert_allclose(ours, 1.5 * math.sqrt(3) * field(noise) / norms, rtol=0, atol=1e-9)


def test_the_amplitude_of_alpha_is_as_documented():
    """Away from the edge, in the usual recipe of the elastic distortion."""
    noise, alpha, sigma = np.random.default_rng(3).uniform(-1, 1, (28, 28)), 34.0, 2.0
    usual = alpha * gaussian_filter(noise, sigma, mode="constant", truncate=8)
    amplitude = alpha / (2 * math.sqrt(3 * math.pi) * sigma)
    ours = transforms.elastic_field(jnp.asarray(noise * math.sqrt(3), jnp.float32), amplitude, sigma)
    np.testing.assert_allclose(ours[10:18, 10:18], usual[10:18, 10:18], rtol=0, atol=1e-3 * np.abs(usual).max())
    assert 34 / (2 * math.sqrt(3 * math.pi) * 4) == pytest.approx(1.4, abs=0.02)


def test_a_displacement_is_added_to_the_places_as_in_scipy():
    rng, count = np.random.default_rng(4), 4
    images, displacement = digit_like(rng, count), rng.normal(0, 3, (count, 2, 28, 28))
    parameters = {name: np.full(count, value) for name, value in NEUTRAL.items()}
    with jax.enable_x64(True):
        arguments = transforms.Transforms(*(jnp.asarray(value) for value in parameters.values()))
        ours = transforms.affine(jnp.asarray(images), arguments, jnp.asarray(displacement))
    for image, moved, found in zip(images[..., 0], displacement, ours[..., 0], strict=True):
        expected = map_coordinates(image, np.mgrid[:28, :28] + moved, order=1, mode="nearest")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * 255)


def uint8_images():
    rng = np.random.default_rng(23)
    images = np.round(digit_like(rng, 40)[..., 0]).astype(np.uint8)  # With empty columns.
    images[20:] = rng.integers(0, 256, (20, 28, 28))
    images[0] = 0
    images[1:20, :, :3] = 0
    return images


def test_column_normalisation_equals_keras():
    images = uint8_images()
    expected = keras.utils.normalize(images.astype(np.float64), axis=1)
    ours = jax.jit(transforms.normalize, static_argnums=1)(images, "column_l2")
    assert ours.dtype == jnp.float32 and ours.shape == (40, 28, 28, 1)
    np.testing.assert_allclose(ours[..., 0], expected, rtol=0, atol=1e-6)


def test_unit_normalisation_is_the_notebooks_division():
    images = uint8_images()
    ours = jax.jit(transforms.normalize, static_argnums=1)(images, "unit")
    np.testing.assert_allclose(ours[..., 0], images / 255, rtol=0, atol=1e-7)
