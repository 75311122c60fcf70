"""TensorBoard events of a run: its metrics, the columns of the HPARAMS tab, the picture of its mistakes."""

import io
import subprocess
import sys

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from digits.runs import tensorboard
from digits.runs.workdir import METRICS, Workdir
from digits.training import recorder, train
from tests.conftest import ROOT

BEGINNING = ["_hparams_/session_start_info", "custom_scalars__config__"]


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
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.group_name == "run"  # In the tab, the run's name.
    width, height, png = value("mistakes")
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (int(width), int(height)) and np.ptp(np.asarray(picture)) == 255


def test_metrics_that_are_none_are_left_out_and_a_run_without_events_has_no_folder(tiny, tmp_path):
    written = tensorboard.Events(tmp_path / "events", tiny, [])
    written.metrics(1, {"loss": 0.5, "val_loss": None})
    written.close()
    assert read(tmp_path / "events").Tags()["tensors"] == [*BEGINNING, "loss"]
    epoch = dict.fromkeys(METRICS, 0.5) | {"epoch": 1}
    recorder.Recorder(tiny, Workdir(tmp_path), {}, recorder.Outputs()).epoch(epoch, best=True)
    assert not (tmp_path / "tensorboard").exists()


def test_training_and_validation_share_a_chart(tiny, tmp_path):
    tensorboard.Events(tmp_path / "events", tiny, []).close()
    (content,) = tensor_util.make_ndarray(read(tmp_path / "events").Tensors(BEGINNING[-1])[0].tensor_proto).flat
    (category,) = layout_pb2.Layout.FromString(content).category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert charts == {"loss": ["^loss$", "^val_loss$"], "accuracy": ["^accuracy$", "^val_accuracy$"]}


def test_a_full_disk_stops_the_events_alone_and_the_run_says_so_once(tiny, tmp_path, monkeypatch, capsys):
    def full(path, *args, **kwargs):
        opened.append(path)
        return open("/dev/full", *args, **kwargs)

    opened = []
    monkeypatch.setattr(tensorboard, "open", full, raising=False)
    tiny.epochs, tiny.tensorboard, tiny.augment.rotation = 2, True, 0.0
    assert train.train_and_evaluate(tiny, tmp_path / "run")["epochs"] == 2
    assert capsys.readouterr().out.count("no TensorBoard events were written (OSError: [Errno 28] No space left") == 1
    assert len(opened) == 1


def test_a_second_start_replaces_the_files_of_the_first_also_if_a_kill_tore_them(tiny, tmp_path):
    """Epoch 2 was not recorded, and is trained again. A TensorBoard that shows the run shows each epoch once, too."""
    for last in (1, 2):
        written = tensorboard.Events(tmp_path, tiny, [])
        for epoch in range(1, last + 1):
            written.metrics(epoch, {"loss": 1 / epoch})
        written.close()
        (latest,) = tmp_path.iterdir()
    latest.write_bytes(latest.read_bytes()[:-7])
    open_page = read(tmp_path)
    assert [event.step for event in open_page.Tensors("loss")] == [1]
    written = tensorboard.Events(tmp_path, tiny, [{"epoch": 1, "loss": 1.0}])
    for epoch in (2, 3):
        written.metrics(epoch, {"loss": 1 / epoch})
    written.close()
    open_page.Reload()
    for found in (open_page, read(tmp_path)):
        assert [event.step for event in found.Tensors("loss")] == [1, 2, 3]
    assert "epoch" not in found.Tags()["tensors"] and len(list(tmp_path.iterdir())) == 1


def test_writing_imports_no_tensorflow(tmp_path):
    code = """
import pathlib, sys
import numpy as np
from configs import base
from digits.runs import tensorboard as events

written = events.Events(pathlib.Path(sys.argv[1]), base.get_config(), [])
written.metrics(1, {"loss": 0.5})
written.picture(1, "mistakes", np.zeros((8, 8, 3), np.uint8))
written.close()
print("tensorflow" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
    assert read(tmp_path).Tags()["tensors"] == [*BEGINNING, "loss", "mistakes"]
