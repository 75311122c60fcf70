"""TensorBoard events of a run: its metrics, its hyperparameters, and pictures."""

from collections.abc import Callable
import os
import pathlib
import queue
import threading
import time
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from digits import scalars

# What does not define a run; the other fields are the columns of the HPARAMS tab, the same for all runs.
_NO_HYPERPARAMETERS = ("eval_batch_size", "checkpoint_every", "tensorboard", "compilation_cache")
_NO_SECTIONS = ("documented.", "population.")


class Events:
    """TensorBoard events through clu, written by a thread of their own, because importing TensorFlow takes seconds.

    A short run would train at half its speed meanwhile, so that its events are written when it is over. `problem` says
    what kept them from being written.
    """

    _SHORT = 20.0  # Seconds.

    def __init__(self, directory: pathlib.Path, enabled: bool):
        self._directory = directory
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True) if enabled else None
        self._created, self._started = time.monotonic(), False
        self.problem = ""

    def hyperparameters(self, config: ConfigDict) -> None:
        """Queues the config's fields, by which the HPARAMS tab compares runs."""
        fields = scalars.flat(config.to_dict())
        named = {
            field: value if isinstance(value, (bool, int, float, str)) else str(value)
            for field, value in fields.items()
            if field not in _NO_HYPERPARAMETERS and not field.startswith(_NO_SECTIONS)
        }
        self._put("write_hparams", named)

    def metrics(self, epoch: int, values: dict[str, float | None]) -> None:
        """Queues figures of an epoch; None is left out."""
        self._put("write_scalars", epoch, {name: value for name, value in values.items() if value is not None})
        if self._thread and time.monotonic() - self._created > self._SHORT:
            self._start()

    def picture(self, epoch: int, name: str, draw: Callable[[], np.ndarray]) -> None:
        """Queues a picture, which `draw` returns when it is written: HxWx3, uint8."""
        self._put("write_images", epoch, {name: draw})

    def _put(self, method: str, *args: Any) -> None:
        if self._thread:
            self._queue.put((method, *args))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()

    def close(self) -> None:
        """Waits until everything is written."""
        if self._thread and (self._started or not self._queue.empty()):
            self._start()
            self._queue.put(None)
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        try:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # Says so on stderr at import otherwise.
            import tensorflow as tf
            from clu import metric_writers

            tf.config.set_visible_devices([], "GPU")
            writer = metric_writers.SummaryWriter(str(self._directory))
            while item := self._queue.get():
                method, *args = item
                if method == "write_images":
                    args[1] = {name: draw()[None] for name, draw in args[1].items()}
                getattr(writer, method)(*args)
            writer.close()
        except Exception as error:  # Training goes on without events, whatever TensorFlow stumbles over.
            self.problem = f"{type(error).__name__}: {error}"
