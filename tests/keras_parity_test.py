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
from digits import augment, checks, data, layers, models, optimizer, step

# Of Keras's own code.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Please import `affine_transform` from:DeprecationWarning"),
]

STEPS = 50
# The programs are large and run once: compiling them with little or no optimisation saves a third of this file's time.
# (With none at all the stock convolutions of float64 take seconds.)
UNOPTIMISED, LITTLE_OPTIMISED = {"xla_backend_optimization_level": 0}, {"xla_backend_optimization_level": 1}


@contextlib.contextmanager
def double_precision():
    """JAX and Keras in float64, for the duration; both go back whatever happens.

    Keras on JAX turns float64 into float32 wherever it promotes types, BatchNorm among others, because JAX used to.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        with jax.enable_x64(True), mock.patch.dict(keras_dtypes.BIT64_TO_BIT32_DTYPE, float64="float64"):
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@pytest.fixture
def float64():
    with double_precision():
        yield


@pytest.fixture(autouse=True)
def nothing_leaks():
    """Neither a test nor a fixture of this file may leave float64 on for the tests that follow."""
    yield
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"
    assert jnp.ones(()).dtype == jnp.float32


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


def fixed_dropout(x, rate, key=None, bits=None, shard=None):
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
# These train with XLA's own convolution and pooling, the others with the products that stand in for them on the CPU.
STOCK = {("two_conv", 3), ("two_conv", 11), ("deep_cnn", None), ("five_conv_tanh", None), ("simple_cnn_dropout", None)}
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
            variable.assign(np.array(ours[name]))  # A copy: Keras's training step donates its arrays.


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
    fill = lambda leaves: {leaf: jnp.asarray(draw[leaf](a.shape)) for leaf, a in leaves.items()}
    return tuple({layer: fill(leaves) for layer, leaves in tree.items()} for tree in abstract(name, size)[1:])


def examples(dtype, count=4):
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.uniform(0, 1, (count, 28, 28, 1)), dtype), jnp.asarray(rng.integers(0, 10, count))


def evaluate_ours(graphdef, params, stats, x):
    return nnx.merge(graphdef, params, stats)(x)


def train_ours(graphdef, params, stats, x, labels):
    """What `step.make_train_step` does up to the gradients: logits, loss, gradients, statistics."""

    def loss_fn(params):
        model = nnx.merge(graphdef, params, stats)
        logits = model(x, key=jax.random.key(0))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean() + models.penalty(model), (logits, models.split(model)[2])

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
    # Evaluation with XLA's convolutions, which compile faster; the training pass goes forward with the products anyway.
    graphdef, _, _ = abstract(name, size, "stock")
    evaluation = jax.jit(functools.partial(evaluate_ours, graphdef), compiler_options=LITTLE_OPTIMISED)(*values, x)
    implementation = "stock" if (name, size) in STOCK else "dot"
    graphdef, _, _ = abstract(name, size, implementation)
    options = UNOPTIMISED if implementation == "dot" else LITTLE_OPTIMISED
    with mock.patch.object(layers, "dropout", fixed_dropout):
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
    """What training really uses; BatchNorm's variance is E[x^2] - E[x]^2 here and E[(x - E[x])^2] in Keras."""
    case, (x, _) = ("simple_cnn_batchnorm", None), examples(jnp.float32)
    with double_precision():
        in_float64 = weights(*case)
    params, stats = jax.tree.map(lambda a: np.asarray(a, np.float32), in_float64)
    network, (graphdef, _, _) = keras_network(ARCHITECTURES[case]()), abstract(*case)
    copy_into(network, params, stats)

    def ours(params, stats):
        model = nnx.merge(graphdef, params, stats)
        return evaluate_ours(graphdef, params, stats, x), model(x, key=jax.random.key(0)), flat(models.split(model)[2])

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
    """Initializers that give zeros, and the list of (name, shape) that they were asked for, in order."""
    asked = []

    def spy(kind):
        return lambda: lambda key, shape, dtype=jnp.float32: asked.append((kind, shape)) or jnp.zeros(shape, dtype)

    return {kind: spy(kind) for kind in models.INITIALIZERS}, asked


@pytest.mark.parametrize("case", ARCHITECTURES, ids=case_id)
def test_every_kernel_has_the_initializer_of_keras(case, float64):
    """By name, in the order of the layers. That the names mean the same, the next section shows."""
    initializers, asked = spies()
    with mock.patch.dict(models.INITIALIZERS, initializers):
        abstract(*case)
    assert [(keras_initializer(kind), shape) for kind, shape in asked] == [
        (type(layer.kernel_initializer), tuple(layer.kernel.shape))
        for layer in documented_network(*case).layers
        if hasattr(layer, "kernel")
    ]


