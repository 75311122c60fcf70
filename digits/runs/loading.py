"""Opens what was trained, a run or several as an ensemble, on any machine: `digits.load`."""

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
import matplotlib.figure
from ml_collections import ConfigDict
import numpy as np
import pandas

from digits import models
from digits.analysis.figures import curves
from digits.analysis.figures.style import enable_in_notebook
from digits.config.values import config_from_json
from digits.errors import UserError, paths
from digits.models import families, inference
from digits.models.ops import native
from digits.runs import documented, sweep_folder
from digits.runs.checkpoints import Checkpoints
from digits.runs.files import is_a, refuse_links
from digits.runs.workdir import METRICS, Workdir


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, as `load` returns it.

    Attributes:
      config: its config, locked.
      model: the NNX module; call it with normalised images, Nx28x28x1, for logits in evaluation mode.
      class_names: the name of each class.
      epoch: the epoch (from 1) that the weights are from the end of.
      records: one dict an epoch, what `history` is made of.
      result: the content of result.json; None for a run that is not finished.
    """

    config: ConfigDict
    model: nnx.Module
    class_names: tuple[str, ...]
    epoch: int
    records: list[dict[str, float | None]]
    result: dict[str, Any] | None

    @functools.cached_property
    def history(self) -> "pandas.DataFrame":
        """A row an epoch (its number is the index) of record.METRICS: loss, accuracy, val_loss and so on."""
        import pandas as pd  # Takes half a second: only for those who look.

        columns = ["epoch", *METRICS]
        return pd.DataFrame([[line.get(name) for name in columns] for line in self.records], columns=columns).set_index(
            "epoch"
        )

    def plot(self) -> "matplotlib.figure.Figure":
        """Draws loss, accuracy and learning rate over the epochs, with the epochs that the notebook printed as marks.

        A Jupyter or Colab notebook shows the figure; `.savefig("curves.png")` keeps it.
        """
        enable_in_notebook()
        experiment = (self.result or {}).get("config_file") or ""
        return curves.curves([self], documented.curves(experiment, self.config.documented.source))

    @functools.cached_property
    def _network(self) -> nnx.Module:
        return families.for_evaluation(self.model)

    def logits(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes logits; arguments, shapes and errors are those of `predict`."""
        try:
            images = np.asarray(images)
        except ValueError as error:  # Lists of different lengths.
            raise UserError("images are no array, but must have the shape (28, 28) or (N, 28, 28).") from error
        single = images.shape in ((28, 28), (28, 28, 1))
        if not images.size or (not single and images.shape[1:] not in ((28, 28), (28, 28, 1))):
            raise UserError(f"images have the shape {images.shape}, but it must be (28, 28) or (N, 28, 28).")
        floats = np.issubdtype(images.dtype, np.floating)
        if not floats and images.dtype != bool and not np.issubdtype(images.dtype, np.integer):
            raise UserError(
                f"images are of type {images.dtype}, but must be whole numbers from 0 to 255 or floats from 0 to 1."
            )
        low, high = images.min(), images.max()
        slack = 1e-3 if floats else 0  # What arithmetic leaves of a 1.
        if not -slack <= low <= high <= (1 if floats else 255) + slack:
            accepted = "floats must be from 0 to 1" if floats else "whole numbers must be from 0 to 255"
            raise UserError(f"images have values from {low:g} to {high:g}, but {accepted}.")
        pixels = images * 255.0 if floats or images.dtype == bool else images
        pixels = pixels.reshape(-1, 28, 28)
        # Bytes become float32 on the device: a quarter to copy.
        pixels = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
        logits = inference.logits(self._network, self.config.data.normalization, pixels, batch_size)
        return logits[0] if single else logits

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes class probabilities.

            digits.load("runs/simple_cnn").predict(images).argmax(-1)

        Args:
          images: one 28x28 image, or N of them (with or without a last axis of 1): white on black like MNIST; whole
            numbers from 0 to 255, or floats from 0 to 1.
          batch_size: images per call of the network.

        Returns:
          float32, K for one image, NxK for several.

        Raises:
          UserError: the images have another shape, type or range.
        """
        from scipy.special import softmax  # Takes 0.3 s to import: only for those who predict.

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
        return sum(run.predict(images, batch_size) for run in self.runs) / np.float32(len(self.runs))


def load(workdir: str | os.PathLike | Sequence[str | os.PathLike], which: str = "best") -> Run | Ensemble:
    """Opens what was trained, on any machine: `digits.load("runs/simple_cnn").predict(images)`.

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
    if not isinstance(workdir, (str, os.PathLike)):
        if not isinstance(workdir, Sequence) or not all(isinstance(path, (str, os.PathLike)) for path in workdir):
            raise UserError(f"workdir is {workdir!r}, but it must be a run's or a sweep's folder, or a list of runs'.")
        several = [Workdir(path) for path in workdir]
        for files in several:
            if not (files.path / "config.json").exists() and files.failure() is None:
                raise _no_run(files)
        finished = [files for files in several if files.result() is not None]
        if not finished:
            raise UserError(f"An ensemble needs a finished run, but none of the {len(several)} given is finished.")
        return Ensemble(tuple(_load_run(files, which) for files in finished))
    files = Workdir(workdir)
    if not (files.path / "sweep.json").exists():
        return _load_run(files, which)
    sweep = sweep_folder.read_sweep(files.path)
    finished = [member.name for member in sweep.members if member.state == "finished"]
    if not finished:
        raise no_finished_member(sweep)
    return Ensemble(tuple(_load_run(Workdir(files.path / name), which) for name in finished))


