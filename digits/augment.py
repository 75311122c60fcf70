"""Random affine transforms of images, on the device: the ones of Keras's ImageDataGenerator."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from ml_collections import ConfigDict

from digits.parallel import Shard
from digits.scalars import is_on

FIELDS = ("rotation", "shear", "zoom", "height_shift", "width_shift")


def random_affine(key: jax.Array, images: jax.Array, config: ConfigDict, shard: Shard | None = None) -> jax.Array:
    """Transforms every image by its own draw from the ranges of a `config.augment`.

    Args:
      key: a random key.
      images: float, NxHxWx1.
      config: `config.augment`: rotation and shear in degrees, shifts in fractions of height and width, zoom as the
        largest deviation from 1, drawn for each axis by itself.
      shard: which rows of a batch the images are; without, they are all.

    Returns:
      The transformed images, same shape and type; the images themselves if every range is zero.
    """
    if not any(is_on(config[name]) for name in FIELDS):
        return images
    n, height, width, _ = images.shape
    shard = shard or Shard(n)
    draw = shard.own(jax.random.uniform(key, (6, shard.batch), images.dtype, -1, 1), axis=1)
    return affine(
        images,
        theta=draw[0] * config.rotation,
        shear=draw[1] * config.shear,
        zoom_x=1 + draw[2] * config.zoom,
        zoom_y=1 + draw[3] * config.zoom,
        tx=draw[4] * config.width_shift * width,
        ty=draw[5] * config.height_shift * height,
    )


def affine(images, theta, shear, zoom_x, zoom_y, tx, ty):
    """Keras's `apply_affine_transform` of NxHxWx1 with parameters of shape N.

    Angles in degrees, shifts in pixels: tx along the columns, ty along the rows. (Keras's generator draws tx from its
    height range, which since the exchange below moves columns; `random_affine` keeps to what the names say. With equal
    ranges, as in the documented experiments, the two do not differ.) Output pixel p takes the value of the input at A p + b: linear between
    pixels, the nearest pixel beyond the edge. With the origin moved to the image's centre, the homogeneous matrix is
    rotation @ shift @ shear @ zoom; Keras exchanges rows and columns of it before use.
    """
    height, width = images.shape[1:3]

    def one(image, theta, shear, zoom_x, zoom_y, tx, ty):
        theta, shear = jnp.deg2rad(theta), jnp.deg2rad(shear)
        rotation = jnp.array([[jnp.cos(theta), -jnp.sin(theta)], [jnp.sin(theta), jnp.cos(theta)]])
        skew = jnp.array([[1, -jnp.sin(shear)], [0, jnp.cos(shear)]])
        matrix = rotation @ skew @ jnp.diag(jnp.stack([zoom_x, zoom_y]))
        # The centre is built in (rows, columns) and exchanged with the rest, as Keras does: a pixel off for H != W.
        centre = jnp.array([height / 2 - 0.5, width / 2 - 0.5])
        offset = rotation @ jnp.stack([tx, ty]) + centre - matrix @ centre
        matrix, offset = matrix[::-1, ::-1], offset[::-1]
        rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
        points = matrix @ jnp.stack([rows.ravel(), columns.ravel()]).astype(image.dtype) + offset[:, None]
        values = map_coordinates(image[..., 0], [points[0], points[1]], order=1, mode="nearest")
        return values.reshape(height, width, 1)

    return jax.vmap(one)(images, theta, shear, zoom_x, zoom_y, tx, ty)