def test_biases_and_batch_norm_start_as_in_keras():
    with mock.patch.dict(models.INITIALIZERS, spies()[0]):
        model = models.build(load("simple_cnn_batchnorm").model, 10, jax.random.key(0))
    network = keras_network(ARCHITECTURES["simple_cnn_batchnorm", None]())
    for variables, ours in zip(named_variables(network), map(flat, models.split(model)[1:]), strict=True):
        for name, variable in variables.items():
            np.testing.assert_array_equal(ours[name], variable.numpy())


@pytest.mark.parametrize("implementation", ["dot", "stock"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolution_and_pooling_equal_keras_for_even_and_odd_sizes(padding, implementation, float64):
    """Also what no experiment has: even kernels with `same`, and images that are not square."""
    rng = np.random.default_rng(31)
    x = jnp.asarray(rng.normal(0, 1, (2, 9, 8, 3)))
    for size in (2, 3, 4):
        kernel = jnp.asarray(rng.normal(0, 1, (size, size, 3, 2)))
        assert_close(layers.conv(x, kernel, padding, implementation), keras.ops.conv(x, kernel, padding=padding))
        if padding == "valid":
            assert_close(layers.max_pool(x, size, implementation), keras.ops.max_pool(x, size, size))


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_dropout_keeps_as_many_and_scales_as_much_as_keras(rate):
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (400, 500)), jnp.float32)
    dropout = models.Dropout(models.Number(rate, "hidden_dropout", 0))
    ours = np.asarray(dropout(x, jax.random.key(1)))
    theirs = np.asarray(keras.layers.Dropout(rate, seed=1)(x, training=True))
    both = (ours != 0) & (theirs != 0)
    assert 0.9 * (1 - rate) ** 2 < both.mean() < 1.1 * (1 - rate) ** 2
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-6)
    # Five standard errors of the share of kept numbers.
    error = 5 * math.sqrt(rate * (1 - rate) / x.size)
    assert abs((ours != 0).mean() - (1 - rate)) < error and abs((theirs != 0).mean() - (1 - rate)) < error
    np.testing.assert_array_equal(dropout(x, None), x)


# Initializers --------------------------------------------------------------------------------------------------------


def keras_initializer(kind):
    """The Keras class of one of our names: "he_normal" -> keras.initializers.HeNormal."""
    return getattr(keras.initializers, kind.title().replace("_", ""))


@pytest.mark.parametrize("shape", [(600, 400), (5, 5, 40, 100)], ids=["dense", "conv"])
@pytest.mark.parametrize("kind", sorted(models.INITIALIZERS))
def test_initializer_has_the_distribution_of_keras(kind, shape):
    ours = np.asarray(models.INITIALIZERS[kind]()(jax.random.key(2), shape, jnp.float32), np.float64).ravel()
    theirs = np.asarray(keras_initializer(kind)(seed=3)(shape), np.float64).ravel()
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


# Optimizers ----------------------------------------------------------------------------------------------------------


def optimizer_config(schedule=None, **fields):
    """A config with optimizer (and schedule) fields set."""
    config = base.get_config()
    config.epochs = 5
    config.optimizer.update(fields)
    config.schedule.update(schedule or {})
    checks.check(config)
    return config


def problem():
    """Parameters and 50 gradients, the same whatever the parameters become; from 1e-10, where epsilon rules, to 1."""
    rng = np.random.default_rng(11)
    params = {"bias": rng.normal(0, 1, 3), "kernel": rng.normal(0, 1, (4, 3))}
    gradients = {
        name: rng.normal(0, 1, (STEPS, *p.shape)) * np.logspace(-10, 0, p.size).reshape(p.shape)
        for name, p in params.items()
    }
    return jax.tree.map(jnp.asarray, (params, gradients))


