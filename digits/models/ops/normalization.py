"""BatchNorm of training: on a CPU with a C++ compiler in as few passes over the images as there can be (native.py)."""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from digits.models.ops import convolution, native


def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, implementation: str = "auto"
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises N...xC by the mean and the variance of each channel.

    Returns:
      The result, and mean and variance, C each, through which no gradient flows by themselves.
    """
    if x.ndim == 4 and convolution.choose(implementation, x.dtype) == "native":
        y, mean, variance = _native(x, scale, bias, epsilon)
    else:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        variance = jnp.maximum(0, jnp.square(x).mean(axes) - jnp.square(mean))
        y = (x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias
    return y, lax.stop_gradient(mean), lax.stop_gradient(variance)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native(x, scale, bias, epsilon):
    return native.batch_norm(x, scale, bias, epsilon)


def _forward(x, scale, bias, epsilon):
    y, mean, variance = native.batch_norm(x, scale, bias, epsilon)
    return (y, mean, variance), (x, mean, variance, scale)


def _backward(epsilon, saved, gradients):
    x, mean, variance, scale = saved
    return native.batch_norm_gradient(x, gradients[0], mean, variance, scale, epsilon)


_native.defvjp(_forward, _backward)
