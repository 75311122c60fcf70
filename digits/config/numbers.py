"""The numbers of a config that a compiled program takes as values, and the structure that is left without them.

Whether a number is zero decides which operations are compiled (no dropout layer, say). Any other value is an argument
of the compiled program, so that configs of one structure share it. This module does not import JAX: a sweep groups its
points by structure before a device is touched.
"""

import json
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from digits.config.values import flat
from digits.errors import require

Number = Any  # A float of the config, or the array in its place.
# A number whose 0 in the config means "not there". It is then None here, and its operations are not compiled.
Switch = Any


class OptimizerNumbers(NamedTuple):
    """The numbers of `config.optimizer`, but for the learning rate, which the training state has."""

    beta_1: Number
    beta_2: Number
    rho: Number
    epsilon: Number
    momentum: Switch = None
    ema_momentum: Switch = None
    weight_decay: Switch = None
    clip_norm: Switch = None


class ScheduleNumbers(NamedTuple):
    """The numbers of `config.schedule`, but for those of the plateau rule, which acts between epochs."""

    start_epoch: Number
    decay: Number
    final_fraction: Number
    peak_fraction: Number
    initial_divisor: Number
    final_divisor: Number
    warmup_epochs: Switch = None


class AugmentNumbers(NamedTuple):
    """The ranges of `config.augment`; `elastic_sigma` is None where `elastic` is."""

    rotation: Switch = None
    shear: Switch = None
    zoom: Switch = None
    height_shift: Switch = None
    width_shift: Switch = None
    elastic: Switch = None
    elastic_sigma: Number | None = None
    erasing: Switch = None


class Numbers(NamedTuple):
    """The numbers of a config by section, a pytree: floats, or arrays in their places.

    Attributes:
      layers: dropout rates and L2 factors by the name of their layer: {"dropout_1": 0.25, "dense_1": 0.001}.
      label_smoothing: the share of probability given to all classes alike; None where it is off.
    """

    layers: dict[str, Number]
    optimizer: OptimizerNumbers
    schedule: ScheduleNumbers
    augment: AugmentNumbers
    label_smoothing: Switch


_SECTIONS: dict[str, type[NamedTuple]] = {
    "optimizer": OptimizerNumbers, "schedule": ScheduleNumbers, "augment": AugmentNumbers,
}  # fmt: skip
# Numbers that are not there without their switch.
_WITH_SWITCH = {"elastic_sigma": "elastic"}
_DROPOUT = {"model.input_dropout", "model.block_dropout", "model.hidden_dropout"}
_SWITCHES = (
    {"label_smoothing", "model.hidden_l2"}
    | _DROPOUT
    | {
        f"{section}.{name}"
        for section, kind in _SECTIONS.items()
        for name in kind._field_defaults - _WITH_SWITCH.keys()
    }
)
_NUMBERS = {f"{section}.{name}" for section, kind in _SECTIONS.items() for name in kind._fields} - _SWITCHES
# Fields that no compiled program reads: seed and learning rate are in the training state, the fold is in the data.
_HOST = {
    "seed", "data.fold", "optimizer.learning_rate", "monitor", "checkpoint_every", "tensorboard", "compilation_cache",
    "schedule.factor", "schedule.patience", "schedule.min_delta", "schedule.cooldown", "schedule.min_learning_rate",
}  # fmt: skip
_HOST_SECTIONS = ("early_stopping.", "documented.", "population.")


def of(config: ConfigDict) -> Numbers:
    """The numbers of a config: `of(config).optimizer.momentum` is 0.9, or None where there is no momentum."""
    sections = {name: of_section(kind, config[name]) for name, kind in _SECTIONS.items()}
    return Numbers(layers=_of_layers(config.model), label_smoothing=config.label_smoothing or None, **sections)


def of_section(kind: type[NamedTuple], section: ConfigDict) -> Any:
    """The numbers of one section: `of_section(AugmentNumbers, config.augment)`."""

    def is_on(name):
        return name not in kind._field_defaults or section[_WITH_SWITCH.get(name, name)]

    return kind._make(section[name] if is_on(name) else None for name in kind._fields)


def _of_layers(model: ConfigDict) -> dict[str, float]:
    """The dropout rates and L2 factors of a `config.model`, by the names that `models.build` gives to their layers."""
    blocks, hidden = len(model.blocks), len(model.hidden)
    rates = [model.input_dropout, *each(model.hidden_dropout, hidden, "model.hidden_dropout", "model.hidden")]
    if model.family == "cnn":
        rates = [*each(model.block_dropout, blocks, "model.block_dropout", "model.blocks"), *rates]
    factors = each(model.hidden_l2, hidden, "model.hidden_l2", "model.hidden")
    dropout = {f"dropout_{number}": rate for number, rate in enumerate(filter(None, rates), start=1)}
    return dropout | {f"dense_{number}": factor for number, factor in enumerate(factors, start=1) if factor}


def structure(config: ConfigDict) -> str:
    """The config without its numbers, as text: configs with equal ones share a compiled program."""
    left = {}
    for field, value in flat(config.to_dict()).items():
        if field in _SWITCHES:
            left[field] = [_kind(field, one) for one in value] if isinstance(value, tuple) else _kind(field, value)
        elif not (field in _NUMBERS or field in _HOST or field.startswith(_HOST_SECTIONS)):
            left[field] = value
    return json.dumps(left, sort_keys=True)


def _kind(field: str, value: float) -> bool | int:
    """The part of a switch that belongs to the structure: whether it is on; for dropout, its number of random bits."""
    if field in _DROPOUT and value:
        return dropout_bits(value)
    return value != 0


def dropout_bits(rate: float) -> int:
    """Random bits for each number that dropout decides on: 8 where they give the probability exactly, else 16."""
    return 8 if float(rate * 2**8).is_integer() else 16


def each(value: Any, count: int, field: str, per: str) -> tuple:
    """One value for all, or a tuple with one for each, as a tuple of `count` values."""
    if not isinstance(value, (tuple, list)):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    require(len(value) == count, field, value, f"one value, or one for each of the {count} entries of config.{per}")
    return tuple(value)