def our_trajectory(config, params, gradients, bases=None):
    """The parameters after each of 50 updates, made as the training step makes them."""
    tx = optimizer.build(config.optimizer)
    rate = optimizer.learning_rate(config.schedule, config.epochs, STEPS // config.epochs)
    bases = jnp.full(STEPS, config.optimizer.learning_rate) if bases is None else jnp.asarray(bases)

    def update(carry, inputs):
        (params, state), (step_, base_, grads) = carry, inputs
        updates, state = tx.update(grads, state, params, learning_rate=rate(step_, base_))
        params = optax.apply_updates(params, updates)
        return (params, state), params

    steps = jnp.arange(STEPS, dtype=jnp.int32)
    return jax.jit(lambda: jax.lax.scan(update, (params, tx.init(params)), (steps, bases, gradients)))()[1]


def keras_trajectory(keras_optimizer, params, gradients, bases=None):
    variables = {name: keras.Variable(p) for name, p in params.items()}
    keras_optimizer.exclude_from_weight_decay(var_list=[variables["bias"]])
    trajectory = {name: [] for name in params}
    for index in range(STEPS):
        if bases is not None:
            keras_optimizer.learning_rate = bases[index]
        keras_optimizer.apply([gradients[name][index] for name in variables], list(variables.values()))
        for name, variable in variables.items():
            trajectory[name].append(variable.numpy())
    return trajectory


def assert_same_trajectory(ours, theirs):
    for name, expected in theirs.items():
        assert ours[name].dtype == jnp.float64
        assert np.std(expected, axis=0).max() > 1e-4, "the parameters must move"
        assert_close(ours[name], expected)


class LegacyRMSprop(keras.optimizers.RMSprop):
    """RMSprop of Keras 2, epsilon outside the root, after tf.keras's optimizer_v2/rmsprop.py (no momentum)."""

    def update_step(self, gradient, variable, learning_rate):
        accumulator = self._velocities[self._get_variable_index(variable)]
        accumulator.assign(self.rho * accumulator.value + (1 - self.rho) * gradient * gradient)
        rate = keras.ops.convert_to_tensor(learning_rate)
        variable.assign_sub(rate * gradient / (jnp.sqrt(accumulator.value) + self.epsilon))


SGD, Adam, RMSprop, InverseTime = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.RMSprop,
    functools.partial(keras.optimizers.schedules.InverseTimeDecay, decay_steps=1),
)
INVERSE_TIME = {"name": "inverse_time", "decay": 0.1}
# Our optimizer fields, our schedule fields, Keras's optimizer.
OPTIMIZERS = {
    "adam": ({"name": "adam"}, {}, lambda: Adam(1e-3, epsilon=1e-7)),
    "adam with other betas and epsilon": (
        {"name": "adam", "learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}, {},
        lambda: Adam(0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-4),
    ),
    "sgd": ({"name": "sgd", "learning_rate": 0.01}, {}, lambda: SGD(0.01)),
    "sgd by name, as notebook 003 ran it": (
        {"name": "sgd", "learning_rate": 0.01}, {}, lambda: keras.optimizers.get("sgd")
    ),
    "momentum": ({"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}, {}, lambda: SGD(0.01, momentum=0.9)),
    "nesterov": (
        {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": True}, {},
        lambda: SGD(0.01, momentum=0.9, nesterov=True),
    ),
    "momentum with a changing rate": (
        {"name": "sgd", "learning_rate": 0.09, "momentum": 0.9}, INVERSE_TIME,
        lambda: SGD(InverseTime(0.09, decay_rate=0.1), momentum=0.9),
    ),
    "nesterov with a changing rate": (
        {"name": "sgd", "learning_rate": 0.09, "momentum": 0.9, "nesterov": True}, INVERSE_TIME,
        lambda: SGD(InverseTime(0.09, decay_rate=0.1), momentum=0.9, nesterov=True),
    ),
    "adam with a cosine": (
        {"name": "adam"}, {"name": "cosine", "final_fraction": 0.1},
        lambda: Adam(keras.optimizers.schedules.CosineDecay(1e-3, STEPS, alpha=0.1)),
    ),
    "rmsprop": (
        {"name": "rmsprop", "epsilon_in_sqrt": True}, {}, lambda: RMSprop(1e-3, rho=0.9, epsilon=1e-7)
    ),
    "sgd clipped": ({"name": "sgd", "learning_rate": 0.1, "clip_norm": 0.4}, {}, lambda: SGD(0.1, global_clipnorm=0.4)),
    "momentum clipped": (
        {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "clip_norm": 0.4}, {},
        lambda: SGD(0.1, momentum=0.9, global_clipnorm=0.4),
    ),
    "adam clipped": (
        {"name": "adam", "learning_rate": 0.01, "clip_norm": 0.4}, {}, lambda: Adam(0.01, global_clipnorm=0.4)
    ),
    "adam with weight decay": (
        {"name": "adam", "weight_decay": 0.05}, {}, lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.05)
    ),
    "adam with weight decay and a changing rate": (
        {"name": "adam", "weight_decay": 0.05}, INVERSE_TIME,
        lambda: keras.optimizers.AdamW(InverseTime(1e-3, decay_rate=0.1), weight_decay=0.05),
    ),
    "sgd with weight decay": (
        {"name": "sgd", "learning_rate": 0.01, "weight_decay": 0.05}, {}, lambda: SGD(0.01, weight_decay=0.05)
    ),
    "rmsprop with weight decay": (
        {"name": "rmsprop", "epsilon_in_sqrt": True, "weight_decay": 0.05}, {}, lambda: RMSprop(1e-3, weight_decay=0.05)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizer_equals_keras(case, float64):
    fields, schedule, keras_optimizer = OPTIMIZERS[case]
    start = problem()
    ours = our_trajectory(optimizer_config(schedule, **fields), *start)
    assert_same_trajectory(ours, keras_trajectory(keras_optimizer(), *start))


MOMENTUMS = pytest.mark.parametrize(
    "fields", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=["plain", "nesterov"]
)


@MOMENTUMS
def test_momentum_with_weight_decay_equals_keras(fields, float64):
    start = problem()
    ours = our_trajectory(optimizer_config(name="sgd", learning_rate=0.01, weight_decay=0.05, **fields), *start)
    assert_same_trajectory(ours, keras_trajectory(SGD(0.01, weight_decay=0.05, **fields), *start))


@MOMENTUMS
def test_momentum_equals_keras_when_a_rule_lowers_the_base_rate_between_steps(fields, float64):
    """What the plateau rule does: steps already taken keep their rate inside the momentum."""
    start, bases = problem(), np.repeat([0.1, 0.05, 0.025, 0.0125, 0.001], STEPS // 5)
    ours = our_trajectory(optimizer_config(name="sgd", learning_rate=0.1, **fields), *start, bases)
    assert_same_trajectory(ours, keras_trajectory(SGD(0.1, **fields), *start, bases))


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("rho, epsilon", [(0.9, 1e-7), (0.5, 1e-3)])
def test_rmsprop_equals_the_formula_of_legacy_keras(rho, epsilon, decay, float64):
    """tf.keras 2: a = rho a + (1 - rho) g^2, p -= lr g / (sqrt(a) + epsilon), lr / (1 + decay * updates so far)."""
    params, gradients = problem()
    schedule = {"name": "inverse_time", "decay": decay} if decay else {}
    config = optimizer_config(schedule, name="rmsprop", rho=rho, epsilon=epsilon)
    assert not config.optimizer.epsilon_in_sqrt, "legacy Keras's form is the default, for notebook 001"
    expected = {}
    for name, p in params.items():
        p, accumulator, expected[name] = np.array(p), 0.0, []
        for updates, g in enumerate(np.array(gradients[name])):
            accumulator = rho * accumulator + (1 - rho) * g**2
            p = p - 1e-3 / (1 + decay * updates) * g / (np.sqrt(accumulator) + epsilon)
            expected[name].append(p)
    assert_same_trajectory(our_trajectory(config, params, gradients), expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_and_decay_equal_the_formula_of_legacy_keras(nesterov, float64):
    """Keras 2's SGD(lr, momentum, decay, nesterov), which the notebook means: v = m v - lr g; p += v or m v - lr g."""
    params, gradients = problem()
    config = optimizer_config(INVERSE_TIME, name="sgd", learning_rate=0.09, momentum=0.9, nesterov=nesterov)
    expected = {}
    for name, p in params.items():
        p, velocity, expected[name] = np.array(p), 0.0, []
        for updates, g in enumerate(np.array(gradients[name])):
            rate = 0.09 * (1 / (1 + 0.1 * updates))
            velocity = 0.9 * velocity - rate * g
            p = p + (0.9 * velocity - rate * g if nesterov else velocity)
            expected[name].append(p)
    assert_same_trajectory(our_trajectory(config, params, gradients), expected)


# Schedules -----------------------------------------------------------------------------------------------------------


def our_rates(config, epochs, steps_per_epoch):
    rate = optimizer.learning_rate(config.schedule, epochs, steps_per_epoch)
    steps = jnp.arange(epochs * steps_per_epoch, dtype=jnp.int32)
    rates = jax.vmap(rate, (0, None))(steps, jnp.asarray(config.optimizer.learning_rate))
    return np.broadcast_to(rates, steps.shape)


def test_exponential_schedule_is_the_notebooks_function_of_the_epoch(float64):
    config, steps_per_epoch = load("deep_cnn"), 7
    # Notebook 000, given to keras.callbacks.LearningRateScheduler, which counts epochs from 0.
    schedule = lambda epoch: 0.001 if epoch < 10 else 0.001 * math.exp(0.1 * (10 - epoch))
    stub = types.SimpleNamespace(optimizer=types.SimpleNamespace(learning_rate=config.optimizer.learning_rate))
    callback = keras.callbacks.LearningRateScheduler(schedule)
    callback.set_model(stub)
    expected = []
    for epoch in range(config.epochs):
        callback.on_epoch_begin(epoch)
        expected += [stub.optimizer.learning_rate] * steps_per_epoch
    rates = our_rates(config, config.epochs, steps_per_epoch)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[11 * steps_per_epoch - 1] == 0.001 > rates[11 * steps_per_epoch]  # Epochs 1 to 11 at the full rate.
    assert rates[-1] == pytest.approx(2.02e-5, abs=5e-8)


@pytest.mark.parametrize("decay", [1e-6, 0.02])
def test_inverse_time_schedule_equals_keras(decay, float64):
    config = optimizer_config({"name": "inverse_time", "decay": decay}, name="sgd", learning_rate=0.09)
    keras_schedule = InverseTime(0.09, decay_rate=decay)
    expected = [float(keras_schedule(step_)) for step_ in range(60)]
    np.testing.assert_allclose(our_rates(config, 6, 10), expected, rtol=1e-12)


@pytest.mark.parametrize("final_fraction", [0.0, 0.1])
def test_cosine_schedule_equals_keras(final_fraction, float64):
    config = optimizer_config({"name": "cosine", "final_fraction": final_fraction}, learning_rate=0.01)
    keras_schedule = keras.optimizers.schedules.CosineDecay(0.01, 60, alpha=final_fraction)
    expected = [float(keras_schedule(step_)) for step_ in range(60)]
    np.testing.assert_allclose(our_rates(config, 6, 10), expected, rtol=1e-12, atol=1e-17)


# Whole trainings -----------------------------------------------------------------------------------------------------


def tiny(batch_norm):
    """A config of a CNN that trains in a moment, with whatever the step can have except dropout."""
    config = base.get_config()
    config.model.family = "cnn"
    # The step makes float32 images of its own; with float64 weights the stock convolution would refuse them.
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
        lambda: with_optimizer(tiny("conv"), INVERSE_TIME, name="sgd", learning_rate=0.09, momentum=0.9),
        lambda: tiny_layers("conv"),
        lambda: SGD(InverseTime(0.09, decay_rate=0.1), momentum=0.9),
    ),
}  # fmt: skip


def batches(normalization):
    """50 batches of 8 uint8 images, sparse as digits are, and what Keras gets: normalised exactly, in any precision.

    The step normalises in float32. Pixels are 0 or 255, and an image column has 0, 1, 4 or 16 bright ones, so that
    neither the division by 255 nor that by the column's norm rounds.
    """
    rng = np.random.default_rng(13)
    bright = rng.choice([0, 1, 4, 16], (STEPS * 8, 1, 28))
    images = 255 * (rng.random((STEPS * 8, 28, 28)).argsort(1).argsort(1) < bright).astype(np.uint8)
    x = images / 255 if normalization == "unit" else keras.utils.normalize(images.astype(np.float64), axis=1)
    # Labels that the images tell something about, so that training gets somewhere.
    labels = (images[:, :14].sum((1, 2), dtype=np.int64) // 2550 % 10).astype(np.int32)
    parts = images, x[..., None], labels
    return tuple(part.reshape(STEPS, 8, *part.shape[1:]) for part in parts)


@pytest.mark.parametrize("case", TRAININGS)
def test_fifty_steps_of_training_equal_keras(case, float64):
    build_config, keras_layers, keras_optimizer = TRAININGS[case]
    config = build_config()
    config.epochs = 5
    images, x, labels = batches(config.data.normalization)
    rng = np.random.default_rng(29)
    draw = lambda: lambda key, shape, dtype: jnp.asarray(rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape))
    with mock.patch.dict(models.INITIALIZERS, dict.fromkeys(models.INITIALIZERS, draw)):  # Takes no compilation.
        state = as_float64(step.init_state(config, 10))
    network = keras_network(keras_layers())
    copy_into(network, state.params, state.stats)
    network.compile(keras_optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected_losses = [network.train_on_batch(*batch) for batch in zip(x, labels, strict=True)]

    graphdef = models.split(nnx.eval_shape(lambda: models.build(config.model, 10, jax.random.key(0))))[0]
    train_step = step.make_train_step(config, graphdef, steps_per_epoch=STEPS // config.epochs)
    run = jax.jit(functools.partial(jax.lax.scan, train_step), compiler_options=UNOPTIMISED)
    state, metrics = run(state, (images, labels))
    assert_close(metrics["loss"] / metrics["count"], expected_losses)
    assert np.ptp(expected_losses) > 0.01, "training must get somewhere"
    for variables, ours in zip(named_variables(network), (flat(state.params), flat(state.stats)), strict=True):
        for name, variable in variables.items():
            assert_close(ours[name], variable.numpy())


# Rules between epochs ------------------------------------------------------------------------------------------------

# Recorded by the notebooks: 002 (lines 88-101), 001 (1154-1227), 004 (1458-1500).
RECORDED = {
    "plateau_cnn": {
        "val_loss": (0.2267, 0.1886, 0.1802, 0.1571, 0.1515, 0.1569, 0.1646),
        "val_accuracy": (0.9775, 0.9765, 0.9812, 0.9907, 0.9865, 0.9887, 0.9877),
    },
    "five_conv_tanh": {
        "val_loss": (
            0.2793, 0.1027, 0.0946, 0.4779, 0.1466, 0.0786, 0.0824, 0.1230, 0.1418, 0.0620,
            0.0724, 0.0610, 0.0572, 0.1263, 0.0864, 0.0649, 0.0335, 0.0395, 0.0443, 0.0354,
        ),
        "val_accuracy": (
            0.9227, 0.9703, 0.9727, 0.8763, 0.9570, 0.9771, 0.9756, 0.9637, 0.9592, 0.9812,
            0.9781, 0.9833, 0.9850, 0.9610, 0.9741, 0.9821, 0.9890, 0.9875, 0.9879, 0.9903,
        ),
    },
    "simple_cnn": {
        "val_loss": (0.0723, 0.0495, 0.0381, 0.0384, 0.0389, 0.0468, 0.0464, 0.0459, 0.0449, 0.0489),
        "val_accuracy": (0.9790, 0.9859, 0.9889, 0.9896, 0.9894, 0.9880, 0.9885, 0.9894, 0.9888, 0.9894),
    },
}  # fmt: skip


def our_rules(config, values):
    """Rates after every epoch, the epoch that stopped (None: none) and the best epoch when stopping ends."""
    plateau, stopping = optimizer.Plateau(config.optimizer.learning_rate), optimizer.EarlyStopping()
    rates, stopped, best = [], None, None
    for epoch, value in enumerate(values, start=1):
        plateau.update(config.schedule, config.monitor, value)
        rates.append(plateau.learning_rate)
        if stopped is None:
            stopping.update(config.early_stopping, config.monitor, value, epoch)
            stopped, best = epoch if stopping.stop else None, stopping.best_epoch
    return rates, stopped, best


def keras_rules(config, values):
    """The same of Keras's callbacks, driven with a stand-in for the model."""
    schedule, stopping = config.schedule, config.early_stopping
    mode = "max" if config.monitor.endswith("accuracy") else "min"
    model = types.SimpleNamespace(
        optimizer=types.SimpleNamespace(learning_rate=config.optimizer.learning_rate), stop_training=False
    )
    plateau_callback = keras.callbacks.ReduceLROnPlateau(
        monitor=config.monitor, factor=schedule.factor, patience=schedule.patience, mode=mode,
        min_delta=schedule.min_delta, cooldown=schedule.cooldown, min_lr=schedule.min_learning_rate,
    )  # fmt: skip
    stopping_callback = keras.callbacks.EarlyStopping(
        monitor=config.monitor, min_delta=stopping.min_delta, patience=stopping.patience, mode=mode
    )
    for callback in (plateau_callback, stopping_callback):
        callback.set_model(model)
        callback.on_train_begin()
    rates, stopped, best = [], None, None
    for epoch, value in enumerate(values):
        plateau_callback.on_epoch_end(epoch, {config.monitor: value})
        rates.append(float(model.optimizer.learning_rate))
        if stopped is None:
            stopping_callback.on_epoch_end(epoch, {config.monitor: value})
            stopped, best = epoch + 1 if model.stop_training else None, stopping_callback.best_epoch + 1
    return rates, stopped, best


def rules_config(monitor, stop_patience=7, stop_min_delta=0.0, **schedule):
    config = base.get_config()
    config.monitor, config.schedule.name = monitor, "plateau"
    config.schedule.update(schedule)
    config.early_stopping.patience, config.early_stopping.min_delta = stop_patience, stop_min_delta
    return config


# All in float64: legacy Keras compared Python floats. In float32, to which Keras on JAX rounds both sides, improvements
# of exactly `min_delta`, frequent in figures of four decimals, are decided by rounding.
@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("patience, stop_patience", [(1, 2), (2, 3), (3, 7), (5, 4)])
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("name", RECORDED)
def test_rules_equal_keras_on_recorded_histories(name, monitor, patience, stop_patience, cooldown, float64):
    config = rules_config(monitor, stop_patience, factor=0.5, patience=patience, cooldown=cooldown)
    values = RECORDED[name][monitor]
    assert our_rules(config, values) == keras_rules(config, values)


def test_plateau_cnn_would_halve_its_rate_in_epoch_9_and_stop_after_epoch_12(float64):
    """The notebook's log breaks off in epoch 8; had nothing improved after it, this would have followed."""
    config = load("plateau_cnn")
    values = (*RECORDED["plateau_cnn"]["val_loss"], *[0.17] * 13)
    rates, stopped, best = our_rules(config, values)
    assert (rates, stopped, best) == keras_rules(config, values)
    assert rates[:8] == [1e-3] * 7 + [5e-4] and (stopped, best) == (12, 5)  # After epoch 8, hence in effect in epoch 9.


def test_rules_equal_keras_on_random_histories(float64):
    rng = np.random.default_rng(17)
    cuts = stops = 0
    for index in range(250):
        monitor = ("val_loss", "val_accuracy", "loss", "accuracy")[index % 4 if index % 3 == 0 else index % 2]
        config = rules_config(
            monitor,
            stop_patience=int(rng.integers(1, 9)),
            stop_min_delta=float(rng.choice([0, 1e-3, 0.02])),
            factor=float(rng.choice([0.1, 0.5, 0.9, rng.uniform(0.05, 0.95)])),
            patience=int(rng.integers(1, 6)),
            min_delta=float(rng.choice([0, 1e-4, 1e-3, 0.02])),
            cooldown=int(rng.integers(0, 5)),
            # Keras compares with the float32 of this; these are the same in both.
            min_learning_rate=float(rng.choice([0, 2**-16, 2**-12, 2**-10])),
        )
        # A curve that improves ever more slowly, with noise; rounded, so that values and improvements repeat exactly.
        decline = rng.uniform(0.1, 0.5) * np.exp(-rng.uniform(0.05, 1) * np.arange(30))
        values = decline + rng.choice([0.002, 0.02, 0.1]) * rng.normal(size=30)
        values = np.round(1 - values if monitor.endswith("accuracy") else values, int(rng.integers(2, 5)))
        if index % 10 == 9:
            values[rng.integers(0, 30, 2)] = [math.nan, math.inf]
        values = values.tolist()
        ours, theirs = our_rules(config, values), keras_rules(config, values)
        assert ours == theirs, (config.schedule, config.early_stopping, values)
        cuts += len(set(ours[0])) > 2
        stops += ours[1] is not None
    assert cuts > 50 and 50 < stops < 250, "the histories must exercise the rules"


# Augmentation --------------------------------------------------------------------------------------------------------


def keras_affine(images, parameters):
    """Keras's transform of every image, with the axes that its ImageDataGenerator passes."""
    return np.stack([
        keras_image.apply_affine_transform(
            image, **{name: value[index] for name, value in parameters.items()},
            row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
        )
        for index, image in enumerate(images)
    ])  # fmt: skip


def our_affine(images, parameters):
    names = {"zx": "zoom_x", "zy": "zoom_y"}
    arguments = {names.get(name, name): jnp.asarray(value, jnp.float32) for name, value in parameters.items()}
    return np.asarray(jax.jit(augment.affine)(jnp.asarray(images, jnp.float32), **arguments))


def digit_like(rng, count, height=28, width=28):
    """Blurred strokes on black, 0 to 255, off the centre: not symmetric under anything."""
    rows, columns = np.mgrid[:height, :width]
    images = np.zeros((count, height, width))
    for image in images:
        for _ in range(4):
            (r0, c0), (r1, c1) = rng.uniform(0.15, 0.75, (2, 2)) * (height, width)
            along = np.linspace(0, 1, 20)[:, None, None]
            distance = (rows - r0 - along * (r1 - r0)) ** 2 + (columns - c0 - along * (c1 - c0)) ** 2
            image += np.exp(-distance.min(0) / 1.5)
    return 255 * np.minimum(images, 1)[..., None]


NEUTRAL = {"theta": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0, "tx": 0.0, "ty": 0.0}
AFFINE_RANGES = {
    "theta": (-40, 40), "shear": (-30, 30), "zx": (0.6, 1.4), "zy": (0.6, 1.4), "tx": (-6, 6), "ty": (-6, 6)
}  # fmt: skip


@pytest.mark.parametrize("which", [*AFFINE_RANGES, "all", "as in deep_cnn", "as in plateau_cnn_as_written"])
@pytest.mark.parametrize("kind", ["digit-like", "random", "not square"])
def test_affine_transform_equals_keras(kind, which):
    """Each parameter by itself, for its axis and sign, and all together. To 1e-5 of the range of the pixels."""
    rng, count = np.random.default_rng(19), 12
    if kind == "digit-like":
        images = digit_like(rng, count)
    else:
        images = rng.uniform(0, 255, (count, 28, 28 if kind == "random" else 20, 1))
    images = images.astype(np.float32)
    ranges = dict(AFFINE_RANGES)
    if which == "as in deep_cnn":
        ranges = {"theta": (-5, 5), "shear": (-0.05, 0.05), "zx": (0.95, 1.05), "zy": (0.95, 1.05)}
    elif which == "as in plateau_cnn_as_written":
        ranges = {"theta": (-10, 10), "zx": (0.9, 1.1), "zy": (0.9, 1.1), "tx": (-2.8, 2.8), "ty": (-2.8, 2.8)}
    elif which != "all":
        ranges = {which: AFFINE_RANGES[which]}
    parameters = {name: np.full(count, value) for name, value in NEUTRAL.items()}
    parameters |= {name: rng.uniform(*limits, count) for name, limits in ranges.items()}
    # Keras gets the numbers that ours has, in float32.
    parameters = {name: value.astype(np.float32).astype(np.float64) for name, value in parameters.items()}
    expected = keras_affine(images.astype(np.float64), parameters)
    assert np.abs(expected - images).max() > 0.01 * 255, "the transform must do something"
    np.testing.assert_allclose(our_affine(images, parameters), expected, rtol=0, atol=1e-5 * 255)


def test_random_affine_draws_as_the_image_data_generator_of_keras_does():
    """Ranges, units and independence of the six draws, against 4000 draws of Keras for images of 28x20."""
    config, count = base.get_config(), 4000
    config.augment.update({"rotation": 10.0, "shear": 5.0, "zoom": 0.2, "height_shift": 0.1, "width_shift": 0.25})
    seen = {}

    def spy(images, theta, shear, zoom_x, zoom_y, tx, ty):
        seen.update(theta=theta, shear=shear, zx=zoom_x, zy=zoom_y, tx=tx, ty=ty)
        return images

    with mock.patch.object(augment, "affine", spy):
        augment.random_affine(jax.random.key(1), jnp.zeros((count, 28, 20, 1)), config.augment)
    generator = keras_image.ImageDataGenerator(
        rotation_range=10.0, shear_range=5.0, zoom_range=0.2, height_shift_range=0.1, width_shift_range=0.25,
        data_format="channels_last",
    )  # fmt: skip
    draws = [generator.get_random_transform((28, 20, 1), seed=index) for index in range(count)]
    # tx moves columns, ty rows. Keras draws tx from its height range nevertheless; ours, on purpose, from the width's.
    as_in_keras = {"tx": "ty", "ty": "tx"}
    limits = {"theta": (-10, 10), "shear": (-5, 5), "tx": (-5, 5), "ty": (-2.8, 2.8)}
    limits |= {"zx": (0.8, 1.2), "zy": (0.8, 1.2)}
    for name, (low, high) in limits.items():
        ours = np.asarray(seen[name], np.float64)
        theirs = np.array([draw[as_in_keras.get(name, name)] for draw in draws])
        slack = 1e-6 * (high - low)
        for sample in (ours, theirs):
            assert low - slack <= sample.min() < low + 0.01 * (high - low), name
            assert high - 0.01 * (high - low) < sample.max() <= high + slack, name
        assert scipy.stats.ks_2samp(ours, theirs).pvalue > 1e-4, name
    correlations = np.corrcoef([np.asarray(seen[name]) for name in limits]) - np.eye(len(limits))
    assert np.abs(correlations).max() < 5 / math.sqrt(count), "each by itself, the two zooms too"


@pytest.mark.parametrize("field, moves", [("height_shift", "rows"), ("width_shift", "columns")])
def test_shifts_move_the_axis_that_they_name(field, moves):
    config = base.get_config().augment
    config[field] = 0.2
    ramp = jnp.broadcast_to(jnp.arange(28.0)[:, None], (28, 28))
    images = jnp.stack([ramp, ramp.T])[..., None]  # The first differs between rows only, the second between columns.
    transformed = jax.jit(functools.partial(augment.random_affine, config=config))(jax.random.key(5), images)
    moved = np.abs(np.asarray(transformed - images)).max((1, 2, 3)) > 0.1
    assert moved.tolist() == [moves == "rows", moves == "columns"]


@pytest.mark.parametrize("name", ["deep_cnn", "plateau_cnn_as_written"])
def test_random_affine_of_a_config_has_the_ranges_of_the_notebook(name):
    arguments = {
        "deep_cnn": {"rotation_range": 5, "zoom_range": 0.05, "shear_range": 0.05},
        "plateau_cnn_as_written": {
            "rotation_range": 10, "zoom_range": 0.1, "width_shift_range": 0.1, "height_shift_range": 0.1
        },
    }[name]  # fmt: skip
    generator = keras_image.ImageDataGenerator(**arguments, data_format="channels_last")
    config = load(name).augment
    assert (config.rotation, config.shear) == (generator.rotation_range, generator.shear_range)
    assert (config.height_shift, config.width_shift) == (generator.height_shift_range, generator.width_shift_range)
    assert (1 - config.zoom, 1 + config.zoom) == pytest.approx(generator.zoom_range)


def test_random_affine_transforms_every_image_by_its_own_draw():
    image = digit_like(np.random.default_rng(0), 1)
    images = jnp.asarray(np.repeat(image, 8, axis=0), jnp.float32)
    transform = jax.jit(functools.partial(augment.random_affine, config=load("deep_cnn").augment))
    transformed = np.asarray(transform(jax.random.key(3), images))
    differences = np.abs(transformed[:, None] - transformed[None]).max((2, 3, 4))
    assert (differences + 1000 * np.eye(8)).min() > 1
    assert np.abs(np.asarray(transform(jax.random.key(4), images)) - transformed).max() > 1


# Normalisation -------------------------------------------------------------------------------------------------------


def uint8_images():
    rng = np.random.default_rng(23)
    images = np.round(digit_like(rng, 40)[..., 0]).astype(np.uint8)  # With empty columns.
    images[20:] = rng.integers(0, 256, (20, 28, 28))
    images[0] = 0
    images[1:20, :, :3] = 0
    return images


def test_column_normalisation_equals_keras():
    images = uint8_images()
    expected = keras.utils.normalize(images.astype(np.float64), axis=1)
    ours = jax.jit(data.normalize, static_argnums=1)(images, "column_l2")
    assert ours.dtype == jnp.float32 and ours.shape == (40, 28, 28, 1)
    np.testing.assert_allclose(ours[..., 0], expected, rtol=0, atol=1e-6)


def test_unit_normalisation_is_the_notebooks_division():
    images = uint8_images()
    ours = jax.jit(data.normalize, static_argnums=1)(images, "unit")
    np.testing.assert_allclose(ours[..., 0], images / 255, rtol=0, atol=1e-7)
