"""The parts against Keras itself, by value: networks, optimizers, schedules, rules between epochs, augmentation, ...

Where Keras no longer has the code that the notebooks ran (RMSprop with epsilon outside the root, `decay=`), the
reference is an independent transcription of the old formula. Networks are written out here layer by layer, from the
notebooks and not from the configs.

Whatever passes through many operations is compared in float64 to 1e-9. Two correct programs differ there by about
1e-14, so that any other difference is one of definition; in float32 they differ by 1e-6 to 1e-4, as much as some
wrong definitions do (an epsilon, a biased variance), and a tolerance that is never flaky would hide them. The same
program runs in both: only the weights and images that it is given are float64. Tolerances are relative to the largest
magnitude of the array.
"""

import contextlib
import functools
import importlib
import math
import os
import types
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "jax")

from flax import nnx
import jax
import jax.numpy as jnp
import keras
from keras.src.backend.common import dtypes as keras_dtypes
from keras.src.legacy.preprocessing import image as keras_image
import numpy as np
import optax
import pytest
import scipy.stats

from configs import base
from digits import augment, data, layers, models, optimizer, step

STEPS = 50


@contextlib.contextmanager
def double_precision():
    """JAX and Keras in float64, for the duration; both go back whatever happens.

    Keras on JAX turns float64 into float32 wherever it promotes types, BatchNorm among others, because JAX used to.
    """
    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float64")
        with jax.enable_x64(True), mock.patch.dict(keras_dtypes.BIT64_TO_BIT32_DTYPE, float64="float64"):
            yield
    finally:
        keras.config.set_floatx(before)


@pytest.fixture
def float64():
    with double_precision():
        yield


@pytest.fixture(autouse=True)
def nothing_leaks():
    """Neither a test nor a fixture of this file may leave float64 on for the tests that follow."""
    yield
    assert keras.config.floatx() == "float32" and jnp.ones(()).dtype == jnp.float32


