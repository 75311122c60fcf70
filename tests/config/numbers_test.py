"""Which configs share a program, and that their numbers reach it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base, deep_cnn, dense_32_32, five_conv, plateau_cnn, simple_cnn_dropout
from digits import models
from digits.config import numbers as config_numbers
from digits.config.numbers import AugmentNumbers
from digits.models import layers
from digits.training import optimizer, step


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
        ("augment.elastic", 0.5, 2.0),
        ("augment.elastic_sigma", 3.0, 4.0),
        ("augment.erasing", 0.1, 0.2),
        ("label_smoothing", 0.1, 0.2),
        ("model.hidden_l2", 1e-4, 1e-2),
        ("model.hidden_dropout", 0.1, 0.3),
        ("model.hidden_dropout", (0.25, 0.1), (0.5, 0.3)),
        ("population.sharing", "auto", "batched"),
    ],
)
def test_numbers_are_no_part_of_the_structure(field, one, other):
    assert config_numbers.structure(changed(field, one)) == config_numbers.structure(changed(field, other))


@pytest.mark.parametrize(
    "field, one, other",
    [
        ("optimizer.momentum", 0.0, 0.9),
        ("optimizer.name", "adam", "sgd"),
        ("augment.rotation", 0.0, 5.0),
        ("augment.elastic", 0.0, 1.0),
        ("augment.erasing", 0.0, 0.2),
        ("model.hidden_dropout", 0.0, 0.5),
        ("model.hidden_dropout", 0.5, 0.3),  # Eight random bits or sixteen.
        ("model.hidden_dropout", (0.3, 0.0), (0.3, 0.1)),
        ("model.hidden", (32,), (64,)),
        ("model.kernel_size", 3, 5),
        ("model.stride", 1, 2),
        ("batch_size", 32, 64),
        ("epochs", 10, 20),
        ("data.validation", "none", "test"),
        ("label_smoothing", 0.0, 0.1),
    ],
)
def test_switches_shapes_and_names_are(field, one, other):
    assert config_numbers.structure(changed(field, one)) != config_numbers.structure(changed(field, other))


def test_every_field_of_the_config_is_a_number_of_the_step_or_of_the_host_or_structure():
    """A field that was renamed must not silently become a part of the structure."""
    config = base.get_config()
    for field in (*config_numbers._SWITCHES, *config_numbers._NUMBERS, *config_numbers._HOST):
        config[field]  # Raises if there is none.
    for section in config_numbers._HOST_SECTIONS:
        assert len(config[section.rstrip(".")])


def test_a_switch_that_is_off_is_none_and_zero_is_a_number_elsewhere():
    config = changed("model.hidden_dropout", (0.5, 0.0), deep_cnn.get_config())
    config.model.hidden, config.optimizer.beta_1, config.label_smoothing = (8, 8), 0.0, 0.1
    numbers = config_numbers.of(config)
    assert numbers.optimizer.momentum is None and numbers.optimizer.beta_1 == 0.0 and numbers.label_smoothing == 0.1
    assert numbers.augment == AugmentNumbers(rotation=5.0, shear=0.05, zoom=0.05) and numbers.schedule.decay == 0.1
    assert numbers.layers == {"dropout_1": 0.25, "dropout_2": 0.25, "dropout_3": 0.5}
    base_numbers = config_numbers.of(base.get_config())
    assert base_numbers.label_smoothing is None and base_numbers.augment == AugmentNumbers() and not base_numbers.layers
    assert config_numbers.of(changed("augment.elastic", 0.5)).augment == AugmentNumbers(elastic=0.5, elastic_sigma=4.0)


@pytest.mark.parametrize(
    "config, changes",
    [
        (five_conv.get_config(), {}),
        (plateau_cnn.get_config(), {}),
        (simple_cnn_dropout.get_config(), {"model.block_dropout": (0.1,), "model.hidden_dropout": (0.0,)}),
        (
            deep_cnn.get_config(),
            {"model.block_dropout": (0.0, 0.2), "model.hidden": (8, 8), "model.hidden_l2": (0, 0.1)},
        ),
        (base.get_config(), {"model.input_dropout": 0.1, "model.hidden_dropout": 0.2, "model.hidden_l2": 0.3}),
        (base.get_config(), {"model.hidden": (), "model.hidden_dropout": 0.2, "model.block_dropout": (0.1, 0.2)}),
    ],
)
def test_the_numbers_of_the_layers_are_those_of_the_network(config, changes):
    """The names that `of` gives must be those that `models.build` gives."""
    for field, value in changes.items():
        config = changed(field, value, config)
    network, own = models.outline(config.model, 10), {}
    for name in network.names:
        layer = getattr(network, name)
        number = layer.rate if isinstance(layer, layers.Dropout) else getattr(layer, "l2", None)
        if number is not None:
            own[name] = number
    assert config_numbers.of(config).layers == own


def test_it_needs_no_jax():
    code = "import sys; from digits.config import numbers as config_numbers; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("total, peak", [(1000, 0.3), (937, 0.25), (10, 0.5)])
def test_one_cycle_is_that_of_optax(total, peak):
    schedule = changed("schedule.name", "one_cycle")
    schedule = changed("schedule.peak_fraction", peak, schedule).schedule
    numbers = config_numbers.of_section(config_numbers.ScheduleNumbers, schedule)
    rate = jax.jit(optimizer.learning_rate("one_cycle", numbers, epochs=1, steps_per_epoch=total))
    expected = optax.cosine_onecycle_schedule(total, 0.1, peak, schedule.initial_divisor, schedule.final_divisor)
    steps = jnp.arange(total)
    np.testing.assert_allclose(jax.vmap(lambda s: rate(s, 0.1))(steps), jax.vmap(expected)(steps), rtol=2e-5, atol=1e-8)


def test_smoothed_labels_share_their_part_among_all_classes():
    logits, labels = jnp.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), jnp.array([0, 2])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    targets = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(step.cross_entropy(logits, labels, 0.3), -(targets * log_p).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(step.cross_entropy(logits, labels), -log_p[[0, 1], [0, 2]], rtol=1e-6)


def test_the_state_has_the_numbers_of_the_config_not_of_the_program():
    one, other = changed("optimizer.momentum", 0.5, dense_32_32.get_config()), dense_32_32.get_config()
    other.optimizer.momentum, other.optimizer.learning_rate, other.seed = 0.9, 0.3, 5
    state = step.init_state(one, 10, step.numbers_of(other))
    assert float(state.numbers.optimizer.momentum) == pytest.approx(0.9)
    assert float(state.learning_rate) == pytest.approx(0.3) and int(state.seed) == 5
    expected = step.init_state(other, 10)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
