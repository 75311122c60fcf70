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
from digits.analysis.figures import classes
from digits.config import numbers as config_numbers
from digits.config.values import config_from_json
from digits.errors import UserError
from digits.models import families, inference, summary
from digits.runs import documented, files, loading
from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import Workdir
from digits.runtime import environment

_FIGURES = ("test_loss", "test_accuracy", "tested_epoch")  # Every result.json has these.
_SECTIONS = ("data", "model", "augment", "documented")


class Examples(NamedTuple):
    """Images, uint8 Nx28x28, and their classes, N."""

    images: np.ndarray
    labels: np.ndarray


class SharedByRuns:
    """Keeps what several judged runs share: datasets, the latest split, and compiled evaluations.

    Attributes:
      datasets: those that were read, by name.
    """

    def __init__(self, data_dir: str | None = None):
        """Keeps nothing yet; `data_dir` is as of `data.load`."""
        self.datasets: dict[str, data.Dataset] = {}
        self._data_dir, self._evaluations = data_dir, {}
        self._split_of, self._split = None, None  # A fold is a copy of the training set: only one is kept.

    def dataset(self, name: str) -> data.Dataset:
        """Reads a dataset, once."""
        if name not in self.datasets:
            self.datasets[name] = data.load(name, self._data_dir)
        return self.datasets[name]

    def examples(self, config: ConfigDict, split: str) -> Examples | None:
        """Splits the dataset of a `config.data`; returns "train", "validation" or "test", or None if there is none."""
        dataset = self.dataset(config.name)
        if split == "test":  # Without splitting, which is impossible where the list of writers is missing.
            return Examples(dataset.test_images, dataset.test_labels)
        wanted = config.name, config.validation, config.fold, split
        if self._split_of != wanted:
            self._split_of, self._split = wanted, getattr(data.split(dataset, config), split)
        return None if self._split is None else Examples(*self._split)

    def evaluation(self, config: ConfigDict, class_count: int, graphdef: nnx.GraphDef):
        """Compiles the evaluation of a network as training does, once for all configs that share a program."""
        key = config_numbers.structure(config), class_count
        if key not in self._evaluations:
            make = inference.make_evaluate
            self._evaluations[key] = make(graphdef, config.data.normalization, config.eval_batch_size)
        return self._evaluations[key]


