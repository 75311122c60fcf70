"""Convolution, max pooling and dropout: the functions of the stock operations, as fast as the backend allows.

XLA's CPU backend runs the weight gradient of a stock convolution several times slower inside a compiled loop than
outside it, and max pooling's gradient (`select_and_scatter`) is slow everywhere on the CPU. There, a convolution is a
product of image patches and kernel (im2col), and pooling remembers which of the four pixels won. Values and gradients
are those of the stock operations up to rounding.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

# A patch matrix above this many numbers is built in chunks of images, so that it stays in the processor's cache.
_PATCHES_IN_CACHE = 2**20

IMPLEMENTATIONS = ("auto", "stock", "dot")


def _on_cpu(implementation: str) -> bool:
    """The one place where an implementation is chosen: True for matrix products, False for the stock operations."""
    return implementation == "dot" or (implementation == "auto" and jax.default_backend() == "cpu")


def conv(x: jax.Array, kernel: jax.Array, padding: str, implementation: str = "auto") -> jax.Array:
    """Convolves images with stride 1.

    Args:
      x: images, NxHxWxC.
      kernel: KxKxCxO.
      padding: "valid" (output H-K+1) or "same" (output H; for even K the extra row and column lie below and right).
      implementation: "auto", "stock" or "dot".

    Returns:
      NxH'xW'xO.
    """
    size = kernel.shape[0]
    low = (size - 1) // 2 if padding == "same" else 0
    high = size - 1 - low if padding == "same" else 0
    if _on_cpu(implementation):
        return _conv_dot(x, kernel, (low, high))
    return lax.conv_general_dilated(x, kernel, (1, 1), [(low, high)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _patches(x: jax.Array, size: int) -> jax.Array:
    """Every size x size window of NxHxWxC, as NxH'xW'x(size*size*C), ordered as a KxKxC kernel."""
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    windows = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(windows, axis=-1)


def _pad(x: jax.Array, low: int, high: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0))) if low or high else x


def _chunk(x: jax.Array, size: int) -> int:
    """The largest number of images that divides the batch and whose patches fit in the cache; at least one."""
    per_image = x.shape[1] * x.shape[2] * x.shape[3] * size * size
    chunk = max(1, min(x.shape[0], _PATCHES_IN_CACHE // per_image))
    while x.shape[0] % chunk:
        chunk -= 1
    return chunk


def _correlate(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The `valid` convolution of NxHxWxC as one product of patches and kernel, chunk by chunk of images."""
    size, _, _, channels = kernel.shape

    def one(images):
        patches = _patches(images, size)
        return (patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, channels)).reshape(
            *patches.shape[:3], channels
        )

    chunk = _chunk(x, size)
    if chunk == x.shape[0]:
        return one(x)
    y = lax.map(one, x.reshape(-1, chunk, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_dot(x, kernel, pads):
    return _correlate(_pad(x, *pads), kernel)


def _conv_dot_forward(x, kernel, pads):
    return _conv_dot(x, kernel, pads), (x, kernel)


def _conv_dot_backward(pads, saved, g):
    x, kernel = saved
    size = kernel.shape[0]
    # Input gradient: the convolution of g with the flipped kernel. XLA drops it for the first layer, which needs none.
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    x_gradient = _correlate(_pad(g, size - 1 - pads[0], size - 1 - pads[1]), flipped)
    # Weight gradient: patches^T g. The patches are built again; keeping them would cost K*K times the memory of x.
    padded = _pad(x, *pads)
    chunk = _chunk(padded, size)

    def add(total, x_and_g):
        images, gradients = x_and_g
        patches = _patches(images, size)
        product = patches.reshape(-1, patches.shape[-1]).T @ gradients.reshape(-1, gradients.shape[-1])
        return total + product, None

    split = lambda a: a.reshape(-1, chunk, *a.shape[1:])
    zero = jnp.zeros((size * size * x.shape[-1], g.shape[-1]), g.dtype)
    kernel_gradient, _ = lax.scan(add, zero, (split(padded), split(g)))
    return x_gradient, kernel_gradient.reshape(kernel.shape)


_conv_dot.defvjp(_conv_dot_forward, _conv_dot_backward)


def max_pool(x: jax.Array, window: int, implementation: str = "auto") -> jax.Array:
    """Max pooling of NxHxWxC with stride = window; rows and columns beyond the last whole window are dropped.

    The gradient goes to the first maximum of each window, in row order.
    """
    if window == 1:
        return x
    if window == 2 and _on_cpu(implementation):
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
    # Only the shape of x is needed again; an empty array carries its odd row and column without holding its memory.
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


def dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Inverted dropout: zeroes each number with probability `rate` and divides the rest by 1 - rate.

    Sixteen random bits a number: the probability is `rate` rounded to 1/65536.
    """
    threshold = min(round(rate * 2**16), 2**16 - 1)
    keep = jax.random.bits(key, x.shape, jnp.uint16) >= jnp.uint16(threshold)
    return jnp.where(keep, x / (1 - rate), 0)
