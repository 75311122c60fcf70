"""The state of a run as a checkpoint holds it, and its saves: the latest and the best state, by the first process."""

import json

import jax
import numpy as np
import pytest

from digits import data
from digits.errors import UserError
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training.program import Shared
from digits.training.resume import RunState, Saves
from digits.training.step import TrainMetrics


@pytest.fixture
def state(tiny):
    shared = Shared(lambda: data.load("optdigits"))
    return RunState.fresh(tiny, shared.program(tiny, shared.examples(tiny)))


def test_a_state_comes_back_from_its_arrays_and_json(tiny, state):
    state.epoch, state.step_in_epoch, state.seconds = 2, 7, 1 / 3
    found = {"loss": jax.numpy.float32(0.1), "correct": jax.numpy.int32(30), "count": 50}
    state.totals = state.totals.merge(TrainMetrics.single_from_model_output(**found))
    state.stopping.update(tiny.early_stopping, "val_loss", 0.1 + 0.2, 1)
    arrays = jax.device_get(state.arrays())
    assert {name: value.item() for name, value in arrays["totals"].items()} == {"loss": 5.0, "correct": 30, "count": 50}
    assert "numbers" not in arrays["train"]
    again = state.restored(arrays, json.loads(json.dumps(state.about())), jax.device_put)
    assert again.about() == state.about() and jax.tree.structure(again.totals) == jax.tree.structure(state.totals)
    for a, b in zip(jax.tree.leaves(again.train), jax.tree.leaves(state.train), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.totals.compute() == state.totals.compute()


def test_the_plateau_rule_lowers_the_rate_of_the_next_epoch(tiny, state):
    tiny.schedule.name, tiny.schedule.patience, tiny.schedule.factor = "plateau", 1, 0.5
    tiny.early_stopping.patience = 2
    for epoch, (loss, rate, stop) in enumerate([(0.5, 1e-3, False), (0.6, 5e-4, False), (0.7, 2.5e-4, True)]):
        state.epoch = epoch + 1
        state.apply_rules(tiny, loss, jax.device_put)
        assert (float(state.train.learning_rate), state.stopping.stop) == (np.float32(rate), stop)
    assert state.stopping.best_epoch == 1
    state.apply_rules(tiny, None, jax.device_put)  # Without validation there is nothing to monitor.
    assert state.stopping.best_epoch == 1 and state.plateau.learning_rate == 2.5e-4


def opened(config, folder):
    workdir = Workdir(folder)
    workdir.create(config, {"data": {"digest": "0" * 64}})
    return workdir


def saves(workdir):
    return Saves(workdir, {"class_names": ["a"]}, 10, jax.device_put)


def ended(state, epoch, workdir):
    """The state at the end of an epoch, recorded."""
    state.epoch, state.train = epoch, state.train.replace(step=np.int32(10 * epoch))
    workdir.append({"epoch": epoch})
    return state


def test_the_latest_and_the_best_state_come_back(tiny, state, tmp_path):
    workdir, said = opened(tiny, tmp_path), []
    with_saves = saves(workdir)
    assert with_saves.latest(state, said.append) is None
    with_saves.save_once(state)
    assert with_saves.steps() == []  # It has not begun to train.
    for epoch in (1, 2, 3):
        if epoch == 1:
            state.stopping.best_epoch = 1
        with_saves.save(ended(state, epoch, workdir))
    with_saves.save_once(state)  # It is saved already.
    assert with_saves.steps() == [30, 20, 10]
    again = saves(workdir)
    latest, best = again.latest(state, said.append), again.best(state)
    assert (latest.epoch, int(latest.train.step), best.epoch, int(best.train.step)) == (3, 30, 1, 10) and not said
    for closing in (with_saves, again):
        closing.close()


def test_a_damaged_best_checkpoint_is_named(tiny, state, tmp_path):
    workdir = opened(tiny, tmp_path)
    own = saves(workdir)
    state.stopping.best_epoch = 1
    own.save(ended(state, 1, workdir))
    own.steps()
    (tmp_path / "checkpoints" / "10" / "about" / "metadata").write_text("{")
    with pytest.raises(UserError, match="10, the checkpoint of the best epoch, is damaged"):
        own.best(state)
    own.close()


def test_a_process_that_is_not_the_first_saves_nothing(state, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "first", lambda: False)
    own = saves(Workdir(tmp_path))
    own.prepare()
    state.epoch = 1
    own.save(state)
    own.save_once(state)
    own.close()
    assert own.steps() == [] and not list(tmp_path.iterdir())
