"""Writes TensorBoard events of a run: its metrics, its hyperparameters, and pictures.

Importing this module imports tensorboard, which takes 0.1 to 0.4 s and may be absent.
"""

from collections.abc import Iterable, Sequence
import os
import pathlib
import socket
import time

from ml_collections import ConfigDict
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from digits.analysis.figures import sheet
from digits.config.values import flat

# These fields do not define a run; the other fields are the columns of the HPARAMS tab, the same for all runs.
_NO_HYPERPARAMETERS = ("eval_batch_size", "checkpoint_every", "tensorboard", "compilation_cache")
_NO_SECTIONS = ("documented.", "population.")
# The charts of the CUSTOM SCALARS tab, each with the names of its lines.
_CHARTS = {"loss": ("loss", "val_loss"), "accuracy": ("accuracy", "val_accuracy")}


class Events:
    """Writes a file of events with tensorboard's own writer, which needs no TensorFlow.

        events = Events(workdir / "tensorboard", config, [])
        events.metrics(1, {"loss": 0.3, "val_loss": None})
        events.close()

    The folder is in that of the run, whose name the run has in the HPARAMS tab. The file begins with the fields of the
    config, by which that tab compares runs, with the charts of the CUSTOM SCALARS tab, and with the epochs that are
    recorded already. It replaces the files of the run's earlier starts: a kill may have torn them, and they may show
    epochs that are trained again. A call takes less than a millisecond.
    """

    def __init__(self, folder: pathlib.Path, config: ConfigDict, history: Iterable[dict[str, float | None]]):
        folder.mkdir(parents=True, exist_ok=True)
        earlier = list(folder.glob("events.out.tfevents.*"))
        # TensorBoard takes files with "tfevents" in their names, in the order of the names.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        # Without a buffer, a disk that is full shows in a write, and not again when the file is closed.
        self._writer = RecordWriter(open(folder / name, "wb", buffering=0))
        self._add(file_version="brain.Event:2")
        # A TensorBoard that is running forgets the events of the earlier files.
        self._add(session_log=SessionLog(status=SessionLog.START))
        hyperparameters = {
            field: value if isinstance(value, (bool, int, float, str)) else str(value)
            for field, value in flat(config.to_dict()).items()
            if field not in _NO_HYPERPARAMETERS and not field.startswith(_NO_SECTIONS)
        }
        self._add(summary=hparams_pb(hyperparameters, trial_id=folder.absolute().parent.name))
        self._add(summary=_charts())
        for record in history:
            self.metrics(record["epoch"], record)
        for path in earlier:
            path.unlink()

    def metrics(self, epoch: int, values: dict[str, float | None]) -> None:
        """Writes the metrics of an epoch, but those that are None."""
        for name, value in values.items():
            if value is not None and name != "epoch":
                self._add(step=epoch, summary=scalar_pb(name, value))

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Writes a picture, uint8 HxWx3."""
        height, width, _ = image.shape
        content = make_tensor_proto([b"%d" % width, b"%d" % height, sheet.png(image)])
        about = create_summary_metadata(display_name=None, description=None)
        self._add(step=epoch, summary=Summary(value=[Summary.Value(tag=name, metadata=about, tensor=content)]))

    def mistakes(self, epoch: int, worst: Sequence[dict], images: np.ndarray, class_names: Sequence[str]) -> None:
        """Writes the worst mistakes as a picture; arguments as of `sheet.examples`."""
        self.picture(epoch, "mistakes", sheet.examples(worst, images, class_names))

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _add(self, **fields) -> None:
        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _charts() -> Summary:
    """Lays out charts that have the lines of training and of validation together."""
    charts = [
        layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$" for tag in tags]))
        for title, tags in _CHARTS.items()
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="training and validation", chart=charts)])
    content = make_tensor_proto(layout.SerializeToString())
    about = custom_scalars.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=custom_scalars.CONFIG_SUMMARY_TAG, metadata=about, tensor=content)])
