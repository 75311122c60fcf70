"""A run between its folder and its result: its seam for other programs, the rules between epochs, what it holds."""

import weakref

import numpy as np
import pytest

import digits
from digits import data
from digits.errors import Busy
from digits.runs import locks
from digits.runs.workdir import Workdir
from digits.training import run, train
from tests import faults
from tests.conftest import refused
from tests.training.train_test import assert_same_bits


def test_a_program_of_others_trains_a_run_by_telling_the_end_of_every_epoch(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "alone")
    with faults.opened(tiny, tmp_path / "told", alone=False) as told:
        told.program.compile(told.examples)
        while not told.done:
            state, steps = told.state, np.int32(told.program.steps_per_epoch)
            given = told.examples.train, told.order(), np.int32(0), steps
            ended = told.program.compiled(state.train, state.totals, *given)
            told.end_epoch(*ended, seconds=1.0)
        result = told.finish()
    assert_same_bits(tmp_path / "alone", tmp_path / "told")
    assert result == Workdir(tmp_path / "told").result() and result["images_per_second"] == 1149


def test_a_run_that_cannot_open_says_so_before_it_compiles_and_leaves_no_lock(tiny, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr("digits.training.program.Program.compile", lambda *_: compiled.append(1))
    (tmp_path / "run").mkdir()
    held = locks.Lock(tmp_path / "run")
    held.acquire()
    with pytest.raises(Busy):
        faults.opened(tiny, tmp_path / "run")
    held.release()
    assert not compiled

    def fail(*_):
        raise RuntimeError("no state")

    monkeypatch.setattr(run.RunState, "fresh", fail)
    with pytest.raises(RuntimeError, match="no state"):
        faults.opened(tiny, tmp_path / "run")
    held.acquire()  # Nobody holds it.
    held.release()


def test_images_are_kept_on_the_device_alone(tiny, tmp_path, monkeypatch):
    """Once the run has begun, nothing holds the dataset's own arrays any more."""
    datasets, alive = [], []
    load, enter = data.load, run.Run.__enter__

    def watched(*args):
        dataset = load(*args)
        datasets.append(weakref.ref(dataset.train_images))
        return dataset

    def look(self):
        alive.extend(reference() is not None for reference in datasets)
        return enter(self)

    monkeypatch.setattr(data, "load", watched)
    monkeypatch.setattr(run.Run, "__enter__", look)
    train.train_and_evaluate(tiny, tmp_path / "run")
    assert alive == [False]


def test_restore_best_tests_the_best_epoch(tiny, tmp_path, monkeypatch):
    """The recorded validation losses are replaced: the second of three epochs is the best."""
    losses = iter([0.5, 0.3, 0.4])
    evaluate = run.Run._evaluate

    def scripted(self, examples):
        figures = evaluate(self, examples)
        return figures | {"loss": next(losses)} if examples is self.examples.validation else figures

    monkeypatch.setattr(run.Run, "_evaluate", scripted)
    tiny.early_stopping.restore_best = True
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert (result["tested_epoch"], result["best_epoch"], result["epochs"]) == (2, 2, 3)
    loaded = digits.load(tmp_path / "run")
    dataset = data.load("optdigits")
    assert loaded.epoch == 2
    assert np.mean(loaded.predict(dataset.test_images).argmax(-1) == dataset.test_labels) == result["test_accuracy"]
    latest = digits.load(tmp_path / "run", "latest")
    assert latest.epoch == 3


def test_early_stopping_and_plateau_act_on_the_run(tiny, tmp_path, monkeypatch):
    tiny.epochs = 9
    tiny.schedule.name, tiny.schedule.patience, tiny.schedule.factor = "plateau", 2, 0.5
    tiny.early_stopping.patience = 3
    evaluate = run.Run._evaluate
    worse = iter([0.5, *np.linspace(0.6, 0.9, 8)])

    def scripted(self, examples):
        figures = evaluate(self, examples)
        return figures | {"loss": float(next(worse))} if examples is self.examples.validation else figures

    monkeypatch.setattr(run.Run, "_evaluate", scripted)
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert (result["epochs"], result["best_epoch"], result["tested_epoch"]) == (4, 1, 4)
    rates = [line["learning_rate"] for line in Workdir(tmp_path / "run").history()]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])


def test_a_workdir_of_other_data_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(run.Run, "finish", lambda self: None)
    train.train_and_evaluate(tiny, tmp_path / "run")
    monkeypatch.setattr(data.Dataset, "digest", lambda self: "0" * 64)
    refused(tiny, tmp_path / "run", "other data", "000000000000")
