"""Tests of digits.models.ops.normalization: the compiled BatchNorm against the formula and its derivatives by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.models.ops import native, normalization
from tests.conftest import slow_but

needs_compiler = pytest.mark.skipif(not native.available(), reason=f"no compiled kernels: {native.problem()}")


def value_and_gradients(x, scale, bias, g, implementation):
    def normalize(*arrays):
        return normalization.batch_norm(*arrays, 1e-3, implementation)

    (y, mean, variance), pullback = jax.vjp(normalize, x, scale, bias)
    return y, mean, variance, *pullback((g, jnp.ones_like(mean), jnp.ones_like(variance)))


def given(shape, dtype):
    rng = np.random.default_rng(0)
    x, g = 3 + 2 * rng.normal(size=shape), rng.normal(size=shape)
    scale, bias = np.linspace(0.5, 2, shape[-1]), np.linspace(-1, 1, shape[-1])
    return [jnp.asarray(array, dtype) for array in (x, scale, bias, g)]


SHAPES = {
    "one channel": (2, 3, 5, 1),
    "channels that fill no vectors": (5, 14, 13, 20),
    "channels that fill vectors": (9, 12, 12, 64),
    "many channels": (3, 20, 20, 130),
    "written past the caches": (64, 28, 28, 64),  # And with more pixels than a task has.
}


@needs_compiler
@pytest.mark.parametrize("shape", slow_but(["channels that fill no vectors", "written past the caches"], SHAPES))
def test_compiled_equals_the_formula_in_float64(shape):
    results = value_and_gradients(*given(SHAPES[shape], jnp.float32), "native")
    with jax.enable_x64(True):
        expected = [np.asarray(array) for array in value_and_gradients(*given(SHAPES[shape], jnp.float64), "dot")]
    for result, true in zip(results, expected, strict=True):
        assert result.shape == true.shape and result.dtype == jnp.float32
        assert np.abs(np.asarray(result, np.float64) - true).max() <= 2e-6 * np.abs(true).max()


@needs_compiler
def test_compiled_gives_the_same_bits_in_every_run():
    arrays = given((33, 14, 14, 64), jnp.float32)
    first = value_and_gradients(*arrays, "native")
    for _ in range(10):
        for result, again in zip(first, value_and_gradients(*arrays, "native"), strict=True):
            np.testing.assert_array_equal(result, again)


@needs_compiler
def test_what_is_not_a_number_stays_so():
    x, scale, bias, _ = given((2, 4, 4, 20), jnp.float32)
    y, mean, variance = normalization.batch_norm(x.at[1, 2, 3, 7].set(jnp.nan), scale, bias, 1e-3, "native")
    for result in (y, mean, variance):
        assert np.isnan(result[..., 7]).all() and np.isnan(result).sum() == result[..., 7].size


@needs_compiler
def test_only_images_of_float32_are_normalised_by_the_kernels():
    def text(shape, dtype, implementation):
        arrays = given(shape, dtype)[:3]
        return str(jax.make_jaxpr(lambda *a: normalization.batch_norm(*a, 1e-3, implementation))(*arrays))

    assert "digits_batch_norm" in text((2, 3, 3, 4), jnp.float32, "native")
    assert "digits_batch_norm" not in text((2, 4), jnp.float32, "native")
    assert "digits_batch_norm" not in text((2, 3, 3, 4), jnp.float32, "stock")
    with jax.enable_x64(True):
        assert "digits_batch_norm" not in text((2, 3, 3, 4), jnp.float64, "native")