def no_finished_member(sweep: sweep_folder.Sweep) -> UserError:
    """The sentence for a sweep that has nothing to load."""
    rest = sweep_folder.Point({}, sweep.members).rest()
    return UserError(f"{sweep.folder} has no finished run: its members are {rest}.")


def _no_run(files: Workdir) -> UserError:
    """The sentence for a folder without checkpoints: it says what the folder holds, and which runs lie below it."""
    found = {name: {p.parent for p in files.path.glob(f"*/**/{name}.json")} for name in ("config", "sweep")}
    runs = [path for path in found["config"] if path.parent not in found["sweep"]]
    names = {path: str(path.relative_to(files.path)) for path in runs}
    names |= {path: f"{path.relative_to(files.path)} (a sweep)" for path in found["sweep"]}
    hint = (
        f"runs below it: {', '.join(sorted(names.values())[:10])}"
        if names
        else "it must be the --workdir of a training"
    )
    return UserError(f"{files.path} is no run with checkpoints: {_contents(files.path)}; {hint}.")


def _contents(path: pathlib.Path) -> str:
    if not path.exists():
        there = sorted(run.parent.name for kind in ("config", "sweep") for run in path.parent.glob(f"*/{kind}.json"))
        beside = f" beside {', '.join(there[:10])}" if there else ""
        return f"there is nothing of that name{beside}"
    if not path.is_dir():
        return "it is a file"
    entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    rest = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"it holds {', '.join(entries[:5])}{rest}" if entries else "it is empty"


def _load_run(files: Workdir, which: str) -> Run:
    if not files.checkpoints.is_dir():
        raise _no_run(files)
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
        raise UserError(
            f"{files.checkpoints} is damaged, or only a part of it was copied ({_first_line(error)}): copy the "
            "run's whole folder again."
        ) from error
    records, result = files.history(), files.result()
    trained = result["epochs"] if result else about["epoch"]
    if [line["epoch"] for line in records[:trained]] != list(range(1, trained + 1)):
        raise UserError(
            f"{files.path / 'metrics.jsonl'} is damaged, or only a part of it was copied (it has not all of the "
            f"{trained} epochs): copy the run's whole folder again."
        )
    return Run(config, model, class_names, epoch, records, result)


def _restore(checkpoints: Checkpoints, step: int) -> tuple[Any, dict[str, Any]]:
    """Reads a checkpoint's state and `about`; ValueError if these hold impossible values, sealed or not."""
    state, about = checkpoints.restore(step)
    if not is_a(about["epoch"], int) or about["epoch"] < 0:
        raise ValueError(f"its epoch is {about['epoch']!r:.100}")
    # Names are printed: control characters in them would be commands to the terminal.
    if not all(isinstance(name, str) and name.isprintable() for name in about["class_names"]):
        raise ValueError("its class names are no words")
    return state, about


def _network(about: dict[str, Any], saved: dict[str, Any]) -> nnx.Module:
    """Builds the network of the config with the saved weights; ValueError if these belong to another network."""
    graphdef, *expected = _structure(json.dumps(about["config"]["model"]), len(about["class_names"]))
    given = [saved["params"], saved.get("stats") or {}]
    kinds = [jax.tree.map(lambda a: (a.shape, a.dtype), trees) for trees in (given, expected)]
    if kinds[0] != kinds[1]:
        raise ValueError("its weights are not those of its config's network")
    # The checkpoint's arrays are NumPy's; the module's are the default device's.
    return nnx.merge(graphdef, *jax.tree.map(jnp.asarray, given))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@functools.lru_cache(maxsize=64)
def _structure(model: str, classes: int) -> tuple[nnx.GraphDef, dict, dict]:
    """Traces the network of a `config.model`, given as JSON. Kept, because tracing takes as long as reading weights."""
    fields = json.loads(model)
    if fields.get("convolution") == "native" and not native.available():  # It was trained on another machine.
        fields["convolution"] = "auto"
    config = config_from_json(fields)
    return families.split(nnx.eval_shape(lambda: models.build(config, classes, jax.random.key(0))))
