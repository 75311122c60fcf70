"""A trained run as evaluations and reports see it: its files, data, network and measures, each read once."""

from collections.abc import Mapping
import contextlib
import functools
import os
import pathlib
from typing import Any, NamedTuple

from flax import nnx
from ml_collections import ConfigDict
import numpy as np

from digits import data, models
from digits.analysis import classification, statistics
from digits.config import numbers as config_numbers
from digits.config.values import recorded_config
from digits.errors import UserError
from digits.models import families, inference, summary
from digits.runs import documented, files, loading
from digits.runs.evaluated import data_may_have_moved
from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import NO_IDENTITY, Workdir, incomplete
from digits.runtime import environment

_SECTIONS = ("data", "model", "augment", "documented")


class Examples(NamedTuple):
    """Images, uint8 Nx28x28, and their classes, N."""

    images: np.ndarray
    labels: np.ndarray


class SharedByRuns:
    """Shares datasets, the latest split and compiled evaluations among judged runs.

    Attributes:
      datasets: the datasets that were read, by name.
    """

    def __init__(self, data_dir: str | None = None):
        """Starts empty; for `data_dir` see `data.load`."""
        self.datasets: dict[str, data.Dataset] = {}
        self._data_dir, self._evaluations = data_dir, {}
        self._split_of, self._split = None, None  # Only the latest, because a fold is a copy of the training set.

    def dataset(self, name: str, digest: str | None = None) -> data.Dataset:
        """Reads a dataset, once; for `digest` see `data.load`."""
        if name not in self.datasets:
            with data_may_have_moved(name, self._data_dir):
                dataset = data.load(name, self._data_dir)
                if digest not in (None, dataset.digest()):
                    dataset = data.load(name, self._data_dir, digest)
            self.datasets[name] = dataset
        return self.datasets[name]

    def examples(self, config: ConfigDict, split: str) -> Examples | None:
        """Returns the "train", "validation" or "test" images of a `config.data`; None if there are none."""
        dataset = self.dataset(config.name)
        if split == "test":  # Splitting may need the file that lists the writers, which test images do not.
            return Examples(dataset.test_images, dataset.test_labels)
        wanted = config.name, config.validation, config.fold, split
        if self._split_of != wanted:
            self._split_of, self._split = wanted, getattr(data.split(dataset, config), split)
        return None if self._split is None else Examples(*self._split)

    def evaluation(self, config: ConfigDict, class_count: int, graphdef: nnx.GraphDef):
        """Compiles the evaluation of a network as training does, once for all configs that share a program."""
        key = config_numbers.structure(config), class_count
        if key not in self._evaluations:
            self._evaluations[key] = inference.make_evaluate(
                graphdef, config.data.normalization, config.eval_batch_size
            )
        return self._evaluations[key]


