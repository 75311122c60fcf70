"""The saves of a run: the latest and the best state again; nothing in the processes that do not write."""

import jax
import numpy as np
import pytest

from digits import data
from digits.errors import UserError
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training.program import Shared
from digits.training.resume import Saves
from digits.training.state import RunState


@pytest.fixture
def state(tiny):
    shared = Shared(lambda: data.load("optdigits"))
    return RunState.fresh(tiny, shared.program(tiny, shared.examples(tiny)))


def saves(folder):
    return Saves(Workdir(folder), {"class_names": ["a"]}, 10, jax.device_put)


def ended(state, epoch, workdir):
    """The state at the end of an epoch, recorded."""
    state.epoch, state.train = epoch, state.train.replace(step=np.int32(10 * epoch))
    workdir.append({"epoch": epoch})
    return state


def test_the_latest_and_the_best_state_come_back(state, tmp_path):
    workdir, said = Workdir(tmp_path), []
    with_saves = saves(tmp_path)
    assert with_saves.latest(state, said.append) is None
    with_saves.save_once(state)
    assert with_saves.steps() == []  # It has not begun to train.
    for epoch in (1, 2, 3):
        if epoch == 1:
            state.stopping.best_epoch = 1
        with_saves.save(ended(state, epoch, workdir))
    with_saves.save_once(state)  # It is saved already.
    assert with_saves.steps() == [30, 20, 10]
    again = saves(tmp_path)
    latest, best = again.latest(state, said.append), again.best(state)
    assert (latest.epoch, int(latest.train.step), best.epoch, int(best.train.step)) == (3, 30, 1, 10) and not said
    for closing in (with_saves, again):
        closing.close()


def test_a_damaged_best_checkpoint_is_named(state, tmp_path):
    own = saves(tmp_path)
    state.stopping.best_epoch = 1
    own.save(ended(state, 1, Workdir(tmp_path)))
    own.steps()
    (tmp_path / "checkpoints" / "10" / "about" / "metadata").write_text("{")
    with pytest.raises(UserError, match="10, the checkpoint of the best epoch, is damaged"):
        own.best(state)
    own.close()


def test_a_process_that_is_not_the_first_saves_nothing(state, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "first", lambda: False)
    own = saves(tmp_path)
    own.prepare()
    state.epoch = 1
    own.save(state)
    own.save_once(state)
    own.close()
    assert own.steps() == [] and not list(tmp_path.iterdir())
