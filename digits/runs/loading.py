"""Opens a trained run, or several as an ensemble, on any machine: `digits.load`."""

from collections.abc import Sequence
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import models
from digits.config.values import config_from_json
from digits.data import SIDE, pixels
from digits.errors import UserError, paths, reason
from digits.models import families, inference
from digits.models.ops import native
from digits.runs import documented, sweep_folder
from digits.runs.checkpoints import Checkpoints
from digits.runs.files import is_a, refuse_links
from digits.runs.workdir import METRICS, Workdir

_ONE_IMAGE = ((SIDE, SIDE), (SIDE, SIDE, 1))  # The shapes of a single image.


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, as `load` returns it.

    Attributes:
      config: its config, locked.
      model: the NNX module; call it with normalised images, Nx28x28x1, for logits in evaluation mode.
      class_names: the name of each class.
      epoch: the epoch (from 1) after which the weights were saved.
      records: one dict an epoch, with the keys of METRICS.
      result: the content of result.json; None for a run that is not finished.
    """

    config: ConfigDict
    model: models.Network
    class_names: tuple[str, ...]
    epoch: int
    records: list[dict[str, float | None]]
    result: dict[str, Any] | None

    @functools.cached_property
    def history(self) -> Any:
        """The records as a pandas.DataFrame: a row an epoch, whose number is the index, and the columns METRICS."""
        import pandas as pd  # Takes half a second.

        columns = ["epoch", *METRICS]
        rows = [[record.get(name) for name in columns] for record in self.records]
        return pd.DataFrame(rows, columns=columns).set_index("epoch")

    def plot(self) -> Any:
        """Draws loss, accuracy and learning rate over the epochs, with the epochs that the notebook printed as marks.

        Returns a matplotlib Figure: Jupyter and Colab show it; `.savefig("curves.png")` keeps it.
        """
        from digits.analysis.figures import curves, style  # Imports matplotlib, which takes half a second.

        style.enable_in_notebook()
        experiment = (self.result or {}).get("config_file") or ""
        return curves.curves([self], documented.curves(experiment, self.config.documented.source))

    @functools.cached_property
    def _network(self) -> models.Network:
        return families.for_evaluation(self.model)

    def logits(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes logits; arguments, shapes and errors are those of `predict`."""
        checked = _pixels(images)
        logits = inference.logits(self._network, self.config.data.normalization, checked, batch_size)
        return logits[0] if np.shape(images) in _ONE_IMAGE else logits

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes class probabilities.

            digits.load("runs/simple_cnn").predict(images).argmax(-1)

        Args:
          images: one 28x28 image, or N of them (with or without a last axis of 1): white on black like MNIST; whole
            numbers from 0 to 255, or floats from 0 to 1. Whole numbers that are all 0 or 1 are black and white.
          batch_size: images per call of the network.

        Returns:
          float32, K for one image, NxK for several.

        Raises:
          UserError: the images have another shape, type or range.
        """
        from scipy.special import softmax  # Takes 0.3 s.

        return softmax(self.logits(images, batch_size), axis=-1)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Runs that predict together, as `load` returns them; UserError if there are none, or their classes differ.

    Attributes:
      runs: the members; each has its config, its weights and its result.
    """

    runs: tuple[Run, ...]

    def __post_init__(self):
        if not self.runs:
            raise UserError("An ensemble needs a finished run, but there is none.")
        for run in self.runs:
            if run.class_names != self.class_names:
                raise UserError(
                    f"An ensemble needs runs with the same classes, but one has {', '.join(self.class_names)} and "
                    f"another has {', '.join(run.class_names)}."
                )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.runs[0].class_names

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes the mean of the members' probabilities; arguments, shapes and errors are those of `Run.predict`."""
        first, *others = [run.predict(images, batch_size) for run in self.runs]
        return sum(others, first) / np.float32(len(self.runs))


