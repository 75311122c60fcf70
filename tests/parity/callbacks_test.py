"""The rules between epochs against Keras's callbacks: the rate on a plateau, and early stopping."""

import math
import types

import keras
import numpy as np
import pytest

from configs import base
from digits.training import rules
from tests.parity.comparison import load

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
    """(rate after every epoch, epoch that stopped or None, best epoch at that time)."""
    plateau, stopping = rules.Plateau(config.optimizer.learning_rate), rules.EarlyStopping()
    rates, stopped, best = [], None, None
    for epoch, value in enumerate(values, start=1):
        plateau.update(config.schedule, config.monitor, value)
        rates.append(plateau.learning_rate)
        if stopped is None:
            stopping.update(config.early_stopping, config.monitor, value, epoch)
            stopped, best = epoch if stopping.stop else None, stopping.best_epoch
    return rates, stopped, best


def keras_rules(config, values):
    """The same from Keras's callbacks, which get a stand-in for the model."""
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


# In float64, because legacy Keras compared Python floats. Keras on JAX rounds both sides to float32, and rounding would
# then decide about improvements of exactly `min_delta`, which are frequent in figures of four decimals.
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
