"""Finds what a user may have meant by a name that is no field, or by a value that a field does not accept.

Needs no JAX. The end of an error's sentence:

    question(fields_like("lr"))                     # "; did you mean optimizer.learning_rate?"
    question(nearest("trian", ["train", "sweep"]))  # "; did you mean train?"
"""

import ast
from collections.abc import Iterable
import contextlib
import re
import shlex
from typing import Any

from digits.config.fields import FIELDS

# The names of fields in other libraries, and in people's memory.
_ALSO_CALLED = {
    "seed": "seeds random_seed random_state",
    "epochs": "num_epochs n_epochs max_epochs",
    "batch_size": "bs train_batch_size minibatch_size",
    "eval_batch_size": "test_batch_size val_batch_size",
    "monitor": "metric",
    "data.name": "data dataset",
    "data.validation": "validation_split val_split val",
    "data.normalization": "normalisation normalize scaling",
    "model.family": "model architecture arch network",
    "model.activation": "nonlinearity",
    "model.kernel_init": "kernel_initializer initializer init",
    "model.input_dropout": "dropout dropout_rate",
    "model.blocks": "filters channels conv_layers",
    "model.kernel_size": "kernel filter_size",
    "model.stride": "strides subsample",
    "model.separable": "depthwise separable_conv",
    "model.conv_bias": "use_bias bias",
    "model.pool": "pool_size pooling max_pool",
    "model.batch_norm": "bn batch_normalization",
    "model.block_dropout": "dropout dropout_rate",
    "model.global_pool": "gap gmp global_pooling global_average_pooling global_max_pooling",
    "model.hidden": "units hidden_units hidden_layers hidden_size layers",
    "model.hidden_batch_norm": "bn batch_normalization",
    "model.hidden_dropout": "dropout dropout_rate",
    "model.hidden_l2": "l2 kernel_regularizer",
    "optimizer.name": "optimizer optim",
    "optimizer.learning_rate": "lr step_size",
    "optimizer.beta_1": "b1",
    "optimizer.beta_2": "b2",
    "optimizer.epsilon": "eps",
    "optimizer.weight_decay": "wd",
    "optimizer.clip_norm": "grad_clip gradient_clip max_grad_norm clipping",
    "schedule.name": "schedule scheduler lr_schedule lr_scheduler",
    "schedule.warmup_epochs": "warmup",
    "schedule.decay": "decay_rate",
    "schedule.min_learning_rate": "min_lr",
    "early_stopping.restore_best": "restore_best_weights",
    "augment.rotation": "rotation_range rotate",
    "augment.shear": "shear_range",
    "augment.zoom": "zoom_range",
    "augment.height_shift": "height_shift_range",
    "augment.width_shift": "width_shift_range",
    "augment.elastic": "elastic_transform elastic_distortion",
    "augment.erasing": "random_erasing cutout",
    "checkpoint_every": "save_every",
}
# What stands here for values of other libraries. No value is another's in two fields.
_VALUES = {
    "adamw": "adam with optimizer.weight_decay above 0",
    "nesterov": "sgd with optimizer.momentum above 0 and optimizer.nesterov",
    "momentum": "sgd with optimizer.momentum above 0",
    "mlp": "dense",
    "convnet": "cnn",
    "swish": "silu",
    "reduce_on_plateau": "plateau",
    "onecycle": "one_cycle",
    "linear_warmup": "any schedule with schedule.warmup_epochs above 0",
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
}

_MOST = 4  # More are no suggestion.


def fields_like(name: str) -> list[str]:
    """The fields that a name without a field may have meant: those of its section if there are any, otherwise all.

    A field is recognised by its whole name, by its last part and by what other libraries call it, without regard to
    case and underscores, and by what differs from one of these in a few letters.
    """
    section, _, last = name.rpartition(".")
    names = {field: set(_names(field)) for field in FIELDS}
    known = set().union(*names.values())
    for word in dict.fromkeys([_plain(last), _plain(name)]):
        near = set(nearest(word, known))
        found = [field for field in FIELDS if near & names[field]]
        if 0 < len(found) <= _MOST:
            return [field for field in found if section and field.startswith(f"{section}.")] or found
    return []


def fields_called(name: str) -> list[str]:
    """The fields of which this is a name, in any spelling: fields_called("batch-size") is ["batch_size"]."""
    return [field for field in FIELDS if _plain(name) in _names(field)]


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The known words that differ from `word` in the fewest letters, if these are few; else those that contain it."""
    known, most = list(known), max(1, len(word) // 4)
    distances = {one: _distance(word, one) for one in known if abs(len(word) - len(one)) <= most}
    least = min(distances.values(), default=most)
    if near := [one for one, distance in distances.items() if distance == least <= most]:
        return near
    return [one for one in known if len(word) > 3 and word in one]


def question(found: Iterable[str], otherwise: str = ".") -> str:
    """The end of a sentence: question(["a", "b"]) is "; did you mean a or b?", and without any, `otherwise`."""
    *most, last = list(found) or [""]
    return f"; did you mean {', '.join(most)}{' or ' if most else ''}{last}?" if last else otherwise


def instead(name: str, value: Any) -> str:
    """What a field accepts instead of a value, in brackets after a space, or nothing.

    instead("optimizer.name", "adamw") is " (adamw is adam with optimizer.weight_decay above 0)".
    """
    if texts := several(name, value):
        return f" (digits.sweep takes several: {shlex.quote(f'--sweep.{name}={texts}')})"
    text = FIELDS[name].accepted.text
    if not isinstance(value, str) or not text.startswith("one of "):
        return ""
    words = text.removeprefix("one of ").split(", ")
    if (known := _VALUES.get(value.lower())) and known.split()[0] in (*words, "any"):
        return f" ({value} is {known})"
    found = nearest(value.lower(), words)
    return f" ({question(found).removeprefix('; ')})" if found else ""


def several(name: str, value: Any) -> str:
    """The text of `--sweep.NAME=` for a value that is several of the field's, or a range of them; otherwise ""."""
    accepted = FIELDS[name].accepted
    if isinstance(value, str):
        text = value.strip().strip("[]()")
        if accepted.type in (int, float) and re.fullmatch(r"-?\d+:-?\d+(:\d+)?|(log|uniform|int)\(.*\)", value.strip()):
            return value.strip()
    else:
        text = ",".join(map(str, value)) if isinstance(value, tuple) else ""
    entries = [entry.strip() for entry in text.split(",")]
    if accepted.type not in (int, float, bool, str) or len(entries) < 2:
        return ""
    return ",".join(entries) if all(accepted.accepts(_read(entry, accepted.type)) for entry in entries) else ""


def _read(text: str, type_: type) -> Any:
    if type_ is not str:
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
    return text


def _names(field: str) -> list[str]:
    also = _ALSO_CALLED.get(field, "").split()
    return [_plain(name) for name in (field, field.rpartition(".")[2], *also)]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _distance(a: str, b: str) -> int:
    """How many letters are to be inserted, deleted, replaced, or swapped with their neighbour, to make `b` of `a`."""
    before, row = [], list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        older, before, row = before, row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other)))
            if i > 1 and j > 1 and a[i - 2] == other and letter == b[j - 2]:
                row[-1] = min(row[-1], older[j - 2] + 1)
    return row[-1]