def as_float64(tree):
    """The arrays of a tree, floating ones as float64."""
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def assert_close(actual, expected, tolerance=1e-9):
    """Equal within `tolerance` of the largest magnitude of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(expected).all() and np.abs(expected).max() > 0, "the reference must be able to show a difference"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def load(name):
    return importlib.import_module(f"configs.{name}").get_config()


# Networks ------------------------------------------------------------------------------------------------------------


def conv(width, size, init="glorot_uniform", padding="valid", activation="relu"):
    return keras.layers.Conv2D(width, size, padding=padding, activation=activation, kernel_initializer=init)


def dense(width, init="glorot_uniform", activation="relu", l2=None):
    regularizer = keras.regularizers.L2(l2) if l2 else None
    return keras.layers.Dense(width, activation, kernel_initializer=init, kernel_regularizer=regularizer)


def logits(init="glorot_uniform"):
    return keras.layers.Dense(10, kernel_initializer=init)


pool, norm, flatten = keras.layers.MaxPooling2D, keras.layers.BatchNormalization, keras.layers.Flatten


def fixed_dropout(x, rate, key=None):
    """Inverted dropout with a mask that depends on position and rate only, in place of the random one.

    With it in both networks, dropout at another place or of another rate shows.
    """
    size = math.prod(x.shape[1:])
    keep = (np.arange(size) * 40503 % 65536 >= rate * 65536).reshape(x.shape[1:])
    return jnp.where(keep, x / (1 - rate), 0)


class Drop(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def call(self, x, training=False):
        return fixed_dropout(x, self.rate) if training else x


def deep_cnn():
    conv_ = functools.partial(conv, init="he_normal", padding="same")
    return [
        conv_(32, 3), conv_(32, 3), pool(2), Drop(0.25),
        conv_(64, 3), conv_(64, 3), pool(2), Drop(0.25),
        flatten(), dense(256, "he_normal"), Drop(0.4), logits("glorot_normal"),
    ]  # fmt: skip


def two_conv(size):
    return [
        conv(64, size, "he_normal"), conv(32, size, "he_normal"), pool(2), norm(), Drop(0.3),
        flatten(), dense(128, "he_normal"), norm(), Drop(0.5), logits(),
    ]  # fmt: skip


def five_conv(activation="relu", init="he_normal"):
    conv_ = functools.partial(conv, init=init, activation=activation)
    dense_ = functools.partial(dense, init=init, activation=activation)
    return [
        conv_(32, 3), conv_(32, 3), pool(2), norm(), Drop(0.5),
        conv_(64, 2), conv_(64, 2), pool(2), norm(), Drop(0.5),
        conv_(128, 5), norm(), Drop(0.4),
        flatten(), dense_(256), Drop(0.4), dense_(128), Drop(0.4), logits(),
    ]  # fmt: skip


def five_conv_plain():
    conv_, dense_ = functools.partial(conv, init="he_normal"), functools.partial(dense, init="he_normal")
    return [
        conv_(32, 3), conv_(32, 3), pool(2), conv_(64, 2), conv_(64, 2), pool(2), conv_(128, 5),
        flatten(), dense_(256), dense_(128), logits(),
    ]  # fmt: skip


def six_conv():
    conv_, dense_ = functools.partial(conv, init="he_normal"), functools.partial(dense, init="he_normal")
    return [
        conv_(16, 3), pool(1), norm(), Drop(0.5),
        conv_(32, 3), pool(1), norm(), Drop(0.5),
        conv_(64, 3), pool(1), norm(), Drop(0.5),
        conv_(96, 5), pool(1), norm(), Drop(0.3),
        conv_(128, 5), pool(2), norm(), Drop(0.3),
        conv_(160, 5), pool(2), norm(), Drop(0.3),
        flatten(), dense_(256), norm(), Drop(0.3), dense_(128), Drop(0.3), logits(),
    ]  # fmt: skip


def plateau_cnn():
    conv_ = functools.partial(conv, padding="same")
    return [
        conv_(64, 3), norm(), conv_(64, 3), norm(), pool(2), Drop(0.25),
        conv_(128, 3), norm(), conv_(128, 3), norm(), pool(2), Drop(0.25),
        flatten(), dense(256, l2=0.001), norm(), Drop(0.5), logits(),
    ]  # fmt: skip


# Every distinct network of the notebooks: (config, kernel size where it is searched over) -> its layers in Keras.
ARCHITECTURES = {
    ("deep_cnn", None): deep_cnn,
    **{("two_conv", size): functools.partial(two_conv, size) for size in (2, 3, 5, 7, 11)},
    ("five_conv", None): five_conv,
    ("five_conv_plain", None): five_conv_plain,
    ("five_conv_tanh", None): functools.partial(five_conv, "tanh", "glorot_normal"),
    ("six_conv", None): six_conv,
    ("plateau_cnn", None): plateau_cnn,
    ("dense_32_32", None): lambda: [flatten(), dense(32), dense(32), logits()],
    ("dense_64_64", None): lambda: [flatten(), dense(64), dense(64), logits()],
    ("dense_32_32_32", None): lambda: [flatten(), dense(32), dense(32), dense(32), logits()],
    ("dense_dropout", None): lambda: [
        flatten(), Drop(0.5), dense(128), Drop(0.5), dense(128), Drop(0.5), logits()
    ],
    ("simple_cnn", None): lambda: [conv(32, 3), pool(2), conv(64, 3), pool(2), flatten(), dense(64), logits()],
    ("simple_cnn_dropout", None): lambda: [
        conv(32, 3), pool(2), Drop(0.25), conv(64, 3), pool(2), Drop(0.25), flatten(), dense(64), Drop(0.5), logits()
    ],
    ("simple_cnn_batchnorm", None): lambda: [
        conv(32, 3), norm(), pool(2), conv(64, 3), norm(), pool(2), flatten(), dense(64), norm(), logits()
    ],
}  # fmt: skip
# The other implementation of convolution and pooling, where it could differ: even and odd kernels, `same`, odd sides.
STOCK = [("two_conv", 2), ("five_conv", None), ("simple_cnn_batchnorm", None)]
COMPARED = ("evaluation logits", "training logits", "loss", "gradients", "statistics")


def keras_network(keras_layers):
    """The network with zero kernels: drawing them would take Keras seconds a network, and ours are copied into it."""
    zeros = lambda self, shape, dtype=None, **_: jnp.zeros(shape, dtype)
    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", zeros):
        return keras.Sequential([keras.Input((28, 28, 1)), *keras_layers])


def named_variables(network):
    """The variables of a Keras network under the names of our arrays, ("conv_2", "kernel"): trained ones, statistics."""
    kinds = {keras.layers.Conv2D: "conv", keras.layers.Dense: "dense", keras.layers.BatchNormalization: "batch_norm"}
    trained, statistics, counts = {}, {}, {}
    for layer in network.layers:
        if kind := kinds.get(type(layer)):
            counts[kind] = counts.get(kind, 0) + 1
            name = f"{kind}_{counts[kind]}"
            if kind == "batch_norm":
                trained |= {(name, "scale"): layer.gamma, (name, "bias"): layer.beta}
                statistics |= {(name, "mean"): layer.moving_mean, (name, "var"): layer.moving_variance}
            else:
                trained |= {(name, "kernel"): layer.kernel, (name, "bias"): layer.bias}
    assert len(trained) == len(network.trainable_variables)
    assert len(statistics) == len(network.non_trainable_variables)
    return trained, statistics


def flat(tree):
    return {(layer, leaf): array for layer, leaves in tree.items() for leaf, array in leaves.items()}


def copy_into(network, params, stats):
    """Our weights into the Keras network, which must have the same variables, no more and no fewer."""
    for variables, ours in zip(named_variables(network), (flat(params), flat(stats)), strict=True):
        assert set(variables) == set(ours)
        for name, variable in variables.items():
            assert variable.shape == ours[name].shape
            variable.assign(ours[name])


def abstract(name, size, implementation="auto"):
    """(graphdef, params, stats) of a config's network, the arrays as shapes: nothing is drawn or compiled."""
    config = load(name)
    config.model.convolution = implementation
    if size:
        config.model.kernel_size = size
    return models.split(nnx.eval_shape(lambda: models.build(config.model, 10, jax.random.key(0))))


