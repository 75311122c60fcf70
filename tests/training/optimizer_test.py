"""Schedules and options of the optimizers that Keras does not have; tests/parity/ compares the others with Keras."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base, deep_cnn
from digits.config.numbers import OptimizerNumbers, ScheduleNumbers, of_section
from digits.training import optimizer


def learning_rate(schedule, epochs, steps):
    return optimizer.learning_rate(schedule.name, of_section(ScheduleNumbers, schedule), epochs, steps)


def rates(schedule, epochs=10, steps=5):
    rate = jax.jit(learning_rate(schedule, epochs, steps))
    return np.array([rate(jnp.int32(step), 0.1) for step in range(epochs * steps)])


def test_deep_cnn_keeps_its_rate_for_eleven_epochs_and_ends_at_the_documented_one():
    by_epoch = rates(deep_cnn.get_config().schedule, epochs=50, steps=2).reshape(50, 2) / 0.1 * 1e-3
    assert (by_epoch[:, 0] == by_epoch[:, 1]).all()
    np.testing.assert_allclose(by_epoch[:11, 0], 1e-3, rtol=1e-6)
    np.testing.assert_allclose(by_epoch[11, 0], 0.0009048374, rtol=1e-6)
    np.testing.assert_allclose(by_epoch[49, 0], 1e-3 * np.exp(-3.9), rtol=1e-5)


def test_warmup_rises_linearly_and_multiplies_the_schedule():
    schedule = base.get_config().schedule
    schedule.warmup_epochs = 2.0
    np.testing.assert_allclose(rates(schedule), 0.1 * np.minimum(1, np.arange(1, 51) / 10), rtol=1e-6)
    schedule.name, schedule.decay = "inverse_time", 0.1
    steps = np.arange(50)
    np.testing.assert_allclose(rates(schedule), 0.1 * np.minimum(1, (steps + 1) / 10) / (1 + 0.1 * steps), rtol=1e-6)


def test_one_cycle_starts_peaks_and_ends_where_its_fields_say():
    schedule = base.get_config().schedule
    schedule.name, schedule.initial_divisor, schedule.final_divisor = "one_cycle", 10.0, 100.0
    values = rates(schedule)
    assert values[0] == pytest.approx(0.01) and values.argmax() == 15 and values.max() == pytest.approx(0.1)
    assert (np.diff(values)[:15] > 0).all() and (np.diff(values)[15:] < 0).all()
    end = learning_rate(schedule, 10, 5)(jnp.int32(50), 0.1)  # One step after the last update.
    assert end == pytest.approx(0.1 / 10 / 100, rel=1e-4) and values[-1] > end


def test_cosine_ends_at_the_final_fraction():
    schedule = base.get_config().schedule
    schedule.name, schedule.final_fraction = "cosine", 0.2
    values = rates(schedule)
    assert values[0] == pytest.approx(0.1) and values[25] == pytest.approx(0.06) and 0.02 < values[-1] < 0.0205


def test_weight_decay_shrinks_kernels_only_and_clipping_bounds_the_global_norm():
    config = base.get_config().optimizer
    config.name, config.weight_decay, config.clip_norm = "sgd", 0.1, 1.0
    tx = optimizer.build(config, of_section(OptimizerNumbers, config))
    params = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full((2,), 2.0)}
    grads = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full((2,), 4.0)}
    updates, _ = tx.update(grads, tx.init(params), params, learning_rate=0.5)
    norm = float(optax.tree.norm(grads))
    np.testing.assert_allclose(updates["bias"], -0.5 * 4 / norm, rtol=1e-6)
    np.testing.assert_allclose(updates["kernel"], -0.5 * (3 / norm + 0.1 * 2), rtol=1e-6)


@pytest.mark.slow
def test_muon_orthogonalises_hidden_kernels_as_matrices_and_leaves_the_rest_to_adam():
    config = base.get_config().optimizer
    config.name = "muon"
    tx = optimizer.build(config, of_section(OptimizerNumbers, config))
    keys = iter(jax.random.split(jax.random.key(0), 5))

    def layer(*shape):
        return {"kernel": jax.random.normal(next(keys), shape), "bias": jnp.zeros(shape[-1])}

    params = {"conv_1": layer(3, 3, 4, 8), "dense_1": layer(40, 20), "dense_2": layer(20, 10)}
    grads = jax.tree.map(lambda p: jax.random.normal(next(keys), p.shape) if p.ndim > 3 else p + 1, params)
    updates, _ = tx.update(grads, tx.init(params), params, learning_rate=0.1)

    matrix = {"kernel": params["conv_1"]["kernel"].reshape(36, 8)}
    reference = optax.contrib.muon(0.1, beta=0.9, eps=1e-7, consistent_rms=0.2)
    gradient = {"kernel": grads["conv_1"]["kernel"].reshape(36, 8)}
    expected, _ = reference.update(gradient, reference.init(matrix), matrix)
    np.testing.assert_allclose(updates["conv_1"]["kernel"].reshape(36, 8), expected["kernel"], rtol=1e-5, atol=1e-7)
    singular = np.linalg.svd(updates["conv_1"]["kernel"].reshape(36, 8), compute_uv=False) / (0.1 * 0.2 * 6)
    assert singular.min() > 0.6 and singular.max() < 1.3, "Newton and Schulz's five steps make all about 1"

    adam = optax.nadamw(0.1, eps=1e-7, weight_decay=0.0)
    rest = {"dense_2": params["dense_2"]}
    expected, _ = adam.update({"dense_2": grads["dense_2"]}, adam.init(rest), rest)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates["dense_2"], expected["dense_2"])
