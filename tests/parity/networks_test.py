"""Networks with the same weights: logits, loss, gradients, statistics, counts and initializers against Keras."""

import functools
import math
from unittest import mock

from flax import nnx
import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from configs import base
from digits import models
from digits.config.values import with_values
from digits.models import families, layers
from digits.models.ops import dropout
from tests.parity.comparison import LITTLE_OPTIMISED, UNOPTIMISED, assert_close, double_precision, load
from tests.parity.keras_networks import (
    ARCHITECTURES,
    FEW_PARAMETERS,
    copy_into,
    fixed_dropout,
    flat,
    initializer,
    keras_network,
    kernels,
    named_variables,
)

# These train with XLA's own convolution and pooling, the others with the matrix products that replace them on the CPU.
STOCK = {
    ("two_conv", 3), ("two_conv", 11), ("deep_cnn", None), ("five_conv_tanh", None), ("simple_cnn_dropout", None),
    ("strided", None), ("separable", None),
}  # fmt: skip
COMPARED = ("evaluation logits", "training logits", "loss", "gradients", "statistics")


def config_of(name):
    if name not in FEW_PARAMETERS:
        return load(name)
    changes = {"family": "cnn"} | FEW_PARAMETERS[name]
    return with_values(base.get_config(), {f"model.{field}": value for field, value in changes.items()})


def abstract(name, size, implementation="auto"):
    """(graphdef, params, stats) of a config's network with shapes for arrays: nothing is drawn or compiled."""
    config = config_of(name)
    config.model.convolution = implementation
    if size:
        config.model.kernel_size = size
    return families.parts(models.outline(config.model, 10))


@functools.cache
def weights(name, size):
    """Random parameters and statistics in float64: the initial zeros and ones could hide an error."""
    rng = np.random.default_rng(5)
    draw = {
        "kernel": lambda shape: rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape),
        "bias": lambda shape: rng.normal(0, 0.2, shape),
        "scale": lambda shape: rng.normal(1, 0.2, shape),
        "mean": lambda shape: rng.normal(0.3, 0.3, shape),
        "var": lambda shape: rng.uniform(0.5, 2, shape),
    }

    def fill(tree):
        return {
            layer: {leaf: jnp.asarray(draw[leaf](a.shape)) for leaf, a in leaves.items()}
            for layer, leaves in tree.items()
        }

    return tuple(fill(tree) for tree in abstract(name, size)[1:])


def examples(dtype, count=4):
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.uniform(0, 1, (count, 28, 28, 1)), dtype), jnp.asarray(rng.integers(0, 10, count))


def evaluate_ours(graphdef, params, stats, x):
    return nnx.merge(graphdef, params, stats)(x)