class JudgedRun:
    """A run whose properties are read or computed once, on first use.

        JudgedRun("runs/simple_cnn", SharedByRuns()).measures["confusion"]

    A property raises UserError if something that it needs is missing or damaged.

    Attributes:
      files: the run's folder.
      name: the folder's name.
      split: the images that the run is judged on: "test", "validation" or "train".
    """

    def __init__(self, path: str | os.PathLike, shared: SharedByRuns, split: str = "test"):
        self.files, self.split = Workdir(path), split
        self.name = self.files.path.name
        self._shared = shared

    @functools.cached_property
    def failure(self) -> str | None:
        """The sentence that says why a run of a sweep failed; None otherwise."""
        return (self.files.failure() or {}).get("message")

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """The content of config.json: "config_file", "overrides", "data" and "config"."""
        path = self.files.path / "config.json"
        if not path.exists():
            if self.failure:
                raise UserError(f"{self.files.path} could not be trained: {self.failure}")
            if not any((path.parent / name).exists() for name in ("result.json", "metrics.jsonl", "checkpoints")):
                raise loading.no_run(path.parent)
        about = self.files.about()
        recorded = about.get("data")
        counted = isinstance(recorded, dict) and {"digest", "train", "validation", "test"} <= recorded.keys()
        if not counted or not all(isinstance(about["config"].get(name), dict) for name in _SECTIONS):
            raise UserError(f"{path} is damaged: it holds no config and data of a run.")
        return {"config_file": None, "overrides": {}} | about

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The run's config, locked."""
        return recorded_config(self.about["config"], self.files.path / "config.json")

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """A dict for each epoch, with "epoch" and the keys of `workdir.METRICS`."""
        return self._read[0]

    @functools.cached_property
    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None for a run that is not finished."""
        return self._read[1]

    @functools.cached_property
    def _read(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        history, result = self.files.read()
        if result and not self.files.checkpoints.exists():
            raise incomplete(self.files.checkpoints)
        return history, result

    @property
    def tested(self) -> dict[str, Any]:
        """The record of the tested epoch; that of the last epoch if nothing was tested yet."""
        epoch = self.result["tested_epoch"] if self.result else None
        return next((line for line in self.history if line["epoch"] == epoch), self.history[-1] if self.history else {})

    @property
    def validated_on_test(self) -> bool:
        """Whether the run was validated on the test set."""
        return self.config.data.validation == "test"

    @property
    def dataset(self) -> data.Dataset:
        """The dataset of the run's config, as it is on this machine."""
        return self._shared.dataset(self.config.data.name, self.about["data"]["digest"])

    @property
    def other_data(self) -> str | None:
        """Says that the dataset differs from the one that the run was trained on; None if it is the same."""
        if self.about["data"]["digest"] == self.dataset.digest():
            return None
        return f"{self.config.data.name} is not what it was when the run was trained on it (its SHA-256 digest differs)"

    @property
    def no_identity(self) -> str | None:
        """Says that the run is of an earlier version, whose files carry no identity; None otherwise."""
        return None if self.about.get("run") else NO_IDENTITY

    @property
    def notes(self) -> list[str]:
        """The sentences that must stand beside figures of the split."""
        notes = [self.no_identity] if self.no_identity else []
        if self.other_data:
            notes.append(self.other_data)
        if self.validated_on_test and self.split != "train":
            notes.append(VALIDATED_ON_TEST)
        return notes

    @functools.cached_property
    def run(self) -> loading.Run:
        """The run with its tested weights; with the latest if it is not finished."""
        run: loading.Run = loading.load(self.files.path)
        environment.prepare_jax(self.config)
        here, trained = len(self.dataset.class_names), len(run.class_names)
        if here != trained:  # The names of the classes may differ: they depend on the source of the dataset.
            name = self.config.data.name
            raise UserError(
                f"{name} has {here} classes here, but the run was trained on {trained} ({self.files.path})."
            )
        return run

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that the run was trained with; those of the dataset if it is not finished."""
        return self.run.class_names if self.result else self.dataset.class_names

    @property
    def examples(self) -> Examples:
        """The split's images and labels; UserError if there are none."""
        examples = self._shared.examples(self.config.data, self.split)
        if examples is None:
            nothing = f"config.data.validation was {self.config.data.validation!r}, so there are no validation images"
            raise UserError(f"{nothing}: --split must be test or train.")
        return examples

    @property
    def writers(self) -> np.ndarray | None:
        """NIST's number of the writer of each image of the split; None for datasets other than MNIST."""
        config = self.config.data
        if config.name != "mnist":
            return None
        if self.split == "test" or (self.split == "validation" and self.validated_on_test):
            return data.writers_of(self.dataset, "test")
        train, held_out = data.indices(self.dataset, config)
        return data.writers_of(self.dataset, "train")[train if self.split == "train" else held_out]

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """Exact figures, see `with_interval`, by the program that computed those of result.json: the same bits."""
        examples = self.examples
        graphdef, params, stats = families.parts(self.run.model)
        evaluate = self._shared.evaluation(self.config, len(self.run.class_names), graphdef)
        with environment.settings():
            metrics = evaluate(params, stats, *examples, config_numbers.of(self.config).layers)
        n = len(examples.labels)
        return with_interval(metrics["loss"], round(metrics["accuracy"] * n), n)

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """The logits of the split's images, NxK."""
        return self.run.logits(self.examples.images)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether each image of the split is classified rightly."""
        return self.logits.argmax(-1) == self.examples.labels

    @functools.cached_property
    def measures(self) -> dict[str, Any]:
        """The measures of the split's images, see `classification.measure`."""
        return classification.measure(self.logits, self.examples.labels, self.run.class_names)

    def draw(self, robustness_rows: list[dict[str, Any]] | None = None) -> dict[str, bytes]:
        """Draws the measures, see `classes.draw`."""
        from digits.analysis.figures import classes  # Imports matplotlib, without which a run can be evaluated.

        return classes.draw(self.measures, self.examples.images, robustness_rows)

    @functools.cached_property
    def layers(self) -> list[summary.Layer]:
        """The network's layers, see `summary.describe`."""
        classes = len(self.class_names)  # Outside of the traced function, because this may load the run.
        return summary.describe(models.outline(self.config.model, classes))

    @functools.cached_property
    def differing(self) -> list[str]:
        """The fields in which the run differs from its experiment, see `documented.differing_fields`."""
        return documented.differing_fields(self.config, self.about["overrides"])

    @functools.cached_property
    def documented(self) -> dict[str, list[float | None]] | None:
        """The figures that the experiment's notebook printed for each epoch, see `documented.curves`."""
        return documented.curves(self.about["config_file"] or self.name, self.config.documented.source)


def with_interval(loss: float, correct: int, n: int) -> dict[str, Any]:
    """The figures of n images: "n", "accuracy", its 95% "accuracy_interval" (Wilson), and "loss"."""
    return {"n": n, "accuracy": correct / n, "accuracy_interval": statistics.wilson(correct, n), "loss": loss}


def write_pictures(folder: pathlib.Path, pictures: Mapping[str, bytes]) -> list[str]:
    """Writes a run's pictures as FOLDER/NAME.png and returns their paths.

    If there are no mistakes now, or no right predictions, the picture that an earlier call drew of them is removed.
    """
    for name in {"mistakes", "doubtful"} - set(pictures):
        with contextlib.suppress(OSError):
            (folder / f"{name}.png").unlink()
    for name, content in pictures.items():
        files.write(folder / f"{name}.png", content)
    return [str(folder / f"{name}.png") for name in pictures]