class JudgedRun:
    """A run, read when it is asked for: `JudgedRun("runs/simple_cnn", SharedByRuns()).measures["confusion"]`.

    Whatever a property needs and finds missing or damaged is a UserError.

    Attributes:
      files: its folder; `name` is the folder's.
      split: the images that it is judged on: "test", "validation" or "train".
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
        """The content of config.json: where the config came from, the changed fields, the data, the config."""
        path = self.files.path / "config.json"
        if not path.exists():
            if self.failure:
                raise UserError(f"{self.files.path} could not be trained: {self.failure}")
            there = [name for name in ("result.json", "metrics.jsonl", "checkpoints") if (path.parent / name).exists()]
            if there:
                raise self._incomplete("config.json")
            raise UserError(f"{path.parent} is no run, for it holds no config.json: name the --workdir of a training.")
        about = files.read_json(path)
        config = about.get("config") if isinstance(about, dict) else None
        valid = isinstance(config, dict) and all(isinstance(config.get(name), dict) for name in _SECTIONS)
        counts = about.get("data") if valid else None
        if not isinstance(counts, dict) or not {"digest", "train", "validation", "test"} <= set(counts):
            raise UserError(f"{path} is damaged: it holds no config and data of a run.")
        return {"config_file": None, "overrides": {}} | about

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The run's config, locked."""
        return config_from_json(self.about["config"])

    @functools.cached_property
    def history(self) -> list[dict[str, Any]]:
        """One dict an epoch, see `record.METRICS`."""
        return self.files.history()

    @functools.cached_property
    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None for a run that is not finished."""
        result = self.files.result()
        if result is None:
            return None
        path = self.files.path
        if not isinstance(result, dict) or not all(isinstance(result.get(name), (int, float)) for name in _FIGURES):
            raise UserError(f"{path / 'result.json'} is damaged: it has no {', '.join(_FIGURES)}.")
        for name in ("metrics.jsonl", "checkpoints"):
            if not (path / name).exists():
                raise self._incomplete(name)
        if result["tested_epoch"] not in {line["epoch"] for line in self.history}:
            raise UserError(f"{path / 'metrics.jsonl'} lacks epoch {result['tested_epoch']}, which was tested.")
        return result

    def _incomplete(self, missing: str) -> UserError:
        return UserError(
            f"{self.files.path} is only a part of a run, without {missing}: copy the run's whole folder again."
        )

    @property
    def tested(self) -> dict[str, Any]:
        """The line of `history` of the tested epoch; of the last epoch where nothing was tested yet."""
        epoch = self.result["tested_epoch"] if self.result else None
        return next((line for line in self.history if line["epoch"] == epoch), self.history[-1] if self.history else {})

    @property
    def validated_on_test(self) -> bool:
        """Whether validation was the test set."""
        return self.config.data.validation == "test"

    @property
    def dataset(self) -> data.Dataset:
        """The dataset of the run's config, as it is here."""
        return self._shared.dataset(self.config.data.name)

    @property
    def other_data(self) -> str | None:
        """The sentence for a dataset that is not what the run was trained on; None where it is the same."""
        if self.about["data"]["digest"] == self.dataset.digest():
            return None
        return f"{self.config.data.name} is not what it was when the run was trained on it (its SHA-256 digest differs)"

    @property
    def notes(self) -> list[str]:
        """The sentences that must stand beside figures of the split."""
        notes = [self.other_data] if self.other_data else []
        if self.validated_on_test and self.split != "train":
            notes.append(VALIDATED_ON_TEST)
        return notes

    @functools.cached_property
    def run(self) -> loading.Run:
        """The run with its tested weights; the latest weights where it is not finished."""
        run = loading.load(self.files.path)
        environment.prepare_jax(self.config)
        here, trained = len(self.dataset.class_names), len(run.class_names)
        if here != trained:  # Their names may differ: they depend on the source that the dataset was read from.
            name = self.config.data.name
            raise UserError(
                f"{name} has {here} classes here, but the run was trained on {trained} ({self.files.path})."
            )
        return run

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names that the run was trained with; those of the dataset where it is not finished."""
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
        """NIST's number of the writer of each of the split's images; None for datasets other than MNIST.

        Raises:
          UserError: the file that lists the writers is missing.
        """
        config = self.config.data
        if config.name != "mnist":
            return None
        if self.split == "test" or (self.split == "validation" and self.validated_on_test):
            return data.writers_of(self.dataset, "test")
        train, held_out = data.indices(self.dataset, config)
        return data.writers_of(self.dataset, "train")[train if self.split == "train" else held_out]

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """Exact figures, see `with_interval`, by the program of result.json's: the same bits on the same machine."""
        examples = self.examples
        graphdef, params, stats = families.parts(self.run.model)
        evaluate = self._shared.evaluation(self.config, len(self.run.class_names), graphdef)
        metrics = evaluate(params, stats, *examples, config_numbers.of(self.config).layers)
        n = len(examples.labels)
        return with_interval(metrics["loss"], round(metrics["accuracy"] * n), n)

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """Of all the split's images, NxK."""
        return self.run.logits(self.examples.images)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether each of the split's images is classified rightly."""
        return self.logits.argmax(-1) == self.examples.labels

    @functools.cached_property
    def measures(self) -> dict[str, Any]:
        """What `classification.measure` says of the split's images."""
        return classification.measure(self.logits, self.examples.labels, self.run.class_names)

    def draw(self, robustness_rows: list[dict[str, Any]] | None = None) -> dict[str, bytes]:
        """Draws the measures, see `class_figures.draw`."""
        return classes.draw(self.measures, self.examples.images, robustness_rows)

    @functools.cached_property
    def layers(self) -> list[summary.Layer]:
        """The network's layers, see `summary.describe`."""
        classes = len(self.class_names)  # Not within the function that is traced: it may load the run.
        return summary.describe(models.outline(self.config.model, classes))

    @functools.cached_property
    def documented(self) -> dict[str, list[float | None]] | None:
        """The epochs that the experiment's notebook printed, see `documented.curves`."""
        return documented.curves(self.about["config_file"] or self.name, self.config.documented.source)


def with_interval(loss: float, correct: int, n: int) -> dict[str, Any]:
    """The figures of n images: "n", "accuracy", its 95% "accuracy_interval" (Wilson), and "loss"."""
    return {"n": n, "accuracy": correct / n, "accuracy_interval": statistics.wilson(correct, n), "loss": loss}


def write_pictures(folder: pathlib.Path, pictures: Mapping[str, bytes]) -> list[str]:
    """Writes a run's pictures as FOLDER/NAME.png and returns their paths.

    Where there are no mistakes, or nothing is right, an older picture of these is removed.
    """
    for name in {"mistakes", "doubtful"} - set(pictures):
        with contextlib.suppress(OSError):
            (folder / f"{name}.png").unlink()
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, path in paths.items():
        files.write(path, pictures[name])
    return [str(path) for path in paths.values()]
