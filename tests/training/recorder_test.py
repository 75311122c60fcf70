"""Tests of the recorder: its lines and files, written by the first of several processes alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from digits import models
from digits.runs import files
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training.program import Examples
from digits.training.recorder import Outputs, Recorder
from digits.training.step import TrainMetrics

LINE = {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "val_loss": None, "val_accuracy": None}
LINE |= {"learning_rate": 1e-3, "seconds": 2.0, "images_per_second": 10.0}
ABOUT = {"data": {"digest": "0" * 64, "train": 20, "validation": 0, "test": 10}, "config_file": "configs/x.py"}
TESTED = {"test_loss": 0.25, "test_accuracy": 0.5, "tested_epoch": 1, "epochs": 1}
ABOUT["arithmetic"] = {"convolution": "dot", "threads": 2, "processor": "a"}


def opened(config, folder):
    workdir = Workdir(folder)
    workdir.create(config, ABOUT)
    return workdir


def report(config, folder, images):
    """An epoch and a result through a recorder."""
    workdir = opened(config, folder) if processes.first() else Workdir(folder)
    recorder = Recorder(config, workdir, ABOUT, Outputs(True, images, profiled=True))
    recorder.progress(1, images=20, done=0)
    recorder.images(20, 1, TrainMetrics.empty())
    recorder.first_step(1.5)
    recorder.epoch(LINE, best=False)
    recorder.close()
    return recorder


def test_the_first_process_shows_and_writes(tiny, tmp_path, capsys):
    seen = []
    tiny.data.validation = "none"
    recorder = report(tiny, tmp_path, seen.append)
    out = capsys.readouterr().out
    assert out.endswith(
        "(compilation 1.5 s of it)\nepoch    loss     acc        lr       s\n  1/3  0.5000  0.7500  1.00e-03     2.0\n"
    )
    assert seen == [20] and Workdir(tmp_path).history() == [LINE] and recorder.profile.active
    examples = Examples((), None, (np.zeros((10, 28, 28), np.uint8), np.zeros(10, int)), ("a", "b"), ABOUT["data"])
    result = recorder.result(TESTED, examples, None)
    assert Workdir(tmp_path).result() == result
    assert (result["seconds"], result["compile_seconds"], result["config_file"]) == (2.0, 1.5, "configs/x.py")
    assert "test loss 0.2500  test accuracy 0.5000" in capsys.readouterr().out


def test_another_process_shows_and_writes_nothing(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(processes, "first", lambda: False)
    tiny.tensorboard, seen = True, []
    recorder = report(tiny, tmp_path, seen.append)
    assert capsys.readouterr() == ("", "") and not list(tmp_path.iterdir())
    assert seen == [20] and not recorder.profile.active and not recorder.moves


@pytest.mark.parametrize(("outputs", "moves"), [(Outputs(), False), (Outputs(moves=True), True)])
def test_a_member_of_a_population_says_nothing_by_itself(tiny, tmp_path, capsys, outputs, moves):
    recorder = Recorder(tiny, opened(tiny, tmp_path), ABOUT, outputs)
    recorder.epoch(LINE, best=True)
    assert capsys.readouterr() == ("", "") and Workdir(tmp_path).history() == [LINE]
    assert recorder.moves is moves


def test_a_run_says_and_records_the_images_of_each_class(tiny, tmp_path, capsys):
    counts = {"train": {"a": 12, "b": 8}, "test": {"a": 10, "b": 0}}
    about = ABOUT | {"data": {**ABOUT["data"], "classes": counts, "notes": ["the pixels were turned"]}}
    tiny.data.validation = "none"
    workdir = opened(tiny, tmp_path)
    recorder = Recorder(tiny, workdir, about, Outputs(True))
    recorder.begun(models.outline(tiny.model, 2), steps_per_epoch=5)
    assert capsys.readouterr().out.endswith(
        "images of each class (a, b): training 12, 8; test 10, 0\n"
        "note: test has no image of b: the figures say nothing about it\n"
        "note: the pixels were turned\n"
    )
    workdir.append(LINE)
    examples = Examples((), None, (None, None), ("a", "b"), about["data"])
    result = recorder.result(TESTED, examples, None)
    assert result["classes"] == counts and result["data"] == ABOUT["data"] and result["convolution"] == "dot"


@pytest.mark.parametrize(
    "began, told",
    [
        ({"arithmetic": {**ABOUT["arithmetic"], "gone": 1}}, None),
        ({}, None),  # Of an earlier version.
        ({"arithmetic": "nonsense"}, None),
        ({"arithmetic": {**ABOUT["arithmetic"], "convolution": "native"}}, "convolution was native, is dot"),
        ({"arithmetic": {**ABOUT["arithmetic"], "threads": 4}}, "threads was 4, is 2"),
    ],
)
def test_a_run_that_goes_on_with_other_arithmetic_says_so(began, told, tiny, tmp_path):
    files.write_json(tmp_path / "config.json", {"config": {}, **began})
    warned = []
    recorder = Recorder(tiny, Workdir(tmp_path), ABOUT, Outputs(warn=warned.append))
    state = SimpleNamespace(epoch=0, step_in_epoch=0, stopping=SimpleNamespace(best_epoch=0))
    recorder.went_on(state, restored=False)
    assert not warned
    recorder.went_on(state, restored=True)
    assert len(warned) == bool(told) and (not told or told in " ".join(warned[0].split()))
