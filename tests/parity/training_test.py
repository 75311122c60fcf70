"""Fifty steps of whole trainings against Keras's `train_on_batch`: losses, weights and statistics."""

import functools
import math
from unittest import mock

import jax
import jax.numpy as jnp
import keras
from keras.optimizers import SGD, Adam, RMSprop
from keras.optimizers.schedules import InverseTimeDecay
import numpy as np
import pytest

from configs import base
from digits import models
from digits.models import families, layers
from digits.training import step
from tests.conftest import slow_but
from tests.parity.comparison import UNOPTIMISED, as_float64, assert_close, load
from tests.parity.keras_networks import (
    ARCHITECTURES,
    conv,
    copy_into,
    dense,
    flat,
    flatten,
    keras_network,
    logits,
    named_variables,
    norm,
    pool,
)

STEPS = 50


class LegacyRMSprop(keras.optimizers.RMSprop):
    """RMSprop of Keras 2, epsilon outside the root, after tf.keras's optimizer_v2/rmsprop.py (no momentum)."""

    def update_step(self, gradient, variable, learning_rate):
        accumulator = self._velocities[self._get_variable_index(variable)]
        accumulator.assign(self.rho * accumulator.value + (1 - self.rho) * gradient * gradient)
        rate = keras.ops.convert_to_tensor(learning_rate)
        variable.assign_sub(rate * gradient / (jnp.sqrt(accumulator.value) + self.epsilon))


def tiny(batch_norm):
    """A config of a small CNN that uses everything that the step can do except dropout."""
    config = base.get_config()
    config.model.family = "cnn"
    # The step makes float32 images, which XLA's own convolution does not accept beside float64 weights.
    config.model.convolution = "dot"
    config.model.blocks = ((4,),)
    config.model.batch_norm = batch_norm
    config.model.hidden = (8,)
    config.model.hidden_batch_norm = True
    config.model.hidden_l2 = 0.01
    return config


def tiny_layers(batch_norm):
    block = [conv(4, 3), norm(), pool(2)] if batch_norm == "conv" else [conv(4, 3), pool(2), norm()]
    return [*block, flatten(), dense(8, l2=0.01), norm(), logits()]


def with_optimizer(config, schedule=None, **fields):
    config.optimizer.update(fields)
    config.schedule.update(schedule or {})
    return config


TRAININGS = {
    "dense_32_32": (
        lambda: load("dense_32_32"), ARCHITECTURES["dense_32_32", None], lambda: keras.optimizers.get("sgd")
    ),
    "adam": (lambda: tiny("conv"), lambda: tiny_layers("conv"), lambda: Adam(1e-3)),
    "rmsprop": (
        lambda: with_optimizer(tiny("block"), name="rmsprop", epsilon_in_sqrt=True),
        lambda: tiny_layers("block"),
        lambda: RMSprop(1e-3),
    ),
    "rmsprop of legacy Keras, as in five_conv_rmsprop": (
        lambda: with_optimizer(tiny("block"), **load("five_conv_rmsprop").optimizer),
        lambda: tiny_layers("block"),
        lambda: LegacyRMSprop(1e-3, rho=0.9, epsilon=1e-7),
    ),
    "momentum and decay": (
        lambda: with_optimizer(
            tiny("conv"), {"name": "inverse_time", "decay": 0.1}, name="sgd", learning_rate=0.09, momentum=0.9
        ),
        lambda: tiny_layers("conv"),
        lambda: SGD(InverseTimeDecay(0.09, decay_steps=1, decay_rate=0.1), momentum=0.9),
    ),
}  # fmt: skip


def batches(normalization):
    """50 batches of 8: uint8 images, sparse as digits are, for us; normalised images for Keras; labels.

    The step normalises in float32. Pixels are 0 or 255, and an image column has 0, 1, 4 or 16 bright ones, so that
    neither the division by 255 nor that by the column's norm rounds, in any precision.
    """
    rng = np.random.default_rng(13)
    bright = rng.choice([0, 1, 4, 16], (STEPS * 8, 1, 28))
    images = 255 * (rng.random((STEPS * 8, 28, 28)).argsort(1).argsort(1) < bright).astype(np.uint8)
    x = images / 255 if normalization == "unit" else keras.utils.normalize(images.astype(np.float64), axis=1)
    # Labels that the images tell something about, so that training gets somewhere.
    labels = (images[:, :14].sum((1, 2), dtype=np.int64) // 2550 % 10).astype(np.int32)
    parts = images, x[..., None], labels
    return tuple(part.reshape(STEPS, 8, *part.shape[1:]) for part in parts)


@pytest.mark.parametrize("case", slow_but(["adam"], TRAININGS))
def test_fifty_steps_of_training_equal_keras(case, float64):
    build_config, keras_layers, keras_optimizer = TRAININGS[case]
    config = build_config()
    config.epochs = 5
    images, x, labels = batches(config.data.normalization)
    rng = np.random.default_rng(29)

    def draw():
        return lambda key, shape, dtype: jnp.asarray(rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape))

    with mock.patch.dict(layers.INITIALIZERS, dict.fromkeys(layers.INITIALIZERS, draw)):  # Compiles nothing.
        state = as_float64(step.init_state(config, 10))
    network = keras_network(keras_layers())
    copy_into(network, state.params, state.stats)
    network.compile(keras_optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected_losses = [network.train_on_batch(*batch) for batch in zip(x, labels, strict=True)]

    graphdef = families.parts(models.outline(config.model, 10))[0]
    train_step = step.make_train_step(config, graphdef, steps_per_epoch=STEPS // config.epochs)
    run = jax.jit(functools.partial(jax.lax.scan, train_step), compiler_options=UNOPTIMISED)
    state, metrics = run(state, (images, labels))
    assert_close(metrics.loss.compute(), expected_losses)
    assert np.ptp(expected_losses) > 0.01, "training must get somewhere"
    for variables, ours in zip(named_variables(network), (flat(state.params), flat(state.stats)), strict=True):
        for name, variable in variables.items():
            assert_close(ours[name], variable.numpy())
