"""Dropout: its rate, its random numbers and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.models.ops import dropout, native

# Bounds are five standard deviations: with fixed keys a test passes always or never. One shape for all tests, because
# the random numbers are compiled for each.
SHAPE = (250, 10, 20, 20)
COUNT = 10**6


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.25, 0.3, 0.5, 0.9])
def test_zeroes_its_rate_and_scales_the_rest(rate):
    x = 1 + jnp.abs(normal(0, SHAPE))
    y = dropout.inverted_dropout(x, rate, jax.random.key(0))
    assert y.dtype == x.dtype and y.shape == x.shape
    zero = np.asarray(y) == 0
    # Sixteen bits give the rate to 1/131072.
    assert abs(zero.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / COUNT) + 2**-17
    np.testing.assert_allclose(np.asarray(y)[~zero], np.asarray(x)[~zero] / (1 - rate), rtol=1e-6)


def test_keeps_the_expectation_of_every_number():
    rate, x = 0.4, normal(0, SHAPE[-1:])
    y = dropout.inverted_dropout(jnp.broadcast_to(x, SHAPE), rate, jax.random.key(1))
    mean = np.asarray(y, np.float64).mean(axis=(0, 1, 2))
    deviation = np.abs(x) * np.sqrt(rate / (1 - rate) / (COUNT / SHAPE[-1]))
    assert np.all(np.abs(mean - x) <= 5 * deviation)


def test_draws_every_number_by_itself():
    zero = np.asarray(dropout.inverted_dropout(jnp.ones(SHAPE), 0.5, jax.random.key(2))) == 0
    # Along no axis are neighbours dropped together: half of them differ.
    for axis in range(4):
        differ = np.diff(zero.astype(int), axis=axis) != 0
        assert abs(differ.mean() - 0.5) <= 5 * 0.5 / np.sqrt(differ.size)


def test_depends_on_its_key_alone():
    x, key = jnp.ones(SHAPE), jax.random.key(3)
    first = np.asarray(dropout.inverted_dropout(x, 0.5, key))
    np.testing.assert_array_equal(first, dropout.inverted_dropout(x, 0.5, key))
    np.testing.assert_array_equal(first, jax.jit(dropout.inverted_dropout, static_argnums=1)(x, 0.5, key))
    differ = first != dropout.inverted_dropout(x, 0.5, jax.random.key(4))
    assert abs(differ.mean() - 0.5) <= 5 * 0.5 / np.sqrt(COUNT)


def test_with_rate_zero_is_the_identity():
    x = normal(0, SHAPE)
    np.testing.assert_array_equal(dropout.inverted_dropout(x, 0.0, jax.random.key(5)), x)


@pytest.mark.parametrize("rate", [0.9999, 0.99999, 0.999999, 1 - 2**-20])
def test_with_a_rate_just_below_one_works(rate):
    # Every rate below 1 passes the config's check. With sixteen bits, one number in 65536 is kept at the least.
    y = np.asarray(dropout.inverted_dropout(jnp.ones(SHAPE), rate, jax.random.key(6)))
    assert np.all(np.isfinite(y))
    expected = max(1 - rate, 2**-16)
    assert abs((y != 0).mean() - expected) <= 5 * np.sqrt(expected / COUNT) + 2**-17


def test_passes_the_gradient_of_what_it_keeps():
    x, key = normal(0, SHAPE), jax.random.key(7)
    gradient = jax.grad(lambda x: jnp.sum(dropout.inverted_dropout(x, 0.2, key)))(x)
    np.testing.assert_allclose(gradient, dropout.inverted_dropout(jnp.ones(SHAPE), 0.2, key), rtol=1e-6)


@pytest.mark.skipif(not native.available(), reason="needs a C++ compiler")
@pytest.mark.parametrize("count", [1, 63, 64, 65, 8192, 8193, 100_001])
def test_compiled_code_has_the_bits_of_jax(count):
    keys = jax.random.split(jax.random.key(6))
    expected = [jax.random.bits(key, (count,), jnp.uint32) for key in keys]
    together = jax.vmap(lambda key: native.random_bits(key, count))(jax.random.key_data(keys))
    np.testing.assert_array_equal(together, expected)


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
def test_no_way_to_convolve_changes_the_numbers(generator):
    """Nor do images of float64, which compiled convolutions do not take."""
    key, x = jax.random.key(7, impl=generator), jnp.ones((3, 9, 9, 5))
    stock = dropout.inverted_dropout(x, 0.3, key, implementation="stock")
    assert 0.2 < (stock == 0).mean() < 0.4
    np.testing.assert_array_equal(dropout.inverted_dropout(x, 0.3, key), stock)
    with jax.enable_x64(True):
        wide = dropout.inverted_dropout(jnp.ones((3, 9, 9, 5), jnp.float64), 0.3, key)
    np.testing.assert_array_equal(np.asarray(wide) == 0, np.asarray(stock) == 0)