def train_ours(graphdef, params, stats, x, labels):
    """(logits, loss, gradients, statistics) as `step.make_train_step` computes them."""

    def loss_fn(params):
        model = nnx.merge(graphdef, params, stats)
        logits = model(x, key=jax.random.key(0))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean() + families.penalty(model), (logits, families.parts(model)[2])

    (loss, (logits, stats)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return logits, loss, flat(gradients), flat(stats)


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

    *results, gradients, after = jax.jit(run, compiler_options=LITTLE_OPTIMISED)(*values, x, labels)
    results += [dict(zip(names[0], gradients, strict=True)), dict(zip(names[1], after, strict=True))]
    return dict(zip(COMPARED, results, strict=True))


@functools.cache
def documented_network(name, size):
    """The Keras network of an experiment, in float64."""
    return keras_network(ARCHITECTURES[name, size]())


@functools.cache
def keras_results(name, size):
    network = documented_network(name, size)
    copy_into(network, *weights(name, size))
    return run_keras(network, *examples(jnp.float64))


@functools.cache
def our_results(name, size):
    (x, labels), values = examples(jnp.float64), weights(name, size)
    # XLA's convolutions compile faster; the training pass has the forward pass of the products.
    graphdef, _, _ = abstract(name, size, "stock")
    evaluation = jax.jit(functools.partial(evaluate_ours, graphdef), compiler_options=LITTLE_OPTIMISED)(*values, x)
    implementation = "stock" if (name, size) in STOCK else "dot"
    graphdef, _, _ = abstract(name, size, implementation)
    options = UNOPTIMISED if implementation == "dot" else LITTLE_OPTIMISED
    with mock.patch.object(dropout, "inverted_dropout", fixed_dropout):
        run = jax.jit(functools.partial(train_ours, graphdef), compiler_options=options)
        return dict(zip(COMPARED, (evaluation, *run(*values, x, labels)), strict=True))


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
    assert_same_results(our_results(*case), keras_results(*case), what)


def test_float32_is_as_near_to_keras_as_rounding_allows():
    """Trainings run in float32. BatchNorm's variance is E[x^2] - E[x]^2 here and E[(x - E[x])^2] in Keras."""
    case, (x, _) = ("simple_cnn_batchnorm", None), examples(jnp.float32)
    with double_precision():
        in_float64 = weights(*case)
    params, stats = jax.tree.map(lambda a: np.asarray(a, np.float32), in_float64)
    network, (graphdef, _, _) = keras_network(ARCHITECTURES[case]()), abstract(*case)
    copy_into(network, params, stats)

    def ours(params, stats):
        model = nnx.merge(graphdef, params, stats)
        return (
            evaluate_ours(graphdef, params, stats, x),
            model(x, key=jax.random.key(0)),
            flat(families.parts(model)[2]),
        )

    def theirs(trained, statistics):
        evaluation, _ = network.stateless_call(trained, statistics, x, training=False)
        return evaluation, *network.stateless_call(trained, statistics, x, training=True)

    evaluation, logits, after = jax.jit(ours, compiler_options=UNOPTIMISED)(params, stats)
    values = [[v.value for v in variables.values()] for variables in named_variables(network)]
    expected = jax.jit(theirs, compiler_options=LITTLE_OPTIMISED)(*values)
    assert evaluation.dtype == logits.dtype == jnp.float32
    assert_close(evaluation, expected[0], 1e-5)
    assert_close(logits, expected[1], 1e-5)
    for name, statistic in zip(named_variables(network)[1], expected[2], strict=True):
        assert_close(after[name], statistic, 1e-5)


@pytest.mark.parametrize("case", ARCHITECTURES, ids=case_id)
def test_number_of_parameters_equals_keras(case, float64):
    assert sum(a.size for a in jax.tree.leaves(abstract(*case)[1:])) == documented_network(*case).count_params()


def spies():
    """Initializers that give zeros, and a list in which they note every (name, shape) that they are asked for."""
    asked = []

    def spy(kind):
        return lambda: lambda key, shape, dtype=jnp.float32: asked.append((kind, shape)) or jnp.zeros(shape, dtype)

    return {kind: spy(kind) for kind in layers.INITIALIZERS}, asked


@pytest.mark.parametrize("case", ARCHITECTURES, ids=case_id)
def test_every_kernel_has_the_initializer_of_keras(case, float64):
    """Compares names in the order of the layers; keras_layers_test compares the distributions."""
    initializers, asked = spies()
    with mock.patch.dict(layers.INITIALIZERS, initializers):
        abstract(*case)
    assert [(initializer(kind), shape) for kind, shape in asked] == [
        (type(own), tuple(kernel.shape)) for layer in documented_network(*case).layers for own, kernel in kernels(layer)
    ]


def test_biases_and_batch_norm_start_as_in_keras():
    with mock.patch.dict(layers.INITIALIZERS, spies()[0]):
        model = models.build(load("simple_cnn_batchnorm").model, 10, jax.random.key(0))
    network = keras_network(ARCHITECTURES["simple_cnn_batchnorm", None]())
    for variables, ours in zip(named_variables(network), map(flat, families.parts(model)[1:]), strict=True):
        for name, variable in variables.items():
            np.testing.assert_array_equal(ours[name], variable.numpy())
