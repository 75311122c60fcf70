"""Single layers against Keras: convolution, pooling, dropout, and the distributions of the initializers."""

import math

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import scipy.stats

from digits.models import layers
from digits.models.ops import convolution
from tests.conftest import slow
from tests.parity import keras_networks
from tests.parity.comparison import assert_close

# Even kernels with `same`, strides, and images that are not square: cases that no experiment has.
SIZES_AND_STRIDES = [
    (2, 1), (2, 3), (3, 1), (3, 2), (4, 3),
    *slow((2, 2), (3, 3), (4, 1), (4, 2)),
]  # fmt: skip


@pytest.mark.parametrize("implementation", ["dot", "stock"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, stride", SIZES_AND_STRIDES)
def test_convolution_and_pooling_equal_keras_for_even_and_odd_sizes(size, stride, padding, implementation, float64):
    rng = np.random.default_rng(31)
    x = jnp.asarray(rng.normal(0, 1, (2, 9, 8, 3)))
    kernel, filters = (jnp.asarray(rng.normal(0, 1, (size, size, 3, width))) for width in (2, 1))
    static, keras_static = (padding, implementation, stride), {"strides": stride, "padding": padding}
    assert_close(convolution.conv(x, kernel, *static), keras.ops.conv(x, kernel, **keras_static))
    expected = keras.ops.depthwise_conv(x, filters, **keras_static)
    assert_close(convolution.depthwise(x, filters, *static), expected)
    if padding == "valid":
        assert_close(convolution.max_pool(x, size, implementation), keras.ops.max_pool(x, size, size))


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_dropout_keeps_as_many_and_scales_as_much_as_keras(rate):
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (400, 500)), jnp.float32)
    dropout = layers.Dropout(rate)
    ours = np.asarray(dropout(x, jax.random.key(1)))
    theirs = np.asarray(keras.layers.Dropout(rate, seed=1)(x, training=True))
    both = (ours != 0) & (theirs != 0)
    assert 0.9 * (1 - rate) ** 2 < both.mean() < 1.1 * (1 - rate) ** 2
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-6)
    # Five standard errors of the share of kept numbers.
    error = 5 * math.sqrt(rate * (1 - rate) / x.size)
    assert abs((ours != 0).mean() - (1 - rate)) < error and abs((theirs != 0).mean() - (1 - rate)) < error
    np.testing.assert_array_equal(dropout(x, None), x)


@pytest.mark.parametrize("shape", [(600, 400), *slow(((5, 5, 40, 100),), ((5, 5, 4000, 1),))], ids=str)
@pytest.mark.parametrize("kind", sorted(layers.INITIALIZERS))
def test_initializer_has_the_distribution_of_keras(kind, shape):
    ours = np.asarray(layers.INITIALIZERS[kind]()(jax.random.key(2), shape, jnp.float32), np.float64).ravel()
    theirs = np.asarray(keras_networks.initializer(kind)(seed=3)(shape), np.float64).ravel()
    fan_in, fan_out = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
    fan = {"glorot": (fan_in + fan_out) / 2, "he": fan_in / 2, "lecun": fan_in}[kind.split("_")[0]]
    # Keras divides by the standard deviation that is left of a unit normal after truncation at two of its own.
    bound = math.sqrt(3 / fan) if kind.endswith("uniform") else 2 * math.sqrt(1 / fan) / 0.87962566103423978
    for sample in (ours, theirs):
        deviation = math.sqrt(1 / fan)
        assert abs(sample.mean()) < 5 * deviation / math.sqrt(sample.size)
        kurtosis = np.mean(sample**4) / np.mean(sample**2) ** 2
        assert abs(sample.var() * fan - 1) < 5 * math.sqrt((kurtosis - 1) / sample.size)
        assert 0.999 * bound < np.abs(sample).max() <= bound * (1 + 1e-6)
    assert scipy.stats.ks_2samp(ours, theirs, method="asymp").pvalue > 1e-4
