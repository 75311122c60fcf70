"""Convolution and max pooling: the functions of the stock operations, as fast as the backend allows.

XLA's CPU backend runs the weight gradient of a stock convolution several times slower inside a compiled loop than
outside it, and max pooling's gradient (`select_and_scatter`) is slow everywhere on the CPU. On a CPU with a C++
compiler, convolution, bias, ReLU and 2x2 pooling are therefore one compiled function (native.py). Without a compiler, a
convolution is a matrix product (products.py), and pooling remembers which of the four pixels won. Values and gradients
are those of the stock operations up to rounding.
"""

from collections.abc import Callable
import functools
import sys

import jax
from jax import lax
import jax.numpy as jnp

from digits.models.ops import native, products

IMPLEMENTATIONS = ("auto", "stock", "dot", "native")


def choose(implementation: str, dtype: jnp.dtype = jnp.float32) -> str:
    """Chooses "stock", "dot" or "native": `choose("auto")` is the fastest here.

    Compiled convolutions calculate in float32 only. Other types take matrix products instead.
    """
    if implementation == "auto":
        if jax.default_backend() != "cpu":
            return "stock"
        implementation = "native"
        if dtype == jnp.float32 and (problem := native.problem()):
            _say_slow(problem)
            return "dot"
    return "dot" if implementation == "native" and dtype != jnp.float32 else implementation


@functools.cache
def _say_slow(problem: str) -> None:
    """Says it once, and not for each layer."""
    print(
        "The convolutions are computed as matrix products, which takes four to eight times as long and gives other "
        f"last digits ({problem}): install g++ or clang++, or name a C++ compiler in CXX.",
        file=sys.stderr,
        flush=True,
    )


def conv_block(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    padding: str,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    window: int = 1,
    implementation: str = "auto",
) -> jax.Array:
    """Computes max_pool(activation(conv(x, kernel, padding) + bias), window), in one pass where that is faster.

    One pass reads and writes values that do not fit in the caches once instead of four times. The arguments are those
    of `conv` and `max_pool`.
    """
    relu = activation is jax.nn.relu
    if choose(implementation, x.dtype) == "native" and (relu or window == 1) and window in (1, 2):
        y = _native_block(x, kernel, bias, native.Settings(*_pads(kernel, padding), relu, window))
        return y if relu else activation(y)
    return max_pool(activation(conv(x, kernel, padding, implementation) + bias), window, implementation)


def _pads(kernel: jax.Array, padding: str) -> tuple[int, int]:
    """Rows and columns of zeros before and after the image."""
    if padding == "valid":
        return 0, 0
    size = kernel.shape[0]
    low = (size - 1) // 2
    return low, size - 1 - low


def conv(x: jax.Array, kernel: jax.Array, padding: str, implementation: str = "auto") -> jax.Array:
    """Convolves images with stride 1.

    Args:
      x: images, NxHxWxC.
      kernel: KxKxCxO.
      padding: "valid" (output H-K+1) or "same" (output H; for even K the extra row and column lie below and right).
      implementation: one of IMPLEMENTATIONS.

    Returns:
      NxH'xW'xO.
    """
    pads = _pads(kernel, padding)
    chosen = choose(implementation, x.dtype)
    if chosen == "native":
        return _native_block(x, kernel, jnp.zeros(kernel.shape[3]), native.Settings(*pads))
    if chosen == "dot":
        return products.conv(x, kernel, pads)
    return lax.conv_general_dilated(x, kernel, (1, 1), [pads] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _native_block(x, kernel, bias, settings):
    return native.convolve(x, kernel, bias, settings)[0]


def _native_block_forward(x, kernel, bias, settings):
    y, winner = native.convolve(x, kernel, bias, settings)
    # After pooling the gradient needs only the winners. The outputs would stay in memory for nothing.
    return y, (x, kernel, winner, y[:0] if settings.window > 1 else y)


def _native_block_backward(settings, saved, g):
    x, kernel, winner, y = saved
    x_gradient = native.input_gradient(g, y, winner, kernel, x.shape, settings)
    return x_gradient, *native.kernel_gradient(x, g, y, winner, kernel.shape[0], settings)


_native_block.defvjp(_native_block_forward, _native_block_backward)


def max_pool(x: jax.Array, window: int, implementation: str = "auto") -> jax.Array:
    """Max pooling of NxHxWxC with stride = window. Drops rows and columns beyond the last whole window.

    The gradient goes to the first maximum of each window, in row order.
    """
    if window == 1:
        return x
    if window == 2 and choose(implementation) != "stock":
        return _max_pool_2x2(x)
    shape = (1, window, window, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, shape, "VALID")


def _quarters(x):
    """The four pixels of every 2x2 window, in row order, each NxH/2xW/2xC."""
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
    return x[:, :, 0, :, 0], x[:, :, 0, :, 1], x[:, :, 1, :, 0], x[:, :, 1, :, 1]


@jax.custom_vjp
def _max_pool_2x2(x):
    a, b, c, d = _quarters(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_forward(x):
    a, b, c, d = _quarters(x)
    top, bottom = jnp.maximum(a, b), jnp.maximum(c, d)
    winner = jnp.where(top >= bottom, jnp.where(a >= b, 0, 1), jnp.where(c >= d, 2, 3)).astype(jnp.uint8)
    # The gradient needs only the shape of x. An empty array carries it without holding the memory.
    return jnp.maximum(top, bottom), (winner, jnp.empty((0, *x.shape[1:]), x.dtype))


def _max_pool_backward(saved, g):
    winner, like = saved
    n, height, width, channels = g.shape
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    spread = jnp.where(winner[:, :, None, :, None] == place, g[:, :, None, :, None], 0)
    spread = spread.reshape(n, 2 * height, 2 * width, channels)
    rest = (0, like.shape[1] - 2 * height), (0, like.shape[2] - 2 * width)
    return (jnp.pad(spread, ((0, 0), *rest, (0, 0))),)


_max_pool_2x2.defvjp(_max_pool_forward, _max_pool_backward)
