"""The loop over the steps of a run: how it begins, where it stops for a signal, and how many steps a call has."""

import os
import signal

import numpy as np
import pytest

from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.runtime.signals import Interrupted, Listener
from digits.training import loop, terminal, train
from tests.conftest import slow
from tests.training.train_test import assert_same_bits, final


@pytest.mark.parametrize("number", [signal.SIGTERM, *slow(signal.SIGINT)])
def test_a_signal_within_an_epoch_saves_and_the_same_call_goes_on_with_the_same_bits(
    tiny, tmp_path, monkeypatch, number
):
    train.train_and_evaluate(tiny, tmp_path / "whole")
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LOOKS", 0.0)  # One step a call.
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_UPDATES", 0.0)
    calls, handler = [], signal.getsignal(number)

    def update(self, images):
        calls.append(images)
        if len(calls) == 29:  # In the second epoch: 1,149 images make 23 steps.
            os.kill(os.getpid(), number)

    monkeypatch.setattr(terminal.tqdm, "update", update)
    with pytest.raises(Interrupted) as stopped:
        train.train_and_evaluate(tiny, tmp_path / "stopped")
    assert stopped.value.exit_code == 128 + number
    assert len(calls) == 29 and len(Workdir(tmp_path / "stopped").history()) == 1
    assert final(tmp_path / "stopped")[1]["step_in_epoch"] == 29 - 23
    assert signal.getsignal(number) is handler  # Put back as it was.
    train.train_and_evaluate(tiny, tmp_path / "stopped")
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_the_way_to_the_first_step_is_told_and_recorded_and_begins_with_one_step(tiny, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(terminal.tqdm, "update", lambda self, images: calls.append(images))
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert 0 < result["compile_seconds"] < result["seconds_to_first_step"]
    total, compilation = result["seconds_to_first_step"], result["compile_seconds"]
    assert f"first step after {total:.1f} s (compilation {compilation:.1f} s of it)" in capsys.readouterr().out
    assert calls[0] == tiny.batch_size and sum(calls) == 3 * 1149


def test_a_call_takes_about_the_wanted_time_and_at_least_a_step():
    own = loop._Pace(Listener())
    assert own.steps == 1 and own.seconds_per_step is None
    for seconds_per_step, often, steps in ((0.01, False, 300), (0.01, True, 50), (10.0, True, 1)):
        own.agree(seconds_per_step, often)
        assert own.steps == steps and own.seconds_per_step == seconds_per_step


def test_alone_a_signal_is_heard_at_once():
    listener = Listener()
    own = loop._Pace(listener)
    listener.heard = 15
    assert own.heard == 15


def test_of_several_processes_all_take_the_steps_of_the_first_and_stop_together(monkeypatch):
    listener, others = Listener(), [[0, 7], [0, 9]]
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(processes, "gather", lambda *own: np.array([others[0], own]))
    own = loop._Pace(listener)
    listener.heard = 15
    assert own.heard is None  # The other process does not know yet.
    own.agree(0.01, often=False)
    assert own.steps == 7 and own.heard == 15
    listener.heard, others[0] = None, [2, 7]
    own.agree(0.01, often=False)
    assert own.heard == 2
