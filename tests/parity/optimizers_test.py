"""Fifty updates of every optimizer, and the learning-rate schedules, against Keras.

Keras 3 no longer has some of the code that the notebooks ran (RMSprop with epsilon outside the root, `decay=`). There
the reference is a separate transcription of the old formula.
"""

import functools
import math
import types

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

from configs import base
from digits.config import numbers as config_numbers
from digits.training import optimizer, train
from tests.parity.comparison import assert_close, load

STEPS = 50


def optimizer_config(schedule=None, **fields):
    """A config with these optimizer and schedule fields."""
    config = base.get_config()
    config.epochs = 5
    config.optimizer.update(fields)
    config.schedule.update(schedule or {})
    train.check(config)
    return config


def problem():
    """Parameters and 50 fixed gradients, with magnitudes from 1e-10, where epsilon decides, to 1."""
    rng = np.random.default_rng(11)
    params = {"bias": rng.normal(0, 1, 3), "kernel": rng.normal(0, 1, (4, 3))}
    gradients = {
        name: rng.normal(0, 1, (STEPS, *p.shape)) * np.logspace(-10, 0, p.size).reshape(p.shape)
        for name, p in params.items()
    }
    return jax.tree.map(jnp.asarray, (params, gradients))


def our_trajectory(config, params, gradients, bases=None):
    """The parameters after each of 50 updates, which are made as the training step makes them."""
    numbers = config_numbers.of(config)
    tx = optimizer.build(config.optimizer, numbers.optimizer)
    rate = optimizer.learning_rate(config.schedule.name, numbers.schedule, config.epochs, STEPS // config.epochs)
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
    "lion": (
        {"name": "lion", "beta_2": 0.99}, {}, lambda: keras.optimizers.Lion(1e-3, beta_1=0.9, beta_2=0.99)
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


def test_moving_average_of_the_weights_equals_keras(float64):
    params, gradients = problem()
    trajectory = our_trajectory(optimizer_config(), params, gradients)
    average = params
    for step in range(STEPS):
        now = {name: values[step] for name, values in trajectory.items()}
        average = optimizer.moving_average(average, now, 0.9, step)
    reference = Adam(1e-3, epsilon=1e-7, use_ema=True, ema_momentum=0.9)
    keras_trajectory(reference, params, gradients)
    for ours, theirs in zip(average.values(), reference._model_variables_moving_average, strict=True):
        assert_close(ours, theirs.numpy())


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
    """The plateau rule does this. Steps already taken keep their rate inside the momentum."""
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


def our_rates(config, epochs, steps_per_epoch):
    numbers = config_numbers.of(config).schedule
    rate = optimizer.learning_rate(config.schedule.name, numbers, epochs, steps_per_epoch)
    steps = jnp.arange(epochs * steps_per_epoch, dtype=jnp.int32)
    rates = jax.vmap(rate, (0, None))(steps, jnp.asarray(config.optimizer.learning_rate))
    return np.broadcast_to(rates, steps.shape)


def test_exponential_schedule_is_the_notebooks_function_of_the_epoch(float64):
    config, steps_per_epoch = load("deep_cnn"), 7

    def schedule(epoch):
        """Notebook 000's, for keras.callbacks.LearningRateScheduler, which counts epochs from 0."""
        return 0.001 if epoch < 10 else 0.001 * math.exp(0.1 * (10 - epoch))

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
