"""TensorBoard events of a run: its metrics, the columns of the HPARAMS tab, the picture of its mistakes."""

import io
import subprocess
import sys

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from digits.runs import tensorboard
from digits.training import train
from tests.conftest import ROOT


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def test_a_run_leaves_its_metrics_hyperparameters_and_mistakes(tiny, tmp_path):
    tiny.epochs, tiny.tensorboard, tiny.augment.rotation = 2, True, 0.0
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert result["test_accuracy"] < 1  # Otherwise there are no mistakes to show.
    found = read(tmp_path / "run" / "tensorboard")

    def value(tag):
        return tensor_util.make_ndarray(found.Tensors(tag)[-1].tensor_proto)

    assert [event.step for event in found.Tensors("val_accuracy")] == [1, 2]
    assert np.float32(result["test_loss"]) == value("test_loss")
    assert np.float32(result["test_accuracy"]) == value("test_accuracy")
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["optimizer.learning_rate"].number_value == tiny.optimizer.learning_rate
    assert hparams["model.hidden"].string_value == "(16,)" and hparams["seed"].number_value == 0
    assert not any(name.startswith(("documented", "population")) for name in hparams)
    width, height, png = value("mistakes")
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (int(width), int(height)) and np.ptp(np.asarray(picture)) == 255


def test_what_keeps_events_from_being_written_is_told_and_stops_nothing(tmp_path):
    def fail():
        raise RuntimeError("no ink")

    written = tensorboard.Events(tmp_path / "events", wanted=True)
    written.metrics(1, {"loss": 0.5, "val_loss": None})
    written.picture(1, "mistakes", fail)
    written.metrics(2, {"accuracy": 0.5})
    written.close()
    assert written.problem == "RuntimeError: no ink" and read(tmp_path / "events").Tags()["tensors"] == ["loss"]
    off = tensorboard.Events(tmp_path / "none", wanted=False)
    off.metrics(1, {"loss": 0.5})
    off.close()
    assert not (tmp_path / "none").exists()


def test_a_full_disk_is_a_problem_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tensorboard, "open", lambda path, *args, **kwargs: open("/dev/full", *args, **kwargs), raising=False
    )
    written = tensorboard.Events(tmp_path, wanted=True)
    written.metrics(1, {"loss": 0.5})
    written.close()
    assert written.problem.startswith("OSError") and "No space left" in written.problem


def test_a_second_file_of_a_run_goes_on_after_the_first(tmp_path):
    for epoch in (1, 2):
        written = tensorboard.Events(tmp_path, wanted=True)
        written.metrics(epoch, {"loss": 1 / epoch})
        written.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert [event.step for event in read(tmp_path).Tensors("loss")] == [1, 2]


def test_writing_imports_no_tensorflow(tmp_path):
    code = """
import pathlib, sys
import numpy as np
from configs import base
from digits.runs import tensorboard as events

written = events.Events(pathlib.Path(sys.argv[1]), wanted=True)
written.hyperparameters(base.get_config())
written.metrics(1, {"loss": 0.5})
written.picture(1, "mistakes", lambda: np.zeros((8, 8, 3), np.uint8))
written.close()
print(repr(written.problem), "tensorflow" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "'' False\n"
    assert read(tmp_path).Tags()["tensors"] == ["_hparams_/session_start_info", "loss", "mistakes"]
