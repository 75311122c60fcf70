"""The numbers of a config that the compiled step takes as arguments, so that one program serves all their values.

Zero switches a thing off (no momentum, no dropout layer): it is part of the program, every other value is not. Needs no
JAX: which points of a sweep share a program is known before any device is touched.
"""

import json
from typing import Any

from ml_collections import ConfigDict

# What the compiled step reads, where zero means "not there" ...
_SWITCHES = (
    "label_smoothing",
    "model.input_dropout", "model.block_dropout", "model.hidden_dropout", "model.hidden_l2",
    "optimizer.momentum", "optimizer.weight_decay", "optimizer.clip_norm",
    "schedule.warmup_epochs",
    "augment.rotation", "augment.shear", "augment.zoom", "augment.height_shift", "augment.width_shift",
)  # fmt: skip
# ... and where zero is a number like any other.
_NUMBERS = (
    "optimizer.beta_1", "optimizer.beta_2", "optimizer.rho", "optimizer.epsilon",
    "schedule.start_epoch", "schedule.decay", "schedule.final_fraction", "schedule.peak_fraction",
    "schedule.initial_divisor", "schedule.final_divisor",
)  # fmt: skip
# What only the host reads: the seed and the base learning rate are in the training state, the fold is in the data.
_HOST = (
    "seed", "data.fold", "optimizer.learning_rate", "monitor", "checkpoint_every", "tensorboard", "compilation_cache",
    "schedule.factor", "schedule.patience", "schedule.min_delta", "schedule.cooldown", "schedule.min_learning_rate",
)  # fmt: skip
_HOST_SECTIONS = ("early_stopping.", "documented.", "population.")


def is_on(value: Any) -> bool:
    """Whether a field, or the traced number in its place, is not the zero that switches it off."""
    return not isinstance(value, (bool, int, float)) or value != 0


def of(config: ConfigDict) -> dict[str, Any]:
    """The step's numbers by field; a field with one value a layer has a tuple. Switches that are off are left out."""
    values = {field: config[field] for field in _NUMBERS}
    for field in _SWITCHES:
        value = config[field]
        if any(map(is_on, value)) if isinstance(value, tuple) else is_on(value):
            values[field] = value
    return values


def of_model(values: dict[str, Any]) -> dict[str, Any]:
    """Those of `config.model`, by their names there."""
    return {field.removeprefix("model."): value for field, value in values.items() if field.startswith("model.")}


def put(config: ConfigDict, values: dict[str, Any]) -> ConfigDict:
    """A copy of the config with the (traced) `values` in their fields."""
    copy = config.copy_and_resolve_references()
    with copy.unlocked(), copy.ignore_type():
        copy.update_from_flattened_dict(values)
    return copy


def structure(config: ConfigDict) -> str:
    """What is left of a config when its numbers are taken away: configs with equal ones share a compiled program."""
    left = {}
    for field, value in flat(config.to_dict()).items():
        if field in _SWITCHES:
            shape = _dropout_shape if field.endswith("dropout") else is_on
            left[field] = tuple(map(shape, value)) if isinstance(value, tuple) else shape(value)
        elif not (field in _HOST or field in _NUMBERS or field.startswith(_HOST_SECTIONS)):
            left[field] = value
    return json.dumps(left, sort_keys=True)


def flat(fields: dict, prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    found = {}
    for key, value in fields.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def dropout_bits(rate: float) -> int:
    """Random bits for each number that dropout decides on: eight where they give the probability exactly, else 16."""
    return 8 if float(rate * 2**8).is_integer() else 16


def _dropout_shape(rate: float) -> int:
    return dropout_bits(rate) if is_on(rate) else 0
