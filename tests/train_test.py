"""Whole trainings: the same bits again, after a kill and after a signal; the rules between epochs; what is refused."""

import json
import os
import signal
import weakref

import jax
import numpy as np
import pytest

import digits
from configs import base
from digits import checkpoints, data, files, optimizer, pace, record, run, terminal, train
from tests.conftest import refused

TIMES = ("seconds", "images_per_second")


def final(workdir):
    """The last checkpoint's arrays (parameters, optimizer state, statistics) and the metrics without the times."""
    saved = checkpoints.Checkpoints(record.Workdir(workdir).checkpoints, read_only=True)
    state, about = saved.restore(saved.steps()[0])
    saved.close()
    history = [{k: v for k, v in line.items() if k not in TIMES} for line in record.Workdir(workdir).history()]
    return state, about, history


def assert_same_bits(one, other):
    (state, about, history), (state2, about2, history2) = final(one), final(other)
    assert jax.tree.structure(state) == jax.tree.structure(state2)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(state2), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert history == history2 and len(history) == about["epoch"]
    for rule in ("plateau", "early_stopping"):
        assert about[rule] == about2[rule]
    results = [record.Workdir(workdir).result() for workdir in (one, other)]
    for figure in ("test_loss", "test_accuracy", "tested_epoch", "best_epoch", "epochs"):
        assert results[0][figure] == results[1][figure]


def test_same_config_gives_the_same_bits_and_another_seed_does_not(tiny, tmp_path):
    first = train.train_and_evaluate(tiny, tmp_path / "a")
    train.train_and_evaluate(tiny, tmp_path / "b")
    assert_same_bits(tmp_path / "a", tmp_path / "b")
    tiny.seed = 1
    assert train.train_and_evaluate(tiny, tmp_path / "c")["test_loss"] != first["test_loss"]


def test_metrics_are_exact_running_means_and_evaluations(tiny, tmp_path):
    """With a learning rate too small to move a weight, the epoch's mean is the loss of the fixed network."""
    tiny.optimizer.name, tiny.optimizer.learning_rate, tiny.epochs = "sgd", 1e-30, 1
    tiny.model.hidden_batch_norm, tiny.model.hidden_dropout, tiny.augment.rotation = False, 0.0, 0.0
    tiny.model.hidden_l2 = 0.01
    tiny.data.validation = "test"
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    loaded = digits.load(tmp_path / "run")
    dataset = data.load("optdigits")
    penalty = 0.01 * float((np.asarray(loaded.model.dense_1.kernel[...], np.float64) ** 2).sum())
    for images, labels, loss, accuracy in (
        (dataset.train_images, dataset.train_labels, loaded.history.loss[1], loaded.history.accuracy[1]),
        (dataset.test_images, dataset.test_labels, result["test_loss"], result["test_accuracy"]),
    ):
        probabilities = loaded.predict(images)
        assert accuracy == pytest.approx(np.mean(probabilities.argmax(-1) == labels), abs=1e-9)
        nll = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        assert loss == pytest.approx(nll + penalty, rel=1e-5)
    assert loaded.history.val_loss[1] == result["test_loss"]


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


def test_a_finished_run_is_not_trained_again(tiny, tmp_path, capsys):
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert train.train_and_evaluate(tiny, tmp_path / "run") == result
    assert "finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}


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
    rates = [line["learning_rate"] for line in record.Workdir(tmp_path / "run").history()]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])


def test_fewer_checkpoints_give_the_same_bits(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "a")
    tiny.checkpoint_every = 100
    train.train_and_evaluate(tiny, tmp_path / "b")
    assert_same_bits(tmp_path / "a", tmp_path / "b")


def test_a_workdir_of_another_config_is_refused_with_the_differing_fields(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "run")
    tiny.optimizer.learning_rate, tiny.seed = 0.5, 7
    refused(tiny, tmp_path / "run", "optimizer.learning_rate was 0.001, is 0.5", "seed was 0, is 7", "the same config")


def test_a_run_of_a_version_without_a_field_is_refused_with_what_can_be_done(tiny, tmp_path):
    train.train_and_evaluate(tiny, tmp_path / "run")
    content = files.read_json(tmp_path / "run" / "config.json")
    del content["config"]["label_smoothing"]
    files.write_json(tmp_path / "run" / "config.json", content)
    refused(tiny, tmp_path / "run", "config.label_smoothing was absent, is 0.0", "its version of digits")


def test_a_workdir_of_other_data_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(run.Run, "finish", lambda self: None)
    train.train_and_evaluate(tiny, tmp_path / "run")
    monkeypatch.setattr(data.Dataset, "digest", lambda self: "0" * 64)
    refused(tiny, tmp_path / "run", "other data", "000000000000")


def test_a_workdir_that_is_a_file_holds_other_files_or_cannot_be_made_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(tiny, tmp_path / "file", "which is a file")
    refused(tiny, tmp_path, "holds files but no run")
    refused(tiny, tmp_path / "file" / "below", "cannot be written")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_a_diverging_run_stops_and_keeps_the_epochs_before(tiny, tmp_path):
    tiny.optimizer.name, tiny.model.hidden_batch_norm, tiny.optimizer.learning_rate = "sgd", False, 1e30
    refused(tiny, tmp_path / "run", "loss became", "learning_rate")
    assert record.Workdir(tmp_path / "run").result() is None


def test_learning_rates_of_the_run_follow_the_schedule(tiny, tmp_path):
    tiny.schedule.name, tiny.schedule.start_epoch, tiny.schedule.decay = "exponential", 1, 0.5
    train.train_and_evaluate(tiny, tmp_path / "run")
    rates = [line["learning_rate"] for line in record.Workdir(tmp_path / "run").history()]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3 * np.exp(-0.5)], rel=1e-6)


def test_plateau_state_survives_json():
    plateau, stopping = optimizer.Plateau(0.1), optimizer.EarlyStopping()
    plateau.update(base.get_config().schedule, "val_loss", 0.1 + 0.2)
    stopping.update(base.get_config().early_stopping, "val_loss", 1 / 3, 1)
    for rule in (plateau, stopping):
        assert type(rule)(**json.loads(json.dumps(vars(rule)))) == rule
