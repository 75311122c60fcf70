"""Transforms of images on the device: normalisation, and augmentation by random affine and elastic maps and erasing."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from digits.config.numbers import AugmentNumbers, Number, of_section
from digits.data.dataset import SIDE
from digits.errors import UserError
from digits.runtime.devices import Shard

NORMALIZATIONS = ("unit", "column_l2")


def augment(
    key: jax.Array, images: jax.Array, ranges: AugmentNumbers | ConfigDict, shard: Shard | None = None
) -> jax.Array:
    """Transforms every image by its own draw from the ranges: `augment(key, images, config.augment)`.

    Args:
      key: a random key.
      images: float, NxHxWx1.
      ranges: a `config.augment`, or its numbers; digits/config/fields.py says what they mean.
      shard: the part of the batch that the images are; None for the whole batch.

    Returns:
      The transformed images, same shape and type; the images themselves if every range is zero.
    """
    if isinstance(ranges, ConfigDict):
        ranges = of_section(AugmentNumbers, ranges)
    shard = shard or Shard(len(images))
    if any(amount is not None for amount in ranges._replace(erasing=None)):
        images = _random_warp(key, images, ranges, shard)
    if ranges.erasing is not None:
        images = _random_erasing(jax.random.fold_in(key, 2), images, ranges.erasing, shard)
    return images


def _random_warp(key: jax.Array, images: jax.Array, ranges: AugmentNumbers, shard: Shard) -> jax.Array:
    """Moves pixels by a random affine map of Keras's ranges and a random elastic field, and resamples once."""
    rotation, shear, zoom, height_shift, width_shift = (0.0 if amount is None else amount for amount in ranges[:5])
    height, width = images.shape[1:3]
    draw = shard.own(jax.random.uniform(key, (6, shard.batch), images.dtype, -1, 1), axis=1)
    transforms = Transforms(
        theta=draw[0] * rotation,
        shear=draw[1] * shear,
        zoom_x=1 + draw[2] * zoom,
        zoom_y=1 + draw[3] * zoom,
        tx=draw[4] * width_shift * width,
        ty=draw[5] * height_shift * height,
    )
    if ranges.elastic is None:
        return affine(images, transforms)
    # A word is the noise of four pixels: the sum of some dozens does not tell 256 levels from more.
    numbers = 2 * height * width
    words = shard.own(jax.random.bits(jax.random.fold_in(key, 1), (shard.batch, -(-numbers // 4)), jnp.uint32))
    levels = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(len(words), -1)[:, :numbers]
    noise = (levels.astype(images.dtype) - 127.5) * math.sqrt(12 / (256**2 - 1))
    field = elastic_field(noise.reshape(-1, 2, height, width), ranges.elastic, ranges.elastic_sigma)
    return affine(images, transforms, field)


def elastic_field(noise: jax.Array, amplitude: Number, sigma: Number) -> jax.Array:
    """Smooths noise into the displacements of an elastic distortion (Simard, Steinkraus & Platt 2003), in pixels.

    Elsewhere alpha times a Gaussian of sum 1 smooths uniform noise in [-1, 1]. That is an amplitude of
    alpha / (2 sqrt(3 pi) sigma): alpha 34 and sigma 4 are 1.4 pixels.

    Args:
      noise: ...xHxW, independent numbers of mean 0 and variance 1.
      amplitude: the standard deviation of the displacements, at every pixel.
      sigma: the standard deviation of the Gaussian that smooths, in pixels. Noise beyond the edge is zero.
    """

    def smoothing(size):
        places = jnp.arange(size, dtype=noise.dtype)
        weights = jnp.exp(-0.5 * jnp.square((places[:, None] - places) / sigma))
        # Rows of norm 1 keep the variance of the noise, at the edge too, where fewer pixels are summed.
        return weights / jnp.linalg.norm(weights, axis=1, keepdims=True)

    height, width = noise.shape[-2:]
    return amplitude * (smoothing(height) @ noise @ smoothing(width).T)


def _random_erasing(key: jax.Array, images: jax.Array, side: Number, shard: Shard) -> jax.Array:
    """Blackens a square in every image; its centre is uniform in the image, so that a part of it may be outside."""

    def inside(size, place):
        return jnp.abs(jnp.arange(size) + 0.5 - place[:, None] * size) < side * size / 2

    height, width = images.shape[1:3]
    draw = shard.own(jax.random.uniform(key, (2, shard.batch), images.dtype), axis=1)
    rows, columns = inside(height, draw[0]), inside(width, draw[1])
    return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], 0, images)


class Transforms(NamedTuple):
    """The parameters of N affine transforms: angles in degrees, shifts in pixels along columns (tx) and rows (ty)."""

    theta: jax.Array
    shear: jax.Array
    zoom_x: jax.Array
    zoom_y: jax.Array
    tx: jax.Array
    ty: jax.Array


def affine(images: jax.Array, transforms: Transforms, displacement: jax.Array | None = None) -> jax.Array:
    """Transforms images, NxHxWx1, each by its own transform, as Keras's `apply_affine_transform` does.

    Output pixel p takes the value of the input at A p + b: linear between pixels, the nearest pixel beyond the edge.
    With the origin moved to the image's centre, the homogeneous matrix is rotation @ shift @ shear @ zoom. Keras
    exchanges its rows and columns before use. Keras's generator draws tx from its height range, and since the exchange
    tx moves columns. `augment` follows the names of the ranges instead. With equal ranges, as in the documented
    experiments, both agree.

    A displacement, Nx2xHxW, is added to the rows and columns A p + b.
    """
    height, width = images.shape[1:3]

    def one(image, transform, displacement):
        theta, shear = jnp.deg2rad(transform.theta), jnp.deg2rad(transform.shear)
        rotation = jnp.array([[jnp.cos(theta), -jnp.sin(theta)], [jnp.sin(theta), jnp.cos(theta)]])
        skew = jnp.array([[1, -jnp.sin(shear)], [0, jnp.cos(shear)]])
        matrix = rotation @ skew @ jnp.diag(jnp.stack([transform.zoom_x, transform.zoom_y]))
        # As in Keras, the centre is built in (rows, columns) and exchanged with the rest: a pixel off for H != W.
        centre = jnp.array([height / 2 - 0.5, width / 2 - 0.5])
        offset = rotation @ jnp.stack([transform.tx, transform.ty]) + centre - matrix @ centre
        matrix, offset = matrix[::-1, ::-1], offset[::-1]
        rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
        points = matrix @ jnp.stack([rows.ravel(), columns.ravel()]).astype(image.dtype) + offset[:, None]
        points = points.reshape(2, height, width)
        if displacement is not None:
            points += displacement
        return _sample(image[..., 0], *points)[..., None]

    return jax.vmap(one)(images, transforms, displacement)


def _sample(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The values of an image, HxW, at places between its pixels: linear, and the nearest pixel beyond the edge.

    These are the bits of `jax.scipy.ndimage.map_coordinates`, which checks bounds that cannot be left here.
    """

    def neighbours(places, size):
        lower = jnp.floor(places)
        weight, index = places - lower, lower.astype(jnp.int32)
        return jnp.clip(index, 0, size - 1), jnp.clip(index + 1, 0, size - 1), 1 - weight, weight

    def pixels(row, column):
        return image.at[row, column].get(mode="promise_in_bounds")

    top, bottom, of_top, of_bottom = neighbours(rows, image.shape[0])
    left, right, of_left, of_right = neighbours(columns, image.shape[1])
    upper = of_top * of_left * pixels(top, left) + of_top * of_right * pixels(top, right)
    value = upper + of_bottom * of_left * pixels(bottom, left) + of_bottom * of_right * pixels(bottom, right)
    return value.astype(image.dtype)


def normalize(images: jax.Array, kind: str) -> jax.Array:
    """Normalises pixels of 0 to 255 for the network.

    Args:
      images: Nx28x28 or Nx28x28x1, any number type.
      kind: "unit" (pixels / 255) or "column_l2" (each image column divided by its L2 norm over the rows, zero columns
        stay zero: Keras's `keras.utils.normalize(x, axis=1)`).

    Returns:
      float32 (float64 stays), Nx28x28x1.

    Raises:
      UserError: there is no such kind.
    """
    if kind not in NORMALIZATIONS:
        raise UserError(f"kind is {kind!r}, but it must be one of {', '.join(NORMALIZATIONS)}.")
    x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    # The channel is added last: XLA's CPU backend vectorises over the last axis, ten times slower if that has length 1.
    x = x.reshape(x.shape[0], SIDE, SIDE)
    if kind == "unit":
        x = x / 255
    else:
        norm = jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True))
        x = x / jnp.where(norm == 0, 1, norm)
    return x[..., None]
