"""Dropout with 8 or 16 random bits for each number, a quarter or half of the usual 32."""

import jax
from jax import lax
import jax.numpy as jnp

from digits.config.numbers import dropout_bits
from digits.runtime.devices import Shard


def inverted_dropout(
    x: jax.Array, rate: float | jax.Array, key: jax.Array, bits: int | None = None, shard: Shard | None = None
) -> jax.Array:
    """Zeroes each number with probability `rate` and divides the rest by 1 - rate.

    Args:
      x: Nx..., with a `shard` its rows of a batch.
      rate: the probability, rounded to 1/256 with 8 random bits a number, to 1/65536 with 16.
      key: a random key.
      bits: 8 or 16. If None: 8 when rate * 256 is whole, else 16. For a traced rate `bits` is required.
      shard: the part of a batch that x is. The numbers are drawn for the whole batch.
    """
    shard = shard or Shard(len(x))
    each = x.size // len(x)
    count = shard.batch * each
    bits = bits or dropout_bits(rate)
    threshold = jnp.minimum(jnp.round(rate * 2.0**bits), 2**bits - 1).astype(jnp.uint8 if bits == 8 else jnp.uint16)
    # One draw of 32 bits serves several numbers. The barrier keeps XLA from repeating the draw for each of them.
    words = lax.optimization_barrier(jax.random.bits(key, (-(-count * bits // 32),), jnp.uint32))
    shifts = jnp.arange(0, 32, bits, dtype=jnp.uint32)[:, None]
    drawn = (words >> shifts).astype(jnp.uint8 if bits == 8 else jnp.uint16).reshape(-1)[:count]
    drawn = shard.own(drawn, each=each)
    return jnp.where(drawn.reshape(x.shape) >= threshold, x / (1 - rate), 0)