@functools.cache
def weights(name, size):
    """Parameters and statistics in float64, none at the initial zeros and ones, which could hide an error."""
    rng = np.random.default_rng(5)
    draw = {
        "kernel": lambda shape: rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape),
        "bias": lambda shape: rng.normal(0, 0.2, shape),
        "scale": lambda shape: rng.normal(1, 0.2, shape),
        "mean": lambda shape: rng.normal(0.3, 0.3, shape),
        "var": lambda shape: rng.uniform(0.5, 2, shape),
    }
    return tuple(
        {layer: {leaf: jnp.asarray(draw[leaf](a.shape)) for leaf, a in leaves.items()} for layer, leaves in tree.items()}
        for tree in abstract(name, size)[1:]
    )


def examples(dtype, count=6):
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.uniform(0, 1, (count, 28, 28, 1)), dtype), jnp.asarray(rng.integers(0, 10, count))


def run_ours(graphdef, params, stats, x, labels):
    """What `step.make_train_step` does up to the gradients, and an evaluation before it."""

    def loss_fn(params):
        model = nnx.merge(graphdef, params, stats)
        logits = model(x, key=jax.random.key(0))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean() + models.penalty(model), (logits, models.split(model)[2])

    evaluation = nnx.merge(graphdef, params, stats)(x)
    (loss, (logits, stats)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return dict(zip(COMPARED, (evaluation, logits, loss, flat(gradients), flat(stats)), strict=True))


def run_keras(network, x, labels):
    names = [list(variables) for variables in named_variables(network)]
    values = [[v.value for v in variables.values()] for variables in named_variables(network)]
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def run(trained, statistics, x, labels):
        def loss_fn(trained):
            call = functools.partial(network.stateless_call, return_losses=True, training=True)
            logits, after, penalties = call(trained, statistics, x)
            return criterion(labels, logits) + sum(penalties), (logits, after)

        evaluation, _ = network.stateless_call(trained, statistics, x, training=False)
        (loss, (logits, after)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(trained)
        gradients, after = dict(zip(names[0], gradients, strict=True)), dict(zip(names[1], after, strict=True))
        return evaluation, logits, loss, list(gradients.values()), list(after.values())

    *results, gradients, after = jax.jit(run)(*values, x, labels)
    results += [dict(zip(names[0], gradients, strict=True)), dict(zip(names[1], after, strict=True))]
    return dict(zip(COMPARED, results, strict=True))


@functools.cache
def keras_results(name, size):
    network = keras_network(ARCHITECTURES[name, size]())
    copy_into(network, *weights(name, size))
    return run_keras(network, *examples(jnp.float64)), network.count_params()


@functools.cache
def our_results(name, size, implementation="auto"):
    graphdef, _, _ = abstract(name, size, implementation)
    # The program is large and runs once: compiling it without optimisation halves the time of this file.
    options = {"xla_backend_optimization_level": 0} if implementation == "auto" else {}
    with mock.patch.object(layers, "dropout", fixed_dropout):
        run = jax.jit(functools.partial(run_ours, graphdef), compiler_options=options)
        return run(*weights(name, size), *examples(jnp.float64))


def assert_same_results(ours, theirs, what):
    if isinstance(theirs[what], dict):
        assert set(ours[what]) == set(theirs[what])
        for name, expected in theirs[what].items():
            assert ours[what][name].dtype == expected.dtype == jnp.float64, name
            assert_close(ours[what][name], expected)
    else:
        assert ours[what].dtype == theirs[what].dtype == jnp.float64
        assert_close(ours[what], theirs[what])


def case_id(case):
    return "-".join(str(part) for part in case if part is not None) if isinstance(case, tuple) else None


@pytest.mark.parametrize("what", COMPARED)
@pytest.mark.parametrize("case", ARCHITECTURES, ids=case_id)
def test_network_equals_keras(case, what, float64):
    assert_same_results(our_results(*case), keras_results(*case)[0], what)


@pytest.mark.parametrize("what", COMPARED)
@pytest.mark.parametrize("case", STOCK, ids=case_id)
def test_network_with_stock_convolutions_equals_keras(case, what, float64):
    assert_same_results(our_results(*case, "stock"), keras_results(*case)[0], what)


@pytest.mark.parametrize("case", ARCHITECTURES, ids=case_id)
def test_number_of_parameters_equals_keras(case, float64):
    assert sum(a.size for a in jax.tree.leaves(abstract(*case)[1:])) == keras_results(*case)[1]
