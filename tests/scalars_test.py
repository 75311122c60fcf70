"""Which configs share a program, and that their numbers reach it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base, deep_cnn, dense_32_32
from digits import optimizer, scalars, step


def changed(field, value, config=None):
    config = (config or base.get_config()).copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({field: value})
    return config.lock()


@pytest.mark.parametrize(
    "field, one, other",
    [
        ("seed", 0, 7),
        ("data.fold", 0, 3),
        ("optimizer.learning_rate", 1e-3, 0.5),
        ("optimizer.momentum", 0.5, 0.9),
        ("optimizer.beta_1", 0.9, 0.0),
        ("optimizer.clip_norm", 1.0, 2.0),
        ("schedule.decay", 0.0, 1e-3),
        ("schedule.patience", 10, 2),
        ("early_stopping.restore_best", False, True),
        ("early_stopping.patience", 0, 5),
        ("augment.rotation", 5.0, 30.0),
        ("label_smoothing", 0.1, 0.2),
        ("model.hidden_l2", 1e-4, 1e-2),
        ("model.hidden_dropout", 0.1, 0.3),
        ("model.hidden_dropout", (0.25, 0.1), (0.5, 0.3)),
        ("population.sharing", "auto", "batched"),
    ],
)
def test_numbers_are_no_part_of_the_structure(field, one, other):
    assert scalars.structure(changed(field, one)) == scalars.structure(changed(field, other))


@pytest.mark.parametrize(
    "field, one, other",
    [
        ("optimizer.momentum", 0.0, 0.9),
        ("optimizer.name", "adam", "sgd"),
        ("augment.rotation", 0.0, 5.0),
        ("model.hidden_dropout", 0.0, 0.5),
        ("model.hidden_dropout", 0.5, 0.3),  # Eight random bits or sixteen.
        ("model.hidden_dropout", (0.3, 0.0), (0.3, 0.1)),
        ("model.hidden", (32,), (64,)),
        ("model.kernel_size", 3, 5),
        ("batch_size", 32, 64),
        ("epochs", 10, 20),
        ("data.validation", "none", "test"),
        ("label_smoothing", 0.0, 0.1),
    ],
)
def test_switches_shapes_and_names_are(field, one, other):
    assert scalars.structure(changed(field, one)) != scalars.structure(changed(field, other))


def test_every_field_of_the_config_is_a_number_of_the_step_or_of_the_host_or_structure():
    """A field that was renamed must not silently become a part of the structure."""
    config = base.get_config()
    for field in (*scalars._SWITCHES, *scalars._NUMBERS, *scalars._HOST):
        config[field]  # Raises if there is none.
    for section in scalars._HOST_SECTIONS:
        assert len(config[section.rstrip(".")])


def test_of_leaves_out_what_is_off_and_put_brings_all_back():
    config = changed("model.hidden_dropout", (0.5, 0.0), deep_cnn.get_config())
    values = scalars.of(config)
    assert values["model.hidden_dropout"] == (0.5, 0.0) and "optimizer.momentum" not in values
    assert values["augment.rotation"] == config.augment.rotation
    doubled = scalars.put(config, {field: jax.tree.map(lambda x: 2 * x, value) for field, value in values.items()})
    assert doubled.model.hidden_dropout == (1.0, 0.0) and doubled.augment.rotation == 2 * config.augment.rotation
    assert config.model.hidden_dropout == (0.5, 0.0)


@pytest.mark.parametrize("total, peak", [(1000, 0.3), (937, 0.25), (10, 0.5)])
def test_one_cycle_is_that_of_optax(total, peak):
    schedule = changed("schedule.name", "one_cycle")
    schedule = changed("schedule.peak_fraction", peak, schedule).schedule
    rate = jax.jit(optimizer.learning_rate(schedule, epochs=1, steps_per_epoch=total))
    expected = optax.cosine_onecycle_schedule(total, 0.1, peak, schedule.initial_divisor, schedule.final_divisor)
    steps = jnp.arange(total)
    np.testing.assert_allclose(jax.vmap(lambda s: rate(s, 0.1))(steps), jax.vmap(expected)(steps), rtol=2e-5, atol=1e-8)


def test_smoothed_labels_share_their_part_among_all_classes():
    logits, labels = jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), jnp.array([0, 2])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    targets = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(step.cross_entropy(logits, labels, 0.3), -(targets * log_p).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(step.cross_entropy(logits, labels, 0.0), -log_p[[0, 1], [0, 2]], rtol=1e-6)


def test_the_state_has_the_numbers_of_the_config_not_of_the_program():
    one, other = changed("optimizer.momentum", 0.5, dense_32_32.get_config()), dense_32_32.get_config()
    other.optimizer.momentum, other.optimizer.learning_rate, other.seed = 0.9, 0.3, 5
    state = step.init_state(one, 10, step.numbers_of(other))
    assert float(state.scalars["optimizer.momentum"]) == pytest.approx(0.9)
    assert float(state.learning_rate) == pytest.approx(0.3) and int(state.seed) == 5
    expected = step.init_state(other, 10)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
