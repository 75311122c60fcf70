"""Convolution and max pooling: the functions of the stock operations, as fast as the backend allows.

XLA's CPU backend runs the weight gradient of a stock convolution several times slower inside a compiled loop than
outside it, and max pooling's gradient (`select_and_scatter`) is slow everywhere on the CPU. On a CPU with a C++
compiler, convolution, bias, ReLU and 2x2 pooling are therefore one compiled function (native.py). Without a compiler, a
convolution is a matrix product (products.py), and pooling remembers which of the four pixels won. Values and gradients
are those of the stock operations up to rounding.
"""

from collections.abc import Callable
import functools
import math
import sys

import jax
from jax import lax
import jax.numpy as jnp

from digits.models.ops import native, products

IMPLEMENTATIONS = ("auto", "stock", "dot", "native")
_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 32  # Up to so many, a compiled convolution is faster than a sum of shifted images.


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
    bias: jax.Array | None,
    padding: str,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    window: int = 1,
    implementation: str = "auto",
    stride: int = 1,
) -> jax.Array:
    """Computes max_pool(activation(conv(x, kernel, padding) + bias), window), in one pass where that is faster.

    One pass reads and writes values that do not fit in the caches once instead of four times. The arguments are those
    of `conv` and `max_pool`.
    """
    relu = activation is jax.nn.relu
    if _choose(implementation, x, kernel, padding, stride) == "native" and (relu or window == 1) and window in (1, 2):
        x, kernel, pads = _unstrided(x, kernel, padding, stride)
        bias = jnp.zeros(kernel.shape[3], kernel.dtype) if bias is None else bias
        y = _native_block(x, kernel, bias, native.Settings(*pads, relu, window))
        return y if relu else activation(y)
    y = conv(x, kernel, padding, implementation, stride)
    return max_pool(activation(y if bias is None else y + bias), window, implementation)


def conv(x: jax.Array, kernel: jax.Array, padding: str, implementation: str = "auto", stride: int = 1) -> jax.Array:
    """Convolves images.

    Args:
      x: images, NxHxWxC.
      kernel: KxKxCxO.
      padding: "valid" (output (H-K)/stride+1, rounded down) or "same" (output H/stride, rounded up; of an odd number of
        rows and columns of zeros, one more lies below and right).
      implementation: one of IMPLEMENTATIONS.
      stride: pixels from one window to the next, down and to the right.

    Returns:
      NxH'xW'xO.
    """
    chosen = _choose(implementation, x, kernel, padding, stride)
    if chosen == "stock":
        return lax.conv_general_dilated(x, kernel, (stride, stride), padding.upper(), dimension_numbers=_NHWC)
    x, kernel, pads = _unstrided(x, kernel, padding, stride)
    if chosen == "native":
        return _native_block(x, kernel, jnp.zeros(kernel.shape[3], kernel.dtype), native.Settings(*pads))
    if len(kernel) == 1 or (x.shape[1:3] == kernel.shape[:2] and pads == (0, 0)):
        sides = x.shape[1:3] if len(kernel) == 1 else (1, 1)
        y = x.reshape(-1, math.prod(kernel.shape[:3])) @ kernel.reshape(-1, kernel.shape[3])
        return y.reshape(len(x), *sides, -1)  # JAX finds the gradients, which are products too.
    return products.conv(x, kernel, pads)


def _choose(implementation: str, x: jax.Array, kernel: jax.Array, padding: str, stride: int) -> str:
    """`choose` for a convolution. One that sees each pixel once is a single product, which XLA computes as fast."""
    chosen = choose(implementation, x.dtype)
    once = len(kernel) <= stride or (padding == "valid" and x.shape[1:3] == kernel.shape[:2])
    return "dot" if chosen == "native" and once else chosen


def _pads(x: jax.Array, kernel: jax.Array, padding: str, stride: int) -> list[tuple[int, int]]:
    """Rows of zeros above and below the images, and columns to their left and right."""
    return lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), padding.upper())


def _unstrided(
    x: jax.Array, kernel: jax.Array, padding: str, stride: int
) -> tuple[jax.Array, jax.Array, tuple[int, int]]:
    """Images, kernel and padding of the same convolution with stride 1.

    Each square of stride x stride pixels becomes a pixel, whose channels are those of all its pixels. The kernel, with
    zeros up to a multiple of the stride, is folded in the same way.
    """
    pads = _pads(x, kernel, padding, stride)
    if stride == 1:
        return x, kernel, pads[0]
    size, *_, channels, width = kernel.shape
    taps, seen = -(-size // stride), min(size, stride)  # Of a square, a smaller kernel sees a part.
    squares = [(n + sum(pad) - size) // stride + taps for n, pad in zip(x.shape[1:3], pads)]
    # Below zero, lax.pad crops: the last windows may end before the image does.
    edges = [(low, m * stride - low - n, 0) for n, (low, _), m in zip(x.shape[1:3], pads, squares)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    x = x.reshape(-1, squares[0], stride, squares[1], stride, channels)[:, :, :seen, :, :seen]
    more = 0, taps * seen - size
    kernel = jnp.pad(kernel, (more, more, (0, 0), (0, 0))).reshape(taps, seen, taps, seen, channels, width)
    return (
        x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *squares, seen * seen * channels),
        kernel.transpose(0, 2, 1, 3, 4, 5).reshape(taps, taps, seen * seen * channels, width),
        (0, 0),
    )


def depthwise(
    x: jax.Array, kernel: jax.Array, padding: str, implementation: str = "auto", stride: int = 1
) -> jax.Array:
    """Convolves every channel of NxHxWxC with a filter of its own, of KxKxCx1. The other arguments are those of `conv`.

    On a CPU, few channels take a compiled convolution whose kernel is zero between different channels, and many take a
    sum of K*K shifted images. A training step with XLA's own operation takes tens of times as long.
    """
    chosen, channels = choose(implementation, x.dtype), x.shape[3]
    if chosen == "native" and channels * stride**2 <= _FEW_CHANNELS:
        return conv(x, kernel * jnp.eye(channels, dtype=kernel.dtype), padding, implementation, stride)
    if chosen == "stock":
        return lax.conv_general_dilated(
            x, kernel.swapaxes(2, 3), (stride, stride), padding.upper(), dimension_numbers=_NHWC,
            feature_group_count=channels,
        )  # fmt: skip
    size = len(kernel)
    x = jnp.pad(x, ((0, 0), *_pads(x, kernel, padding, stride), (0, 0)))
    rows, columns = (n - size + 1 for n in x.shape[1:3])
    shifted = (
        x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, :, 0]
        for i in range(size)
        for j in range(size)
    )
    return functools.reduce(jnp.add, shifted)


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
