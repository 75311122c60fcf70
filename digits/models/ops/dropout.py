"""Dropout with 8 or 16 random bits for each number, a quarter or half of the usual 32."""

import jax
from jax import lax
import jax.numpy as jnp

from digits.config.numbers import dropout_bits
from digits.models.ops import convolution, native
from digits.runtime.devices import Shard


def inverted_dropout(
    x: jax.Array,
    rate: float | jax.Array,
    key: jax.Array,
    bits: int | None = None,
    shard: Shard | None = None,
    implementation: str = "auto",
) -> jax.Array:
    """Zeroes each number with probability `rate` and divides the rest by 1 - rate.

    Args:
      x: Nx..., with a `shard` its rows of a batch.
      rate: the probability, rounded to 1/256 with 8 random bits a number, to 1/65536 with 16.
      key: a random key.
      bits: 8 or 16. If None: 8 when rate * 256 is whole, else 16. For a traced rate `bits` is required.
      shard: the part of a batch that x is. The numbers are drawn for the whole batch.
      implementation: of the network's convolutions. Compiled code draws the numbers for images that it convolves. The
        numbers are the same.
    """
    shard = shard or Shard(len(x))
    each = x.size // len(x)
    count = shard.batch * each
    bits = bits or dropout_bits(rate)
    threshold = jnp.minimum(jnp.round(rate * 2.0**bits), 2**bits - 1).astype(jnp.uint8 if bits == 8 else jnp.uint16)
    # One draw of 32 bits serves several numbers. The barrier keeps XLA from repeating the draw for each of them.
    compiled = x.ndim == 4 and convolution.choose(implementation, x.dtype) == "native"
    words = lax.optimization_barrier(_random_words(key, -(-count * bits // 32), compiled))
    shifts = jnp.arange(0, 32, bits, dtype=jnp.uint32)[:, None]
    drawn = (words >> shifts).astype(jnp.uint8 if bits == 8 else jnp.uint16).reshape(-1)[:count]
    drawn = shard.own(drawn, each=each)
    return jnp.where(drawn.reshape(x.shape) >= threshold, x / (1 - rate), 0)


def _random_words(key: jax.Array, count: int, compiled: bool) -> jax.Array:
    """`count` random uint32; `compiled` code has them for JAX's default generator."""
    partitionable = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    if compiled and partitionable and str(jax.random.key_impl(key)) == "threefry2x32":
        return native.random_bits(jax.random.key_data(key), count)
    return jax.random.bits(key, (count,), jnp.uint32)
