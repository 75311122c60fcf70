"""A loaded run, and several as an ensemble, as `digits.load` returns them."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from digits import data, models
from digits.analysis import statistics
from digits.config import numbers as config_numbers
from digits.data import pixels
from digits.errors import UserError
from digits.models import families, inference
from digits.runs import cards, documented
from digits.runs.evaluated import Evaluation, examples
from digits.runs.workdir import METRICS
from digits.runtime import environment

_ONE_IMAGE = ((data.SIDE, data.SIDE), (data.SIDE, data.SIDE, 1))  # The shapes of a single image.


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A trained run, as `load` returns it.

    Attributes:
      path: its folder.
      name: the name of its experiment; that of its folder if it was trained without one.
      changes: the fields in which it differs from the experiment, and their values.
      config: its config, locked.
      model: the NNX module; call it with normalised images, Nx28x28x1, for logits in evaluation mode.
      class_names: the name of each class.
      epoch: the epoch (from 1) after which the weights were saved.
      records: one dict an epoch, with the keys of METRICS.
      result: the content of result.json; None for a run that is not finished.
      notes: the sentences that must stand beside figures of the run.
    """

    path: pathlib.Path
    name: str
    changes: dict[str, Any]
    config: ConfigDict
    model: models.Network
    class_names: tuple[str, ...]
    epoch: int
    records: list[dict[str, float | None]]
    result: dict[str, Any] | None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        changes = [f"{field}={value}" for field, value in self.changes.items() if field != "epochs"]
        end = "unfinished" if self.result is None else f"test accuracy {self.accuracy:.4f}"
        return f"Run({', '.join([self.name, *changes, self._epochs(), end])})"

    def _epochs(self) -> str:
        trained, wanted = len(self.records), self.config.epochs
        return f"{trained} epoch{'s' * (trained != 1)}" if trained == wanted else f"{trained} of {wanted} epochs"

    def _repr_html_(self) -> str:
        accuracy = "unfinished" if self.result is None else f"{self.accuracy:.4f}"
        if interval := self.accuracy_interval:
            accuracy += f" (95% interval {interval[0]:.4f} to {interval[1]:.4f})"
        rows = {
            "experiment": self.name,
            "changed": ", ".join(f"{field} = {value}" for field, value in self.changes.items()) or "nothing",
            "epochs": self._epochs().removesuffix(" epochs").removesuffix(" epoch"),
            "test accuracy": accuracy,
            "parameters": f"{self.parameters:,}",
            "training": f"{sum(record['seconds'] for record in self.records):,.1f} s",
            "folder": str(self.path),
        } | ({"note": "; ".join(self.notes)} if self.notes else {})
        return cards.table(rows.items()) + cards.curves(self.records)

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test set, from 0 to 1; None for a run that is not finished."""
        return None if self.result is None else self.result["test_accuracy"]

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """The 95% interval of `accuracy` over other test images (Wilson); None where their number is not known."""
        n = ((self.result or {}).get("data") or {}).get("test")
        return statistics.wilson(round(self.accuracy * n), n) if n else None

    @property
    def parameters(self) -> int:
        """The number of trained weights."""
        _, params, _ = families.parts(self.model)
        return sum(array.size for array in jax.tree.leaves(params))

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
        return _plot([self])

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

    @environment.settings()
    def evaluate(self, split: str = "test", data_dir: str | None = None) -> Evaluation:
        """Evaluates the run, with the figures of `python -m digits.evaluate`.

            digits.load("runs/simple_cnn").evaluate().plot()

        Args:
          split: "test", "validation" or "train": which images of the run's dataset.
          data_dir: see `data.load`.

        Raises:
          UserError: there are no such images, or the dataset cannot be had or has another number of classes.
        """
        shown = examples([self], split, data_dir)
        environment.prepare_jax(self.config)
        graphdef, params, stats = families.parts(self.model)
        # The program that computed the figures of result.json: the same bits.
        exact = inference.make_evaluate(graphdef, self.config.data.normalization, self.config.eval_batch_size)
        figures = exact(params, stats, shown.images, shown.labels, config_numbers.of(self.config).layers)
        return Evaluation(shown, **figures, logits=self.logits(shown.images))


@dataclasses.dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        return "\n  ".join([f"Ensemble({self._title()}):", *map(repr, self.runs)])

    def _title(self) -> str:
        return f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}, test accuracy {self.accuracy} each"

    def _repr_html_(self) -> str:
        fields = list(dict.fromkeys(field for run in self.runs for field in run.changes))
        heading = ("run", *fields, "epochs", "test accuracy")
        rows = [
            (run.name, *(run.changes.get(field, "") for field in fields), len(run.records), f"{run.accuracy:.4f}")
            for run in self.runs
        ]
        return cards.title(self._title()) + cards.table(rows, heading)

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """The folders of the members."""
        return tuple(run.path for run in self.runs)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.runs[0].class_names

    @property
    def accuracy(self) -> statistics.Summary:
        """Mean and standard deviation of the members' test accuracies; `evaluate` computes that of the ensemble."""
        return statistics.summarize(run.accuracy for run in self.runs)

    @functools.cached_property
    def history(self) -> Any:
        """The members' histories as one pandas.DataFrame, whose index has the member's number, from 0, and the epoch.

        digits.load("runs/simple_cnn_sweep,seed=0:3").history.groupby("epoch").mean()
        """
        import pandas as pd  # Takes half a second.

        return pd.concat([run.history for run in self.runs], keys=range(len(self.runs)), names=["run"])

    def plot(self) -> Any:
        """Draws loss, accuracy and learning rate over the epochs: mean and range of the members; see `Run.plot`."""
        return _plot([self.runs])

    def predict(self, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
        """Computes the mean of the members' probabilities; arguments, shapes and errors are those of `Run.predict`."""
        first, *others = [run.predict(images, batch_size) for run in self.runs]
        return sum(others, first) / np.float32(len(self.runs))

    def evaluate(self, split: str = "test", data_dir: str | None = None) -> Evaluation:
        """Evaluates the mean of the members' probabilities; arguments and errors are those of `Run.evaluate`.

        The loss is the cross-entropy of the mean, without an L2 penalty.
        """
        shown = examples(self.runs, split, data_dir)
        probabilities = self.predict(shown.images)
        of_label = probabilities[np.arange(len(shown.labels)), shown.labels]
        # A probability that underflowed to zero has no logarithm.
        logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny), dtype=np.float64).mean()
        return Evaluation(shown, float(loss), float((probabilities.argmax(-1) == shown.labels).mean()), logits)


def _plot(runs: list[Any]) -> Any:
    """Draws the curves of one run, or of a tuple of runs as one."""
    from digits.analysis.figures import curves, style  # Imports matplotlib, which takes half a second.

    style.enable_in_notebook()
    first = runs[0] if isinstance(runs[0], Run) else runs[0][0]
    experiment = (first.result or {}).get("config_file") or ""
    return curves.curves(runs, documented.curves(experiment, first.config.documented.source))


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
    full = full.reshape(-1, data.SIDE, data.SIDE)
    # Bytes become float32 on the device: a quarter to copy.
    return full if full.dtype == np.uint8 else full.astype(np.float32)