def load(workdir: str | os.PathLike | Sequence[str | os.PathLike], which: str = "best") -> Run | Ensemble:
    """Opens a run, a sweep or several runs, on any machine: `digits.load("runs/simple_cnn").predict(images)`.

    Args:
      workdir: a run's directory, for a Run; or those of several, as a list, or the folder of a sweep, for the Ensemble
        of those that are finished.
      which: "best", the weights that a run was tested with (the best epoch's if its config restores them, otherwise
        the last's); or "latest", the last checkpoint.

    Raises:
      UserError: `workdir` is no run or sweep, holds no checkpoint yet, or makes no ensemble: none of several is
        finished, or their classes differ.
    """
    if which not in ("best", "latest"):
        raise UserError(f"which is {which!r}, but it must be 'best' or 'latest'.")
    with paths():
        return _load(workdir, which)


def _load(workdir: str | os.PathLike | Sequence[str | os.PathLike], which: str) -> Run | Ensemble:
    if isinstance(workdir, (str, os.PathLike)):
        files = Workdir(workdir)
        if not (files.path / "sweep.json").exists():
            return _load_run(files, which)
        sweep = sweep_folder.read_sweep(files.path)
        finished = [Workdir(files.path / member.name) for member in sweep.members if member.state == "finished"]
        if not finished:
            raise no_finished_member(sweep)
    else:
        if not isinstance(workdir, Sequence) or not all(isinstance(path, (str, os.PathLike)) for path in workdir):
            raise UserError(f"workdir is {workdir!r}, but it must be a run's or a sweep's folder, or a list of runs'.")
        several = [Workdir(path) for path in workdir]
        for files in several:
            if not (files.path / "config.json").exists() and files.failure() is None:
                raise _no_run(files.path)
        finished = [files for files in several if files.result() is not None]
        if not finished:
            raise UserError(f"An ensemble needs a finished run, but none of the {len(several)} given is finished.")
    return Ensemble(tuple(_load_run(files, which) for files in finished))


def no_finished_member(sweep: sweep_folder.Sweep) -> UserError:
    """The error of a sweep that has nothing to load."""
    return UserError(f"{sweep.folder} has no finished run: its members are {sweep_folder.rest(sweep.members)}.")


def _no_run(path: pathlib.Path) -> UserError:
    """The error of a folder without checkpoints. It names the folder's content and the runs below it, or beside it."""
    sweeps = {about.parent for about in path.glob("*/**/sweep.json")}
    runs = {about.parent for about in path.glob("*/**/config.json")}
    below = [f"{folder.relative_to(path)} (a sweep)" for folder in sweeps]
    below += [str(run.relative_to(path)) for run in runs if run.parent not in sweeps]
    hint = f"runs below it: {', '.join(sorted(below)[:10])}" if below else "it must be the --workdir of a training"
    if path.is_dir():
        entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        rest = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
        content = f"it holds {', '.join(entries[:5])}{rest}" if entries else "it is empty"
    elif path.exists():
        content = "it is a file"
    else:
        there = sorted(run.parent.name for kind in ("config", "sweep") for run in path.parent.glob(f"*/{kind}.json"))
        content = "there is nothing of that name" + (f" beside {', '.join(there[:10])}" if there else "")
    return UserError(f"{path} is no run with checkpoints: {content}; {hint}.")


def _load_run(files: Workdir, which: str) -> Run:
    if not files.checkpoints.is_dir():
        raise _no_run(files.path)
    refuse_links(files.path)
    try:
        checkpoints = Checkpoints(files.checkpoints, read_only=True)
        if not (steps := checkpoints.steps()):
            raise UserError(f"{files.checkpoints} holds no checkpoint yet.")
        state, about = _restore(checkpoints, steps[0])
        config = config_from_json(about["config"])
        best = about["early_stopping"]["best_epoch"]
        if which == "best" and config.early_stopping.restore_best and best != about["epoch"]:
            steps_per_epoch = (steps[0] - about["step_in_epoch"]) // max(about["epoch"], 1)
            state, about = _restore(checkpoints, best * steps_per_epoch)
            if about["epoch"] != best:
                raise ValueError(f"the checkpoint of epoch {best} is of epoch {about['epoch']}")
        checkpoints.close()
        model = _network(about, state["train"])
        epoch, class_names = about["epoch"], tuple(about["class_names"])
    except UserError:
        raise
    except Exception as error:  # Damaged, or nonsense in a checkpoint that nobody sealed.
        raise _partial(files.checkpoints, reason(error, with_type=True)) from error
    records, result = files.history(), files.result()
    trained = result["epochs"] if result else about["epoch"]
    if [line["epoch"] for line in records[:trained]] != list(range(1, trained + 1)):
        raise _partial(files.path / "metrics.jsonl", f"it has not all of the {trained} epochs")
    return Run(config, model, class_names, epoch, records, result)


