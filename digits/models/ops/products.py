"""Convolution as products of matrices: fast on a CPU without a C++ compiler, and under `jax.vmap` on accelerators.

A convolution is a product of image patches and kernel (im2col). Kernels of 2, 3, 5 and 7 pixels with many channels need
fewer products by minimal filtering along the rows of the image, that of kernels/ in one dimension.
benchmarks/README.md has the speed beside that of XLA's own convolutions.
"""

from collections.abc import Callable
import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

# A patch matrix with more numbers than this is built in chunks of images, so that it stays in the processor's cache.
_PATCHES_IN_CACHE = 2**20


def _patches(x: jax.Array, size: int) -> jax.Array:
    """Every size x size window of NxHxWxC, as NxH'xW'x(size*size*C), ordered as a KxKxC kernel."""
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    windows = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(windows, axis=-1)


def _pad(x: jax.Array, low: int, high: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0))) if low or high else x


def _chunk(x: jax.Array, size: int) -> int:
    """The largest number of images that divides the batch and whose patches fit in the cache, or 1."""
    per_image = x.shape[1] * x.shape[2] * x.shape[3] * size * size
    chunk = max(1, min(x.shape[0], _PATCHES_IN_CACHE // per_image))
    while x.shape[0] % chunk:
        chunk -= 1
    return chunk


def _correlate(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The `valid` convolution of NxHxWxC as products of patches and kernel, chunk by chunk of images."""
    one = _filter_rows if _is_filtered(kernel.shape) else _multiply_patches
    chunk = _chunk(x, len(kernel))
    if chunk == len(x):
        return one(x, kernel)
    y = lax.map(lambda images: one(images, kernel), x.reshape(-1, chunk, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])


def _multiply_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    patches = _patches(x, len(kernel))
    y = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
    return y.reshape(*patches.shape[:3], -1)


# Pixels that are computed together, for each size of kernel. More would round worse: F(4,7) is off by 1e-5.
_TILES = {2: 4, 3: 4, 5: 4, 7: 2}


def _is_filtered(kernel_shape: tuple[int, ...]) -> bool:
    """Whether minimal filtering pays. With fewer channels its additions cost more than the narrow products save."""
    size, _, channels, outputs = kernel_shape
    return size in _TILES and min(channels, outputs) >= 16


@functools.cache
def _minimal_filter(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (MxP), G (PxK) and B (PxP) of A((G w) * (B x)), M outputs of a filter w with K taps; P = M + K - 1.

    The algorithm of Toom and Cook, as in Winograd and in Lavin and Gray (arXiv:1509.09308): products of polynomials,
    evaluated at the points below and at infinity. Errors relative to the largest result: within 5e-6 of the plain sum
    with products in float32, as on CPUs; within 1.5e-3 with an NVIDIA GPU's TF32, where the plain sum itself is within
    3.5e-4 (emulated, kernels of 3 to 7). jax_default_matmul_precision="highest" avoids TF32.
    """
    outputs, points = _TILES[size], np.array([0, 1, -1, 2, -0.5, -2, 0.5])[: _TILES[size] + size - 2]
    count = len(points) + 1
    a, g, b = np.zeros((outputs, count)), np.zeros((count, size)), np.zeros((count, count))
    for k, point in enumerate(points):
        others = np.delete(points, k)
        a[:, k] = point ** np.arange(outputs)
        g[k] = point ** np.arange(size) / np.prod(point - others)
        b[k, :-1] = np.polynomial.polynomial.polyfromroots(others)
    a[-1, -1], g[-1, -1], b[-1] = 1, 1, np.polynomial.polynomial.polyfromroots(points)
    # Scales by powers of two, which round nothing, so that neither factor grows large.
    scale = 2.0 ** np.round(np.log2(np.abs(b).sum(axis=1, keepdims=True)))
    return a, g * scale, b / scale


def _combine(factors: np.ndarray, arrays: list[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, [float(f) * array for f, array in zip(factors, arrays, strict=True) if f])


def _filtered_patches(x: jax.Array, size: int) -> list[jax.Array]:
    """B x for the tiles of every row: for each point (N*H'*T)x(K*C), the rows under the kernel side by side."""
    outputs, width, height = _TILES[size], x.shape[2] - size + 1, x.shape[1] - size + 1
    tiles = -(-width // outputs)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, tiles * outputs - width), (0, 0)))
    pixels = [x[:, :, i : i + (tiles - 1) * outputs + 1 : outputs] for i in range(outputs + size - 1)]
    points = [_combine(factors, pixels) for factors in _minimal_filter(size)[2]]
    rows = [jnp.concatenate([v[:, i : i + height] for i in range(size)], axis=-1) for v in points]
    return [r.reshape(-1, r.shape[-1]) for r in rows]


def _filter_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`_multiply_patches` with K*P/M products a pixel instead of K*K."""
    size, _, channels, width = kernel.shape
    a, g, _ = _minimal_filter(size)
    kernels = jnp.einsum("pj,ijco->pico", jnp.asarray(g, kernel.dtype), kernel, precision="highest")
    products = [
        r @ k for r, k in zip(_filtered_patches(x, size), kernels.reshape(-1, size * channels, width), strict=True)
    ]
    n, height, columns = x.shape[0], x.shape[1] - size + 1, x.shape[2] - size + 1
    y = jnp.stack([_combine(factors, products) for factors in a], axis=1).reshape(n, height, -1, width)
    return y[:, :, :columns]


def _filter_rows_gradient(x: jax.Array, g: jax.Array, size: int) -> jax.Array:
    """The gradient of the kernel of `_filter_rows`; `g` is the gradient of its result."""
    a, to_points, _ = _minimal_filter(size)
    outputs, channels, width = len(a), x.shape[-1], g.shape[-1]
    g = jnp.pad(g, ((0, 0), (0, 0), (0, -g.shape[2] % outputs), (0, 0)))
    pixels = [g[:, :, i::outputs].reshape(-1, width) for i in range(outputs)]
    products = [r.T @ _combine(factors, pixels) for r, factors in zip(_filtered_patches(x, size), a.T, strict=True)]
    kernels = jnp.stack(products).reshape(-1, size, channels, width)
    return jnp.einsum("pj,pico->ijco", jnp.asarray(to_points, g.dtype), kernels, precision="highest")


def _multiply_patches_gradient(x: jax.Array, g: jax.Array, size: int) -> jax.Array:
    patches = _patches(x, size)
    product = patches.reshape(-1, patches.shape[-1]).T @ g.reshape(-1, g.shape[-1])
    return product.reshape(size, size, x.shape[-1], g.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, pads: tuple[int, int]) -> jax.Array:
    """The correlation of NxHxWxC, padded by rows and columns of zeros before and after, with KxKxCxO; stride 1."""
    return _correlate(_pad(x, *pads), kernel)


def _forward(x, kernel, pads):
    return conv(x, kernel, pads), (x, kernel)


def _backward(pads, saved, g):
    x, kernel = saved
    size = kernel.shape[0]
    # Input gradient: the convolution of g with the flipped kernel. XLA drops it for the first layer, which needs none.
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    x_gradient = _correlate(_pad(g, size - 1 - pads[0], size - 1 - pads[1]), flipped)
    # Weight gradient: patches^T g. The patches are built again; keeping them would cost K*K times the memory of x.
    one: Callable[..., jax.Array] = _filter_rows_gradient if _is_filtered(kernel.shape) else _multiply_patches_gradient
    padded = _pad(x, *pads)
    chunk = _chunk(padded, size)

    def split(a):
        return a.reshape(-1, chunk, *a.shape[1:])

    def add(total, parts):
        return total + one(*parts, size), None

    return x_gradient, lax.scan(add, jnp.zeros_like(kernel), (split(padded), split(g)))[0]


conv.defvjp(_forward, _backward)
