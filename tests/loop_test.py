"""The loop over the steps of a run: where it stops for a signal, and how it begins."""

import os
import signal

import pytest

from digits import pace, record, terminal, train
from tests.train_test import assert_same_bits, final


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_an_epoch_saves_and_the_same_call_goes_on_with_the_same_bits(
    tiny, tmp_path, monkeypatch, number
):
    train.train_and_evaluate(tiny, tmp_path / "whole")
    monkeypatch.setattr(pace, "_SECONDS_BETWEEN_LOOKS", 0.0)  # One step a call.
    monkeypatch.setattr(pace, "_SECONDS_BETWEEN_UPDATES", 0.0)
    calls, handler = [], signal.getsignal(number)

    def update(self, images):
        calls.append(images)
        if len(calls) == 29:  # In the second epoch: 1,149 images make 23 steps.
            os.kill(os.getpid(), number)

    monkeypatch.setattr(terminal.Progress, "update", update)
    with pytest.raises(train.Interrupted) as stopped:
        train.train_and_evaluate(tiny, tmp_path / "stopped")
    assert stopped.value.exit_code == 128 + number
    assert len(calls) == 29 and len(record.Workdir(tmp_path / "stopped").history()) == 1
    assert final(tmp_path / "stopped")[1]["step_in_epoch"] == 29 - 23
    assert signal.getsignal(number) is handler  # Put back as it was.
    train.train_and_evaluate(tiny, tmp_path / "stopped")
    assert_same_bits(tmp_path / "whole", tmp_path / "stopped")


def test_the_way_to_the_first_step_is_told_and_recorded_and_begins_with_one_step(tiny, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(terminal.Progress, "update", lambda self, images: calls.append(images))
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert 0 < result["compile_seconds"] < result["seconds_to_first_step"]
    assert (
        f"first step after {result['seconds_to_first_step']:.1f} s (compilation {result['compile_seconds']:.1f} s of it)"
        in capsys.readouterr().out
    )
    assert calls[0] == tiny.batch_size and sum(calls) == 3 * 1149
