"""A run as a report sees it: its files, read and checked; its network, data and test logits, each read once."""

from collections.abc import Callable
import functools
import os
from typing import Any

from flax import nnx
import jax
from ml_collections import ConfigDict
import numpy as np

from digits import data, documented, files, loading, measures, models, program, record, summary
from digits.config import config_from_json
from digits.errors import UserError

_FIGURES = ("test_loss", "test_accuracy", "tested_epoch")  # Without which a result.json is none.
_SECTIONS = ("data", "model", "augment", "documented")


class Subject:
    """A run that a report is on.

    Attributes:
      files: its directory; `name` is the directory's.
      about: the content of config.json: where the config came from, what was changed, the data.
      config: its config, locked.
      history: one dict an epoch, see `record.METRICS`.
      result: the content of result.json; None for a run that is not finished.
      failure: the sentence that says why a run of a sweep failed; None otherwise.
    """

    def __init__(self, path: str | os.PathLike, load_data: Callable[[str], data.Dataset]):
        """Reads the files, but not yet the checkpoints and the data.

        Args:
          path: the run's directory.
          load_data: a dataset by `config.data.name`; runs in one report share it.

        Raises:
          UserError: there is no run, or some of its files are missing or damaged.
        """
        self.files, self._load_data = record.Workdir(path), load_data
        self.name = self.files.path.name
        self.failure = (self.files.failure() or {}).get("message")
        self.about = self._read_about()
        self.config: ConfigDict = config_from_json(self.about["config"])
        self.history = self.files.history()
        self.result = self._read_result()

    def _read_about(self) -> dict[str, Any]:
        path = self.files.path / "config.json"
        if not path.exists():
            if self.failure:
                raise UserError(f"{self.files.path} could not be trained: {self.failure}")
            there = [name for name in ("result.json", "metrics.jsonl", "checkpoints") if (path.parent / name).exists()]
            if there:
                raise self._part("config.json")
            raise UserError(f"{path.parent} is no run, for it holds no config.json: name the --workdir of a training.")
        about = files.read_json(path)
        config = about.get("config") if isinstance(about, dict) else None
        valid = isinstance(config, dict) and all(isinstance(config.get(name), dict) for name in _SECTIONS)
        if (
            not valid
            or not isinstance(about.get("data"), dict)
            or not {"digest", "train", "validation", "test"} <= set(about["data"])
        ):
            raise UserError(f"{path} is damaged: it holds no config and data of a run.")
        return {"config_file": None, "overrides": {}} | about

    def _read_result(self) -> dict[str, Any] | None:
        result = self.files.result()
        if result is None:
            return None
        path = self.files.path
        if not isinstance(result, dict) or not all(isinstance(result.get(name), (int, float)) for name in _FIGURES):
            raise UserError(f"{path / 'result.json'} is damaged: it has no {', '.join(_FIGURES)}.")
        for name in ("metrics.jsonl", "checkpoints"):
            if not (path / name).exists():
                raise self._part(name)
        if result["tested_epoch"] not in {line["epoch"] for line in self.history}:
            raise UserError(f"{path / 'metrics.jsonl'} lacks epoch {result['tested_epoch']}, which was tested.")
        return result

    def _part(self, missing: str) -> UserError:
        return UserError(
            f"{self.files.path} is only a part of a run, without {missing}: copy the run's whole folder again."
        )

    @property
    def tested(self) -> dict[str, Any]:
        """The record of the tested epoch; of the last one where nothing was tested yet."""
        epoch = self.result["tested_epoch"] if self.result else None
        return next((line for line in self.history if line["epoch"] == epoch), self.history[-1] if self.history else {})

    @property
    def on_test(self) -> bool:
        """Whether validation was the test set."""
        return self.config.data.validation.strip() == "test"

    @functools.cached_property
    def dataset(self) -> data.Dataset:
        return self._load_data(self.config.data.name)

    @functools.cached_property
    def run(self) -> loading.Run:
        """The finished run with its tested weights."""
        program.prepare_jax(self.config)
        run = loading.load(self.files.path)
        here, trained = len(self.dataset.class_names), len(run.class_names)
        if here != trained:
            raise UserError(
                f"{self.config.data.name} has {here} classes here, but {self.files.path} was trained on {trained}."
            )
        return run

    @property
    def class_names(self) -> tuple[str, ...]:
        """As the run was trained; as the data has them, where it is not finished."""
        return self.run.class_names if self.result else self.dataset.class_names

    @property
    def same_data(self) -> bool:
        """Whether the data is what the run was trained on."""
        return self.about["data"]["digest"] == self.dataset.digest()

    @functools.cached_property
    def test_logits(self) -> np.ndarray:
        """Of all test images, NxK."""
        return self.run.logits(self.dataset.test_images)

    @functools.cached_property
    def right(self) -> np.ndarray:
        """Whether each test image is classified rightly."""
        return self.test_logits.argmax(-1) == self.dataset.test_labels

    @functools.cached_property
    def measures(self) -> dict[str, Any]:
        """See `measures.measure`, on the test images."""
        return measures.measure(self.test_logits, self.dataset.test_labels, self.class_names)

    @functools.cached_property
    def layers(self) -> list[summary.Layer]:
        """See `summary.describe`."""
        classes = len(self.class_names)  # Not within the function that is traced: it may load the run.
        build = lambda: models.build(self.config.model, classes, jax.random.key(0))
        return summary.describe(nnx.eval_shape(build))

    @functools.cached_property
    def documented(self) -> dict[str, list[float | None]] | None:
        """See `documented.curves`."""
        return documented.curves(self.about["config_file"] or self.name, self.config.documented.source)
