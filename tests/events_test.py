"""TensorBoard events of a run: its metrics, the columns of the HPARAMS tab, the picture of its mistakes."""

import io

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from digits import events, train


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def test_a_run_leaves_its_metrics_hyperparameters_and_mistakes(tiny, tmp_path):
    tiny.epochs, tiny.tensorboard, tiny.augment.rotation = 2, True, 0.0
    result = train.train_and_evaluate(tiny, tmp_path / "run")
    assert result["test_accuracy"] < 1  # Otherwise there are no mistakes to show.
    found = read(tmp_path / "run" / "tensorboard")
    value = lambda tag: tensor_util.make_ndarray(found.Tensors(tag)[-1].tensor_proto)
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

    written = events.Events(tmp_path / "events", enabled=True)
    written.metrics(1, {"loss": 0.5, "val_loss": None})
    written.picture(1, "mistakes", fail)
    written.close()
    assert written.problem == "RuntimeError: no ink" and "loss" in read(tmp_path / "events").Tags()["tensors"]
    off = events.Events(tmp_path / "none", enabled=False)
    off.metrics(1, {"loss": 0.5})
    off.close()
    assert not (tmp_path / "none").exists()
