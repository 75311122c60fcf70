"""Orbax checkpoints: saving and restoring a run, and `load` for using a trained one elsewhere."""

import concurrent.futures
import dataclasses
import functools
import logging
import os
import pathlib
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import evaluate, models, record
from digits.errors import UserError


def _import_orbax():
    """Orbax, which takes a second to import: only where a checkpoint is written or read."""
    import orbax.checkpoint as ocp

    # It warns of its own defaults and reports every step of a save.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return ocp


class Checkpoints:
    """The checkpoints of a run: the latest, and the best by its rank. A thread saves them behind the training.

    Orbax could save in the background itself, but only after 10 to 20 ms of its own in the foreground; here the
    training waits for a copy of the arrays, and for the save before if that is still going on.
    """

    def __init__(self, directory: pathlib.Path, read_only: bool = False):
        self._directory, self._read_only = directory, read_only
        self._thread, self._saving = concurrent.futures.ThreadPoolExecutor(1), None

    @functools.cached_property
    def _orbax(self):
        ocp = _import_orbax()
        rank = lambda metrics: metrics["rank"]
        latest, best = ocp.checkpoint_managers.LatestN, ocp.checkpoint_managers.BestN
        keep = ocp.checkpoint_managers.AnyPreservationPolicy(
            [latest(1), best(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep, best_fn=rank, best_mode="max", create=not self._read_only,
            read_only=self._read_only, enable_async_checkpointing=False,
        )  # fmt: skip
        return ocp.CheckpointManager(self._directory, options=options, item_names=("state", "about"))

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        self._saving = self._saving or self._thread.submit(lambda: self._orbax)

    def save(self, step: int, state: Any, about: dict[str, Any], rank: int) -> None:
        """Saves after `step` updates. `about` is JSON; `rank` is the epoch if it is the best so far, otherwise 0.

        At most one save is ever under way: a killed run has lost no more than that and what it trained meanwhile.
        """
        self._wait()
        # A copy, for the next step is given the buffers of `state` to write to. Orbax takes half the time for arrays of
        # NumPy, and they say nothing of the device, which may be absent where they are restored.
        copy = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(self._write, step, copy, about, rank)

    def _write(self, step: int, state: Any, about: dict[str, Any], rank: int) -> None:
        with jax.profiler.TraceAnnotation("checkpoint"):
            args = _import_orbax().args
            items = args.Composite(state=args.StandardSave(state), about=args.JsonSave(about))
            self._orbax.save(step, args=items, metrics={"rank": rank})

    def _wait(self) -> None:
        """Waits until everything is on disk; raises what went wrong in the thread."""
        saving, self._saving = self._saving, None
        if saving:
            saving.result()

    def latest_step(self) -> int | None:
        self._wait()
        return self._orbax.latest_step()

    def best_step(self) -> int | None:
        """The step of the best epoch; the latest where no epoch was ever ranked."""
        self._wait()
        return self._orbax.best_step()

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state saved after `step` updates, of the structure, types and placement of `like`, and its `about`."""
        return self._restore(step, _import_orbax().args.StandardRestore(like))

    def restore_anywhere(self, step: int) -> tuple[dict, dict[str, Any]]:
        """As `restore`, but without knowing the structure, and as arrays of NumPy."""
        return self._restore(step, _import_orbax().args.StandardRestore())

    def _restore(self, step: int, state: Any) -> tuple[Any, dict[str, Any]]:
        self._wait()
        args = _import_orbax().args
        restored = self._orbax.restore(step, args=args.Composite(state=state, about=args.JsonRestore()))
        return restored.state, restored.about

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._thread.shutdown()
        if "_orbax" in vars(self):
            self._orbax.close()
        self._wait()


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, as `load` returns it.

    Attributes:
      config: its config, locked.
      model: the NNX module; call it with normalised images, Nx28x28x1, for logits in evaluation mode.
      class_names: the name of each class.
      epoch: the epoch (from 1) that the weights are from the end of.
      history: one dict an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds, images_per_second.
      result: the content of result.json; None for a run that is not finished.
    """

    config: ConfigDict
    model: nnx.Module
    class_names: tuple[str, ...]
    epoch: int
    history: list[dict[str, float]]
    result: dict[str, Any] | None

    @functools.cached_property
    def _probabilities(self):
        graphdef, params, stats = models.split(self.model)
        predict = jax.jit(evaluate.make_predict(graphdef, self.config.data.normalization))
        return lambda images: jax.nn.softmax(predict(params, stats, images))

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Class probabilities.

        Args:
          images: one 28x28 image, or N of them (with or without a last axis of 1): white on black like MNIST; whole
            numbers from 0 to 255, or floats from 0 to 1.
          batch_size: images per call of the network.

        Returns:
          float32, K for one image, NxK for several.
        """
        images = np.asarray(images)
        single = images.shape in ((28, 28), (28, 28, 1))
        if not single and images.shape[1:] not in ((28, 28), (28, 28, 1)):
            raise UserError(f"images have the shape {images.shape}, but it must be (28, 28) or (N, 28, 28).")
        pixels = images * 255.0 if np.issubdtype(images.dtype, np.floating) else images
        pixels = pixels.reshape(-1, 28, 28).astype(np.float32)
        parts = [
            np.asarray(self._probabilities(jnp.asarray(b)))
            for b in np.split(pixels, range(batch_size, len(pixels), batch_size))
        ]
        probabilities = np.concatenate(parts)
        return probabilities[0] if single else probabilities


def load(workdir: str | os.PathLike, which: str = "best") -> Run:
    """Opens a trained run, on any machine: `digits.load("runs/simple_cnn").predict(images)`.

    Args:
      workdir: the run's directory.
      which: "best", the weights that the run was tested with (the best epoch's if its config restores them, otherwise
        the last's); or "latest", the last checkpoint.

    Raises:
      UserError: `workdir` is no run, or holds no checkpoint yet.
    """
    files = record.Workdir(workdir)
    if which not in ("best", "latest"):
        raise UserError(f"which is {which!r}, but it must be 'best' or 'latest'.")
    if not files.checkpoints.is_dir():
        below = sorted(str(p.parent.relative_to(files.path)) for p in files.path.glob("*/**/config.json"))[:10]
        hint = f"runs below it: {', '.join(below)}" if below else "it must be the --workdir of a training"
        raise UserError(f"{files.path} is no run with checkpoints; {hint}.")
    checkpoints = Checkpoints(files.checkpoints, read_only=True)
    step = checkpoints.latest_step()
    if step is None:
        raise UserError(f"{files.checkpoints} holds no checkpoint yet.")
    state, about = checkpoints.restore_anywhere(step)
    config = record.config_from_json(about["config"])
    if which == "best" and config.early_stopping.restore_best and checkpoints.best_step() != step:
        state, about = checkpoints.restore_anywhere(checkpoints.best_step())
    checkpoints.close()
    abstract = nnx.eval_shape(lambda: models.build(config.model, len(about["class_names"]), jax.random.key(0)))
    graphdef, _, _ = models.split(abstract)
    model = nnx.merge(graphdef, state["train"]["params"], state["train"].get("stats", {}))
    return Run(config, model, tuple(about["class_names"]), about["epoch"], files.history(), files.result())
