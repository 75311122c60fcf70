"""Tests of digits.models.ops.convolution: convolution as matrix products, max pooling and dropout against the stock
operations.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.models.ops import convolution, products
from tests.conftest import slow

# The largest error relative to the largest magnitude of the stock result.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.fixture(autouse=True)
def full_precision():
    """Accelerators multiply float32 with fewer bits by default, which would hide what is compared here."""
    with jax.default_matmul_precision("highest"):
        yield


def assert_close(result, expected, dtype="float32"):
    assert result.shape == expected.shape and result.dtype == expected.dtype == dtype
    result, expected = np.asarray(result, np.float64), np.asarray(expected, np.float64)
    scale = np.abs(expected).max()
    assert scale > 0
    assert np.abs(result - expected).max() <= TOLERANCE[dtype] * scale


def normal(seed, shape, dtype="float32"):
    # Drawn by NumPy, so that float32 and float64 tests use the same numbers.
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


# The compiler would spend many seconds on optimising the patches of large kernels.
fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(fast_jit, static_argnums=(2, 3, 4, 5))
def value_and_gradients(x, kernel, padding, implementation, stride=1, operation=convolution.conv):
    """The convolution and, for a random cotangent, the gradients of images and kernel."""
    y, pullback = jax.vjp(lambda x, kernel: operation(x, kernel, padding, implementation, stride), x, kernel)
    return y, *pullback(normal(9, y.shape, y.dtype))


def assert_dot_equals_stock(x_shape, kernel_shape, padding, dtype, *more):
    x, kernel = normal(0, x_shape, dtype), normal(1, kernel_shape, dtype)
    results = (value_and_gradients(x, kernel, padding, one, *more) for one in ("dot", "stock"))
    for result, expected in zip(*results, strict=True):
        assert_close(result, expected, dtype)


# Images of unequal sides, so that rows and columns cannot be exchanged unnoticed, with one channel and several. Not
# every combination: compiling takes the time, and nothing in it depends on all of these at once.
ONE_CHANNEL, SEVERAL_CHANNELS = (7, 13, 12, 1, 5), (3, 13, 12, 4, 2)
CASES = [
    (size, shape, padding, dtype)
    for size in (1, 2, 3, 5, 7, 11)
    for shape, padding, dtype in [
        (ONE_CHANNEL, "same", "float64"),
        (SEVERAL_CHANNELS, "valid", "float32"),
        (ONE_CHANNEL, "valid", "float32"),
        (SEVERAL_CHANNELS, "same", "float64"),
    ][: 4 if size < 3 else 2]
]


@pytest.mark.parametrize("size, shape, padding, dtype", CASES)
def test_convolution_as_products_equals_stock(size, shape, padding, dtype):
    *x_shape, width = shape
    with jax.enable_x64(dtype == "float64"):
        assert_dot_equals_stock(tuple(x_shape), (size, size, x_shape[-1], width), padding, dtype)


# Kernels smaller than a stride, a multiple of it and neither. Windows leave rows and columns over at the end.
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, stride", [(2, 3), (3, 2), (4, 3), *slow((1, 2), (2, 2), (5, 2), (5, 4))])
def test_strided_convolution_as_products_equals_stock(size, stride, padding):
    with jax.enable_x64(True):
        assert_dot_equals_stock((3, 14, 11, 3), (size, size, 3, 2), padding, "float64", stride)
    if stride == 2:
        assert_dot_equals_stock((3, 14, 11, 16), (size, size, 16, 18), padding, "float32", stride)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, stride", [(1, 1), (2, 1), (3, 1), (3, 2), (4, 3), (2, 3)])
def test_depthwise_convolution_as_products_equals_stock(size, stride, padding):
    with jax.enable_x64(True):
        assert_dot_equals_stock(
            (3, 14, 11, 4), (size, size, 4, 1), padding, "float64", stride, convolution.depthwise
        )  # fmt: skip


@pytest.mark.parametrize("implementation", convolution.IMPLEMENTATIONS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_output_shape_is_that_of_keras(padding, implementation):
    for size in (1, 2, 3, 5):
        x, kernel = jnp.zeros((3, 13, 12, 4)), jnp.zeros((size, size, 4, 6))
        y = jax.eval_shape(lambda x, kernel: convolution.conv(x, kernel, padding, implementation), x, kernel)
        assert y.shape == ((3, 13, 12, 6) if padding == "same" else (3, 14 - size, 13 - size, 6))


@pytest.mark.parametrize("implementation", convolution.IMPLEMENTATIONS)
def test_even_kernel_reaches_further_down_and_right(implementation):
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1)
    kernel = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    y = convolution.conv(x, kernel, "same", implementation)[0, :, :, 0]
    expected = np.zeros((5, 5))
    expected[1:3, 1:3] = [[4, 3], [2, 1]]
    np.testing.assert_array_equal(y, expected)


# Shapes whose patches do not fit into the cache at once: chunks of several images, with a number of images that leaves
# a divisor; chunks of one, because the number is prime; and one image that is itself above the limit.
CHUNKED = {
    "several chunks": ((36, 28, 28, 8), (3, 3, 8, 4), "valid", 18),
    "prime": ((23, 28, 28, 8), (3, 3, 8, 4), "valid", 1),
    "odd, padded": ((75, 14, 14, 16), (3, 3, 16, 3), "same", 25),
    "large images": ((3, 80, 80, 20), (3, 3, 20, 2), "valid", 1),
}


@pytest.mark.parametrize("case", CHUNKED)
def test_chunked_convolution_equals_stock(case):
    x_shape, kernel_shape, padding, chunk = CHUNKED[case]
    size, border = kernel_shape[0], kernel_shape[0] - 1 if padding == "same" else 0
    padded = jax.ShapeDtypeStruct((x_shape[0], x_shape[1] + border, x_shape[2] + border, x_shape[3]), jnp.float32)
    assert products._chunk(padded, size) == chunk < x_shape[0], "the shape does not test what it is meant to"
    assert_dot_equals_stock(x_shape, kernel_shape, padding, "float32")


@pytest.mark.parametrize("limit, chunk", [(1, 1), (6000, 3)])
def test_result_does_not_depend_on_the_size_of_chunks(monkeypatch, limit, chunk):
    # Small shapes, so that float64, which tells a wrong sum from rounding, costs little.
    monkeypatch.setattr(products, "_PATCHES_IN_CACHE", limit)
    value_and_gradients.clear_cache()
    assert products._chunk(jax.ShapeDtypeStruct((12, 11, 10, 2), jnp.float64), 3) == chunk
    with jax.enable_x64(True):
        assert_dot_equals_stock((12, 9, 8, 2), (3, 3, 2, 5), "same", "float64")


@pytest.mark.parametrize("x_shape, kernel_shape", [((36, 28, 28, 8), (3, 3, 8, 4)), ((7, 12, 12, 1), (5, 5, 1, 6))])
def test_convolution_in_a_compiled_loop_equals_stock(x_shape, kernel_shape):
    x = normal(0, x_shape)

    @functools.partial(jax.jit, static_argnums=1)
    def train(kernel, implementation):
        def loss(kernel):
            return jnp.mean(jnp.tanh(convolution.conv(x, kernel, "same", implementation)) ** 2)

        return lax.fori_loop(0, 3, lambda _, k: k - 0.5 * jax.grad(loss)(k), kernel)

    start = 0.1 * normal(1, kernel_shape)
    expected = train(start, "stock")
    assert np.abs(expected - start).max() > 1e-3, "the loop hardly moves the kernel"
    assert_close(train(start, "dot"), expected)


@pytest.mark.parametrize("more", [(), (2,), (1, convolution.depthwise)], ids=["plain", "strided", "depthwise"])
@pytest.mark.parametrize("kernels", ["one kernel", "many kernels"])
def test_vmap_over_convolution(kernels, more):
    x = normal(0, (3, 4, 9, 9, 2))
    shape = (3, 3, 2, 1 if convolution.depthwise in more else 5)
    kernel = normal(1, (3, *shape) if kernels == "many kernels" else shape)
    axes = (0, 0 if kernels == "many kernels" else None)
    mapped = jax.vmap(lambda x, kernel: value_and_gradients(x, kernel, "same", "dot", *more), axes)(x, kernel)
    for index in range(3):
        one_kernel = kernel[index] if kernels == "many kernels" else kernel
        expected = value_and_gradients(x[index], one_kernel, "same", "stock", *more)
        for result, one in zip(mapped, expected, strict=True):
            assert_close(result[index], one)


def test_auto_is_products_on_the_cpu_and_stock_elsewhere(monkeypatch):
    def primitives():
        x, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 4))
        return str(jax.make_jaxpr(lambda x, k: convolution.max_pool(convolution.conv(x, k, "same"), 2))(x, kernel))

    for backend, stock in (("cpu", False), ("gpu", True), ("tpu", True)):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert ("conv_general_dilated" in primitives()) is stock
        assert ("reduce_window_max" in primitives()) is stock


# Max pooling.


@functools.partial(fast_jit, static_argnums=(1, 2))
def pool_and_gradient(x, window, implementation):
    """Max pooling and, for a cotangent in which every window has a number of its own, the gradient."""
    y, pullback = jax.vjp(lambda x: convolution.max_pool(x, window, implementation), x)
    return y, *pullback(normal(1, y.shape, y.dtype))


@fast_jit
def stock_pool_and_gradient(x):
    """The same for windows of 2, in the operations of JAX alone."""

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    y, pullback = jax.vjp(pool, x)
    return y, *pullback(normal(1, y.shape, y.dtype))


def few_values(seed, shape):
    """Numbers of which many are equal."""
    return jnp.asarray(np.random.default_rng(seed).integers(-1, 2, shape), jnp.float32)


INPUTS = {
    "distinct": lambda shape: normal(0, shape),
    "all negative": lambda shape: -1 - jnp.abs(normal(0, shape)),
    "few values": lambda shape: few_values(0, shape),
    "constant": lambda shape: jnp.full(shape, 0.5),
    "zero": jnp.zeros,
    "relu": lambda shape: jax.nn.relu(normal(0, shape) - 0.5),
    "infinite": lambda shape: jnp.where(few_values(0, shape) == 0, -jnp.inf, normal(0, shape)),
}


@pytest.mark.parametrize("shape", [(3, 8, 6, 4), (5, 7, 9, 3), (2, 6, 11, 1)])
@pytest.mark.parametrize("kind", INPUTS)
def test_max_pool_equals_stock_with_its_ties(kind, shape):
    x = INPUTS[kind](shape)
    for result, expected in zip(pool_and_gradient(x, 2, "dot"), stock_pool_and_gradient(x), strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("implementation", convolution.IMPLEMENTATIONS)
def test_max_pool_gives_the_gradient_to_the_first_maximum(implementation):
    x = jnp.array([[2.0, 2.0, 0.0, 1.0], [2.0, 2.0, 1.0, 1.0]]).reshape(1, 2, 4, 1)
    y, gradient = pool_and_gradient(x, 2, implementation)
    np.testing.assert_array_equal(y[0, :, :, 0], [[2, 1]])
    assert (gradient[0, :, :, 0] != 0).tolist() == [[True, False, False, True], [False] * 4]


def test_max_pool_drops_odd_rows_and_columns():
    x = normal(0, (2, 5, 7, 3)).at[:, 4].set(100).at[:, :, 6].set(100)
    y, gradient = pool_and_gradient(x, 2, "dot")
    assert y.shape == (2, 2, 3, 3) and np.max(y) < 100
    assert gradient.shape == x.shape
    assert np.all(gradient[:, 4] == 0) and np.all(gradient[:, :, 6] == 0)
    assert np.sum(np.asarray(gradient) != 0) == y.size


@pytest.mark.parametrize("implementation", convolution.IMPLEMENTATIONS)
def test_max_pool_of_other_windows(implementation):
    x = normal(0, (2, 7, 9, 3))
    y, gradient = pool_and_gradient(x, 1, implementation)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(gradient, normal(1, x.shape))
    y, gradient = pool_and_gradient(x, 3, implementation)
    windows = np.asarray(x)[:, :6].reshape(2, 2, 3, 3, 3, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 2, 3, 3, 9)
    np.testing.assert_array_equal(y, windows.max(axis=-1))
    # The numbers are distinct: each maximum, and nothing else, receives its window's part of the cotangent.
    cotangent = dict(zip(np.asarray(y).ravel(), np.asarray(normal(1, y.shape)).ravel(), strict=True))
    expected = [cotangent.get(value, 0) for value in np.asarray(x).ravel()]
    np.testing.assert_array_equal(gradient, np.reshape(expected, x.shape))


def test_max_pool_keeps_float64():
    with jax.enable_x64(True):
        x = normal(0, (2, 5, 6, 3), "float64")
        for result, expected in zip(pool_and_gradient(x, 2, "dot"), stock_pool_and_gradient(x), strict=True):
            assert result.dtype == jnp.float64
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_vmap_over_max_pool(window):
    x = few_values(0, (3, 2, 7, 6, 4))
    mapped = jax.vmap(lambda x: pool_and_gradient(x, window, "dot"))(x)
    for index in range(3):
        for result, expected in zip(mapped, pool_and_gradient(x[index], window, "stock"), strict=True):
            np.testing.assert_array_equal(result[index], expected)
