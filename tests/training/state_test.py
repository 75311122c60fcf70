"""The state of a run: what a checkpoint holds of it, and the rules between epochs."""

import json

import jax
import numpy as np

from configs import base
from digits import data
from digits.training import rules
from digits.training.program import Shared
from digits.training.state import RunState


def test_a_state_comes_back_from_its_arrays_and_json(tiny):
    shared = Shared(lambda: data.load("optdigits"))
    program = shared.program(tiny, shared.examples(tiny))
    state = RunState.fresh(tiny, program)
    state.epoch, state.step_in_epoch, state.seconds = 2, 7, 1 / 3
    state.totals = state.totals | {"loss": jax.numpy.float32(0.1), "count": jax.numpy.int32(50)}
    state.stopping.update(tiny.early_stopping, "val_loss", 0.1 + 0.2, 1)
    arrays = jax.device_get(state.arrays())
    assert "lost" not in arrays["totals"] and "numbers" not in arrays["train"]
    again = RunState.fresh(tiny, program).restored(arrays, json.loads(json.dumps(state.about())), jax.device_put)
    assert again.about() == state.about() and again.steps_lost() == 0 and again.means() == state.means()
    for a, b in zip(jax.tree.leaves(vars(again)), jax.tree.leaves(vars(state)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_plateau_rule_lowers_the_rate_of_the_next_epoch(tiny):
    tiny.schedule.name, tiny.schedule.patience, tiny.schedule.factor = "plateau", 1, 0.5
    tiny.early_stopping.patience = 2
    shared = Shared(lambda: data.load("optdigits"))
    state = RunState.fresh(tiny, shared.program(tiny, shared.examples(tiny)))
    for epoch, (loss, rate, stop) in enumerate([(0.5, 1e-3, False), (0.6, 5e-4, False), (0.7, 2.5e-4, True)]):
        state.epoch = epoch + 1
        state.apply_rules(tiny, loss, jax.device_put)
        assert (float(state.train.learning_rate), state.stopping.stop) == (np.float32(rate), stop)
    assert state.stopping.best_epoch == 1
    state.apply_rules(tiny, None, jax.device_put)  # Without validation there is nothing to monitor.
    assert state.stopping.best_epoch == 1 and state.plateau.learning_rate == 2.5e-4


def test_plateau_state_survives_json():
    plateau, stopping = rules.Plateau(0.1), rules.EarlyStopping()
    plateau.update(base.get_config().schedule, "val_loss", 0.1 + 0.2)
    stopping.update(base.get_config().early_stopping, "val_loss", 1 / 3, 1)
    for rule in (plateau, stopping):
        assert type(rule)(**json.loads(json.dumps(vars(rule)))) == rule
