"""The evaluation of a loaded run or ensemble on the images of one split."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import functools
import os
from typing import Any

import numpy as np

from digits import data
from digits.analysis import classification, statistics
from digits.errors import UserError
from digits.runs import cards
from digits.runs.sweep_folder import VALIDATED_ON_TEST

_SPLITS = {"test": "test", "validation": "validation", "train": "training"}


@dataclasses.dataclass(frozen=True, repr=False)
class Examples:
    """The images of a split with their classes, as a loaded run is evaluated on them.

    Attributes:
      split: "test", "validation" or "train".
      images: Nx28x28, uint8.
      labels: N.
      class_names: K names.
      notes: the sentences that must stand beside figures of these images.
    """

    split: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Examples({len(self.labels):,} {_SPLITS[self.split]} images)"


def examples(runs: Sequence[Any], split: str = "test", data_dir: str | None = None) -> Examples:
    """Reads the images of a split of the runs' dataset: examples([digits.load("runs/simple_cnn")]).images.

    Args:
      runs: loaded runs, of the same dataset and, unless the split is "test", the same split of it.
      split: "test", "validation" or "train".
      data_dir: see `data.load`.

    Raises:
      UserError: there are no such images, the runs have different ones, or the dataset has other classes.
    """
    if split not in _SPLITS:
        raise UserError(f"split is {split!r}, but it must be one of {', '.join(_SPLITS)}.")
    config, class_names = runs[0].config.data, runs[0].class_names
    for run in runs:
        same = ("name",) if split == "test" else ("name", "validation", "fold")
        for field in same:
            if run.config.data[field] != config[field]:
                raise UserError(
                    f"The runs have no {split} images in common: config.data.{field} is {config[field]!r} and "
                    f"{run.config.data[field]!r}."
                )
    with data_may_have_moved(config.name, data_dir):
        dataset = data.load(config.name, data_dir)
    if len(dataset.class_names) != len(class_names):
        raise UserError(
            f"{config.name} has {len(dataset.class_names)} classes here, but the run was trained on "
            f"{len(class_names)} ({runs[0].path})."
        )
    of_split = (dataset.test_images, dataset.test_labels)
    if split != "test":
        of_split = getattr(data.split(dataset, config), split)
    if of_split is None:
        raise UserError(
            f"config.data.validation was {config.validation!r}, so there are no validation images: split must be test "
            "or train."
        )
    trained_on = {((run.result or {}).get("data") or {}).get("digest", dataset.digest()) for run in runs}
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    if trained_on != {dataset.digest()}:
        notes.append(f"{config.name} is not what it was when the run was trained on it (its SHA-256 digest differs)")
    if split != "train" and any(run.config.data.validation == "test" for run in runs):
        notes.append(VALIDATED_ON_TEST)
    return Examples(split, *of_split, class_names, tuple(notes))


@contextlib.contextmanager
def data_may_have_moved(name: str, data_dir: str | None) -> Iterator[None]:
    """Adds to the error of a run's data that are no longer at their path which flag says where they are."""
    try:
        yield
    except UserError as error:
        if data_dir or "--data_dir" in str(error) or os.path.exists(os.path.expanduser(name)):
            raise
        raise UserError(f"{str(error).rstrip('.')}; if the data were moved, --data_dir names their place.") from error


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """The figures of a run or an ensemble on the images of a split, as `evaluate` returns them.

    Attributes:
      examples: the images and their classes.
      loss: the mean cross-entropy in nats; of a run, with the network's L2 penalty.
      accuracy: from 0 to 1.
      logits: NxK.
    """

    examples: Examples
    loss: float
    accuracy: float
    logits: np.ndarray

    def __repr__(self) -> str:
        return f"Evaluation({self._summary()})"

    def _summary(self) -> str:
        low, high = self.accuracy_interval
        notes = "".join(f"; {note}" for note in self.examples.notes)
        return (
            f"{self.n:,} {_SPLITS[self.examples.split]} images: accuracy {self.accuracy:.4f}, 95% interval "
            f"{low:.4f} to {high:.4f}, loss {self.loss:.4f}{notes}"
        )

    def _repr_html_(self) -> str:
        def figure(value: float | None) -> str:
            return "-" if value is None else f"{value:.4f}"

        keys = ("precision", "recall", "f1")
        rows = [(of["name"], f"{of['support']:,}", *(figure(of[key]) for key in keys)) for of in self.per_class]
        return cards.title(self._summary()) + cards.table(rows, ("class", "images", "precision", "recall", "F1"))

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.examples.labels)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy over other images (Wilson)."""
        return statistics.wilson(round(self.accuracy * self.n), self.n)

    @functools.cached_property
    def measures(self) -> dict[str, Any]:
        """The measures by class, calibration, mistakes and doubtful images, see `classification.measure`."""
        return classification.measure(self.logits, self.examples.labels, self.examples.class_names)

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """For each class its name, support (number of images), precision, recall and f1."""
        return self.measures["per_class"]

    @property
    def confusion(self) -> np.ndarray:
        """KxK numbers of images; rows are true classes, columns predicted ones."""
        return np.array(self.measures["confusion"])

    def plot(self) -> Any:
        """Draws the confusion matrix, as a matplotlib Figure: `evaluation.plot().savefig("confusion.png")`."""
        from digits.analysis.figures import classes, style  # Imports matplotlib, which takes half a second.

        style.enable_in_notebook()
        return classes.confusion(self.measures["confusion"], self.examples.class_names)

    def mistakes(self) -> Any:
        """Draws at most 24 misread images as a PIL image, the most confident mistakes first; None if there are none."""
        return self._sheet("mistakes")

    def doubtful(self) -> Any:
        """Draws the images that were read rightly with the least confidence, as `mistakes` does."""
        return self._sheet("doubtful")

    def _sheet(self, which: str) -> Any:
        from PIL import Image  # May be absent where runs are only loaded.

        from digits.analysis.figures import sheet

        entries = self.measures[which]
        if not entries:
            return None
        return Image.fromarray(sheet.examples(entries, self.examples.images, self.examples.class_names))
