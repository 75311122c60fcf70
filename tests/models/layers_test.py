"""The layers by themselves; tests/parity/ compares them with Keras."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits.models import layers


@pytest.fixture
def rngs():
    return nnx.Rngs(params=jax.random.key(0))


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("window", [0, 2])
def test_a_block_pools_its_activations(window, rngs):
    config = base.get_config().model
    config.convolution = "dot"
    block, images = layers.ConvBlock(1, 3, 3, 1, window, config, rngs), normal(2, 8, 8, 1)
    activations = block.without_pooling(images)
    pooled = layers.MaxPool(2, "dot")(activations) if window else activations
    assert activations.shape == (2, 6, 6, 3) and (activations >= 0).all()
    np.testing.assert_array_equal(block(images), pooled)


def test_global_pooling_is_of_the_whole_image():
    images = normal(2, 5, 4, 3)
    np.testing.assert_allclose(layers.GlobalPool("average")(images), np.mean(images, (1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layers.GlobalPool("max")(images), np.max(images, (1, 2)))


def test_a_dense_layer_applies_its_activation(rngs):
    x, layer = normal(4, 6), layers.Linear(6, 5, "tanh", "glorot_uniform", None, rngs)
    np.testing.assert_allclose(layer(x), np.tanh(x @ layer.kernel[...] + layer.bias[...]), rtol=1e-6)


def test_dropout_and_batch_norm_need_a_key_to_train(rngs):
    x, key = normal(64, 6) + 3, jax.random.key(1)
    dropout, norm = layers.Dropout(0.5), layers.BatchNorm(6, rngs)
    np.testing.assert_array_equal(layers.apply_layer(dropout, x, None), x)
    assert (np.asarray(layers.apply_layer(dropout, x, key)) == 0).any()
    assert (np.asarray(layers.apply_layer(dropout, x, key, 0.0)) != 0).all()  # The number in place of its own rate.
    before = layers.apply_layer(norm, x, None)
    np.testing.assert_allclose(before, x / np.sqrt(1 + layers.BATCH_NORM_EPSILON), rtol=1e-5)
    trained = layers.apply_layer(norm, x, key)
    np.testing.assert_allclose(trained.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], (1 - layers.BATCH_NORM_MOMENTUM) * x.mean(0), rtol=1e-4)
