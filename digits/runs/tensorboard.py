"""TensorBoard events of a run: its metrics, its hyperparameters, and pictures."""

from collections.abc import Callable
import os
import pathlib
import socket
import time
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from digits.analysis.figures import sheet
from digits.config.values import flat

# These fields do not define a run; the other fields are the columns of the HPARAMS tab, the same for all runs.
_NO_HYPERPARAMETERS = ("eval_batch_size", "checkpoint_every", "tensorboard", "compilation_cache")
_NO_SECTIONS = ("documented.", "population.")


class Events:
    """Writes TensorBoard events with tensorboard's own writer, which needs no TensorFlow.

        events = Events(workdir / "tensorboard", wanted=True)
        events.hyperparameters(config)
        events.metrics(1, {"loss": 0.3, "val_loss": None})
        events.close()

    The first metrics open the file, because importing tensorboard takes 0.1 s. Later calls take less than a
    millisecond. An error does not stop training: `problem` describes it, and nothing is written after it.
    """

    def __init__(self, folder: pathlib.Path, wanted: bool):
        self.problem = ""
        self._folder, self._wanted = folder, wanted
        self._hyperparameters = {}
        self._writer: Any = None  # tensorboard's RecordWriter, once the file is open.

    def hyperparameters(self, config: ConfigDict) -> None:
        """Keeps the config's fields, by which the HPARAMS tab compares runs, for the start of the file."""
        self._hyperparameters = {
            field: value if isinstance(value, (bool, int, float, str)) else str(value)
            for field, value in flat(config.to_dict()).items()
            if field not in _NO_HYPERPARAMETERS and not field.startswith(_NO_SECTIONS)
        }

    def metrics(self, epoch: int, values: dict[str, float | None]) -> None:
        """Writes the metrics of an epoch, but those that are None."""

        def summaries():
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb

            return [scalar_pb(name, value) for name, value in values.items() if value is not None]

        self._write(epoch, summaries)

    def picture(self, epoch: int, name: str, make: Callable[[], np.ndarray]) -> None:
        """Writes the picture, uint8 HxWx3, that `make` returns."""

        def summaries():
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.plugins.image.metadata import create_summary_metadata
            from tensorboard.util.tensor_util import make_tensor_proto

            image = make()
            height, width, _ = image.shape
            content = make_tensor_proto([b"%d" % width, b"%d" % height, sheet.png(image)])
            about = create_summary_metadata(display_name=None, description=None)
            return [Summary(value=[Summary.Value(tag=name, metadata=about, tensor=content)])]

        self._write(epoch, summaries)

    def close(self) -> None:
        """Closes the file."""
        if self._writer:
            self._writer.close()
        self._writer, self._wanted = None, False

    def _write(self, epoch: int, summaries: Callable[[], list]) -> None:
        if not self._wanted or self.problem:
            return
        try:
            if not self._writer:
                self._open()
            for summary in summaries():
                self._add(step=epoch, summary=summary)
        except Exception as error:  # Training goes on without events, whatever happens to them.
            self.problem = f"{type(error).__name__}: {error}"

    def _open(self) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard takes files with "tfevents" in their names, in the order of the names.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        # Without a buffer, a disk that is full shows in a write, and not again when the file is closed.
        self._writer = RecordWriter(open(self._folder / name, "wb", buffering=0))
        self._add(file_version="brain.Event:2")
        if self._hyperparameters:
            self._add(summary=hparams_pb(self._hyperparameters))

    def _add(self, **fields) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())
