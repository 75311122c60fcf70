"""The problem that all contestants solve: the resolved config and the data, as files in a temporary folder.

`prepare` writes them with the project's own code; `read` needs NumPy alone, because the peers' environment has neither
the project's libraries nor its configs.
"""

from collections.abc import Collection
import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np

from benchmarks import network

TEST_IMAGES = 2000


@dataclasses.dataclass(frozen=True)
class Problem:
    """The network to train and its data. Each array is read from its file when asked for; only `inputs` are kept."""

    folder: pathlib.Path
    config: dict[str, Any]
    classes: int
    examples: int

    @property
    def batch_size(self) -> int:
        return self.config["batch_size"]

    @property
    def steps_per_epoch(self) -> int:
        return self.examples // self.batch_size

    @property
    def layers(self) -> list[network.Layer]:
        return network.layers(self.config["model"], self.classes)

    @property
    def images(self) -> np.ndarray:
        """Training images, uint8 Nx28x28, in the order in which they are used."""
        return np.load(self.folder / "images.npy")

    @functools.cached_property
    def inputs(self) -> np.ndarray:
        """The same normalised, float32 Nx28x28x1."""
        return np.load(self.folder / "inputs.npy")

    @property
    def labels(self) -> np.ndarray:
        """uint8 N."""
        return np.load(self.folder / "labels.npy")

    @functools.cached_property
    def rates(self) -> np.ndarray | None:
        """The learning rate of every update of the whole training; None if it is the optimizer's all the time."""
        file = self.folder / "rates.npy"
        return np.load(file) if file.exists() else None

    @property
    def shift(self) -> tuple[float, float]:
        """Training images shift by up to these fractions of their height and width; only in a whole training."""
        augment = self.config["augment"]
        return (0.0, 0.0) if self.rates is None else (augment["height_shift"], augment["width_shift"])

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (uint8), inputs (float32, normalised) and labels of the test examples that were prepared."""
        return tuple(np.load(self.folder / f"test_{name}.npy") for name in ("images", "inputs", "labels"))


def read(folder: str | pathlib.Path) -> Problem:
    """The problem that `prepare` wrote to `folder`."""
    folder = pathlib.Path(folder)
    return Problem(folder, **json.loads((folder / "problem.json").read_text()))


def resolve(model: str, overrides: list[str], augments: Collection[str] | None = None):
    """The config of an experiment, with a constant learning rate; its augmentation is for `digits_augmented` alone.

    Args:
      model: the name of a file of configs/.
      overrides: "field=value" each, as digits.main takes them after --config.
      augments: where the training is compared as a whole, what of config.augment the peers have: then the config
        keeps its augmentation and its schedule.

    Returns:
      The config and, in words, what was changed in it.

    Raises:
      UserError: there is no such config or field, or the peers do not have what it asks for.
    """
    from absl import flags
    from ml_collections import config_flags

    from digits.config.numbers import AugmentNumbers, of_section
    from digits.errors import UserError

    file = pathlib.Path("configs") / f"{model}.py"
    if not file.is_file():
        names = sorted(path.stem for path in file.parent.glob("*.py") if path.stem not in ("__init__", "base"))
        raise UserError(f"--model is {model!r}, but it must be one of {', '.join(names)}.")
    values = flags.FlagValues()
    argv = ["", f"--config={file}", *(f"--config.{override}" for override in overrides)]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        values(argv)
        config = values["config"].value
    except Exception as error:  # AttributeError for a field that is not there, flags.Error for a value of a wrong type.
        raise UserError(f"--set is {' '.join(overrides)!r}: {str(error).strip().splitlines()[0]}") from error
    for field in ("weight_decay", "clip_norm"):
        if config.optimizer[field]:
            raise UserError(f"config.optimizer.{field} is {config.optimizer[field]}, but the peers train with 0 only.")
    changes = []
    if augments is not None:
        _check_whole(config, augments)
        return config, changes
    if config.label_smoothing:
        changes.append("no label smoothing")
        config.label_smoothing = 0.0
    if of_section(AugmentNumbers, config.augment) != AugmentNumbers():
        changes.append("no augmentation")
    if config.schedule.name != "constant" or config.schedule.warmup_epochs:
        changes.append("constant learning rate")
        config.schedule.name, config.schedule.warmup_epochs = "constant", 0.0
    return config, changes


def _check_whole(config, augments: Collection[str]) -> None:
    """Raises UserError for a training that the peers do not have as a whole."""
    from digits.errors import require

    require(
        config.optimizer.name in ("adam", "sgd", "rmsprop"),
        "optimizer.name",
        config.optimizer.name,
        "adam, sgd or rmsprop here",
    )
    require(config.schedule.name != "plateau", "schedule.name", "plateau", "a function of the step here")
    others = [f"augment.{name}" for name in config.augment if name not in (*augments, "elastic_sigma")]
    for field in ("optimizer.ema_momentum", *others):
        require(not config[field], field, config[field], "0 here: the peers have nothing else")


def prepare(config, data_dir: str | None, folder: pathlib.Path, whole: bool = False) -> tuple[Problem, int]:
    """Writes the problem of `config` to `folder`; returns it and the number of parameters of digits' network.

    The training split is put into one random order and cut to whole batches, so that no framework has to compile a
    second program for a partial one. A `whole` training is tested on all test images, at the rates of its schedule.
    """
    import jax

    from digits import data, models
    from digits.config.values import config_to_json
    from digits.data import transforms
    from digits.errors import require
    from digits.models import families
    from digits.training import train

    train.check(config)
    dataset = data.load(config.data.name, data_dir)
    (images, labels), (test_images, test_labels) = (data.split(dataset, config.data).train, dataset.arrays[2:])
    require(config.batch_size <= len(labels), "batch_size", config.batch_size, f"at most {len(labels):,}")
    order = np.random.default_rng(config.seed).permutation(len(labels))
    order = order[: len(order) // config.batch_size * config.batch_size]
    arrays = {"images": images[order], "labels": labels[order]}
    tested = None if whole else TEST_IMAGES
    arrays |= {"test_images": test_images[:tested], "test_labels": test_labels[:tested]}

    def normalize(images):
        return np.asarray(transforms.normalize(images, config.data.normalization))

    arrays |= {name.replace("images", "inputs"): normalize(arrays[name]) for name in ("images", "test_images")}
    if whole:
        arrays["rates"] = _rates(config, len(order) // config.batch_size)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    classes = len(dataset.class_names)
    content = {"config": config_to_json(config), "classes": classes, "examples": len(order)}
    (folder / "problem.json").write_text(json.dumps(content))
    model = models.outline(config.model, classes)
    return read(folder), sum(leaf.size for leaf in jax.tree.leaves(families.parts(model)[1:]))


def _rates(config, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of every update of a training."""
    import jax
    import jax.numpy as jnp

    from digits.config import numbers
    from digits.training import optimizer

    schedule = numbers.of(config).schedule
    rate = optimizer.learning_rate(config.schedule.name, schedule, config.epochs, steps_per_epoch)
    steps = jnp.arange(config.epochs * steps_per_epoch)
    return np.asarray(jax.vmap(rate, (0, None))(steps, config.optimizer.learning_rate), np.float32)