def _partial(path: pathlib.Path, problem: str) -> UserError:
    return UserError(
        f"{path} is damaged, or only a part of it was copied ({problem}): copy the run's whole folder again."
    )


def _restore(checkpoints: Checkpoints, step: int) -> tuple[Any, dict[str, Any]]:
    """Reads a checkpoint's state and `about`; ValueError if `about` holds impossible values, sealed or not."""
    state, about = checkpoints.restore(step)
    if not is_a(about["epoch"], int) or about["epoch"] < 0:
        raise ValueError(f"its epoch is {about['epoch']!r:.100}")
    # Names are printed: control characters in them would be commands to the terminal.
    if not all(isinstance(name, str) and name.isprintable() for name in about["class_names"]):
        raise ValueError("its class names are no words")
    return state, about


def _network(about: dict[str, Any], saved: dict[str, Any]) -> models.Network:
    """Builds the config's network with the saved weights; ValueError if these belong to another network."""
    graphdef, *expected = _structure(json.dumps(about["config"]["model"]), len(about["class_names"]))
    given = [saved["params"], saved.get("stats") or {}]
    kinds = [jax.tree.map(lambda a: (a.shape, a.dtype), trees) for trees in (given, expected)]
    if kinds[0] != kinds[1]:
        raise ValueError("its weights are not those of its config's network")
    # The checkpoint's arrays are NumPy's; the module's are the default device's.
    return nnx.merge(graphdef, *jax.tree.map(jnp.asarray, given))


@functools.lru_cache(maxsize=64)
def _structure(model: str, classes: int) -> tuple[nnx.GraphDef, dict, dict]:
    """Traces the network of a `config.model`, given as JSON. Cached: tracing takes as long as reading weights."""
    fields = json.loads(model)
    if fields.get("convolution") == "native" and not native.available():  # It was trained on another machine.
        fields["convolution"] = "auto"
    config = config_from_json(fields)
    return families.parts(models.outline(config, classes))


def _pixels(images: Any) -> np.ndarray:
    """Checks images as `Run.predict` takes them; returns Nx28x28 from 0 to 255, uint8 or float32."""
    try:
        images = np.asarray(images)
    except ValueError as error:  # Lists of different lengths.
        raise UserError("images are no array, but must have the shape (28, 28) or (N, 28, 28).") from error
    if not images.size or (images.shape not in _ONE_IMAGE and images.shape[1:] not in _ONE_IMAGE):
        raise UserError(f"images have the shape {images.shape}, but it must be (28, 28) or (N, 28, 28).")
    floats = np.issubdtype(images.dtype, np.floating)
    if not floats and images.dtype != bool and not np.issubdtype(images.dtype, np.integer):
        raise UserError(
            f"images are of type {images.dtype}, but must be whole numbers from 0 to 255 or floats from 0 to 1."
        )
    low, high = images.min(), images.max()
    slack = 1e-3 if floats else 0  # Arithmetic may leave a little more than 1.
    if not -slack <= low <= high <= (1 if floats else 255) + slack:
        accepted = "floats must be from 0 to 1" if floats else "whole numbers must be from 0 to 255"
        raise UserError(f"images have values from {low:g} to {high:g}, but {accepted}.")
    full = images * 255.0 if floats or pixels.is_black_and_white(images) else images
    full = full.reshape(-1, SIDE, SIDE)
    # Bytes become float32 on the device: a quarter to copy.
    return full if full.dtype == np.uint8 else full.astype(np.float32)
