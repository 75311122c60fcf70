"""Reads and writes configs: values of their fields from text, the checks of single fields, JSON. Needs no JAX.

Changes one field from text, and returns from JSON to an equal config:

    config = with_values(config, {"epochs": convert("epochs", "3")})
    config_from_json(config_to_json(config))
"""

import ast
import collections
from collections.abc import Iterable, Iterator
import contextlib
import copy
import json
import os
import re
from typing import Any
import zlib

from ml_collections import ConfigDict

from digits.config.fields import FIELDS, Field
from digits.config.suggestions import fields_like, instead, question
from digits.errors import UserError, require

# The fields that runs of earlier versions lack, with the values that these runs trained with.
_LATER = {
    "label_smoothing": 0.0, "deterministic": False, "optimizer.ema_momentum": 0.0,
    "population.sharing": "auto", "population.workers": 0, "population.size": 0,
    "model.stride": 1, "model.separable": False, "model.conv_bias": True, "model.global_pool": "none",
    "augment.elastic": 0.0, "augment.elastic_sigma": 4.0, "augment.erasing": 0.0,
}  # fmt: skip

# The errors of ast.literal_eval, and of making a float of a whole number that is too large for one.
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError)


def _find(name: str, flag: str) -> Field:
    """The field of a dotted name; UserError, which names `--FLAG.NAME` and the fields it may mean, if there is none."""
    if name in FIELDS:
        return FIELDS[name]
    if not any(field.startswith(f"{name}.") for field in FIELDS):
        hint = question(
            (f"--{flag}.{field}" for field in fields_like(name)), "; digits.main with --fields lists them all."
        )
        raise UserError(f"--{flag}.{name}: there is no field {name!r}{hint}")
    inside = [field.removeprefix(f"{name}.") for field in FIELDS if field.startswith(f"{name}.")]
    raise UserError(f"--{flag}.{name}: {name!r} is a section; name one of its fields: {', '.join(inside)}.")


def field_type(name: str, flag: str = "sweep") -> type:
    """The type of a field, `object` where it takes one value or a tuple; UserError if there is no such field."""
    return _find(name, flag).accepted.type


def convert(name: str, value: Any, flag: str = "sweep") -> Any:
    """A value of the field's type, from text or from a `sweep()`: convert("model.hidden", "(32, 16)") is (32, 16).

    Leaves it to the checks, which see the whole config, whether the value makes sense.

    Raises:
      UserError: there is no such field, or the value, given after `--FLAG.NAME=`, is of another type.
    """
    accepted = _find(name, flag).accepted
    given = value
    if isinstance(value, str) and accepted.type is not str:
        with contextlib.suppress(*_UNREADABLE):
            given = ast.literal_eval({"true": "True", "false": "False"}.get(value.lower(), value))
    if isinstance(given, list):
        given = tuple(given)
    if accepted.type is tuple and flag == "config" and _is_number(given):
        given = (given,)  # Without commas: one layer. In a sweep, commas separate values.
    if given is None and accepted.accepts(None):
        return None
    with contextlib.suppress(*_UNREADABLE):
        if _is_of_type(given, accepted.type):
            return accepted.type(given) if accepted.type in (int, float) else given
    hint = instead(name, value) if flag == "config" else ""
    raise UserError(f"--{flag}.{name} has the value {value!r}, but it must be {accepted.text}{hint}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_of_type(value: Any, wanted: type) -> bool:
    if wanted is object:
        return isinstance(value, (int, float, tuple))
    if wanted is int:
        return _is_number(value) and value == int(value)
    return _is_number(value) if wanted is float else isinstance(value, wanted)


def with_values(config: ConfigDict, values: dict[str, Any]) -> ConfigDict:
    """A locked copy of the config with other values, by dotted name: with_values(config, {"model.hidden": (8,)})."""
    copy = config.copy_and_resolve_references()
    with copy.unlocked(), copy.ignore_type():
        copy.update_from_flattened_dict(values)
    return copy.lock()


def folder_name(values: dict[str, Any], longest: int = 120, short: bool = False) -> str:
    """The name of a folder for changed fields: epochs=3,model.kernel_size=5, or with `short` epochs=3,kernel_size=5.

    It needs no quotes in a shell and is allowed on every file system. Values whose texts differ have different names,
    also where upper and lower case are the same.
    """
    names = short_names(values) if short else {field: field for field in values}
    name = ",".join(f"{names[field]}={value_name(value, field)}" for field, value in values.items())
    return name if len(name) <= longest else f"{name[: longest - 9]}~{_digest(str(values))}"


def portable_name(name: str) -> str:
    """The name of a file or folder as Linux, macOS, Windows and exFAT hold it; almost every name stays as it is.

    portable_name("con") == "con~fdbf975c" and portable_name("simple_cnn,epochs=3") == "simple_cnn,epochs=3"
    """
    kept = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "-", name).strip(" ").rstrip(". ")
    device = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", kept, re.IGNORECASE)  # Also with an ending: nul.txt.
    content, most = kept.encode("utf-8", "surrogateescape"), 255
    if kept == name and not device and len(content) <= most:
        return name
    ending = f"~{_digest(name)}"
    if device:  # The ending belongs before the first dot.
        return f"{device[1]}{ending}{kept[len(device[1]) :]}"
    return content[: most - len(ending)].decode("utf-8", "ignore") + ending


def value_name(value: Any, field: str = "") -> str:
    """A value as a part of a folder's name, ended by a hash of its text if another value's text could give the same.

    value_name("last(10000)") == "last-10000" and value_name((8, 4)) == "8-4" and value_name("0:10") == "0..10"
    """
    text = str(value).replace(" ", "")
    pieces = [_piece_name(piece, field) for piece in split_outside_brackets(text)]
    if None not in pieces:
        return ",".join(pieces)
    end = text.rstrip("/").rpartition("/")[2]  # Of a path.
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', end).strip('.-')}~{_digest(text)}"


_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"


def _piece_name(text: str, field: str) -> str | None:
    """The name of a number, a word, a range (0:10), a call (last(10000)) or a tuple; None for any other text."""
    if re.fullmatch(rf"{_NUMBER}|[a-z_][a-z0-9_.+]*(?<!\.)|True|False|None", text):
        return text
    if re.fullmatch(r"-?\d+:-?\d+(:\d+)?", text):
        return text.replace(":", "..")
    if match := re.fullmatch(rf"([a-z_]*)\(({_NUMBER}(?:,{_NUMBER})*),?\)", text):
        word, numbers = match[1], match[2].split(",")
        alone = not word and len(numbers) == 1  # The tuple (8,) would have the name of the number 8.
        allowed = not alone or (field in FIELDS and FIELDS[field].accepted.type is tuple)
        if allowed and text == f"{word}({','.join(numbers)}{',' if alone else ''})":
            return "-".join(filter(None, [word, *numbers]))
    return None


def split_outside_brackets(text: str) -> list[str]:
    """Splits at the commas outside of brackets: "(8,),(16,)" gives ["(8,)", "(16,)"]."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _digest(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def folder_name_before(values: dict[str, Any], longest: int = 120) -> str:
    """The name that `folder_name` gave in earlier versions, for runs that go on in their folder."""
    text = ",".join(f"{field}={value}".replace("/", "_").replace(" ", "") for field, value in values.items())
    return text if len(text) <= longest else f"{text[: longest - 9]}~{_digest(text)}"


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """The last part of each field's name, or the whole where another field ends alike: learning_rate, data.name."""
    count = collections.Counter(known.rpartition(".")[2] for known in FIELDS)
    return {field: end if count[end := field.rpartition(".")[2]] == 1 else field for field in fields}


def to_json(value: Any) -> Any:
    """The value as JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(value))


def config_to_json(config: ConfigDict) -> dict:
    """The config as plain dicts, tuples as lists."""
    return json.loads(config.to_json_best_effort())


def config_from_json(fields: dict) -> ConfigDict:
    """The locked config that `config_to_json` was given: lists become tuples again."""

    def restore(value):
        if isinstance(value, dict):
            return {key: restore(v) for key, v in value.items()}
        return tuple(map(restore, value)) if isinstance(value, list) else value

    return ConfigDict(restore(fields)).lock()


def completed(fields: dict) -> dict:
    """Recorded fields, with those that their version of digits did not have: completed(about["config"])."""
    fields = copy.deepcopy(fields)
    for name, value in _LATER.items():
        section, _, field = name.rpartition(".")
        node = fields.setdefault(section, {}) if section else fields
        if isinstance(node, dict):
            node.setdefault(field, value)
    return fields


def recorded_config(fields: dict, path: os.PathLike) -> ConfigDict:
    """The config that a run has recorded in a file; UserError, which names the file, if a value makes no sense."""
    config = config_from_json(completed(fields))
    if lacking := missing_fields(config):
        raise UserError(f"{path} is damaged: it has no config.{lacking[0]}.")
    for name, field in FIELDS.items():
        if not field.accepted.accepts(value := config[name]):
            text = " ".join(repr(value).split())[:100]  # That of a section has lines.
            raise UserError(f"{path} is damaged: its config.{name} is {text}, which must be {field.accepted.text}.")
    return config


def missing_fields(config: ConfigDict) -> list[str]:
    """The sections and fields that a config lacks, sorted."""
    lacking = set()
    for name in FIELDS:
        node, path = config, name.split(".")
        for depth, part in enumerate(path, 1):
            if not isinstance(node, ConfigDict) or part not in node:
                lacking.add(".".join(path[:depth]))
                break
            node = node[part]
    return sorted(lacking)


def check_fields(config: ConfigDict, section: str = "") -> None:
    """Raises UserError for the first field of a config whose value, by itself, makes no sense.

    With a `section`, such as "model", `config` is that section alone.
    """
    prefix = f"{section}." if section else ""
    for name, field in FIELDS.items():
        if name.startswith(prefix):
            value = config[name.removeprefix(prefix)]
            if not field.accepted.accepts(value):
                require(False, name, value, field.accepted.text + instead(name, value))


def fields_as_markdown(config: ConfigDict, config_file: str) -> Iterator[str]:
    """Yields the lines of a Markdown page of all fields: name, value in the config, meaning, and what is accepted."""
    yield f"# The fields of {config_file}"
    yield ""
    yield "`--config.NAME=VALUE` changes one, `--sweep.NAME=VALUE,VALUE` sweeps it. This page is printed by"
    yield f"`python -m digits.main --config={config_file} --fields`."
    for section in dict.fromkeys(name.rpartition(".")[0] for name in FIELDS):
        yield f"\n## {section}\n" if section else ""
        for name, field in FIELDS.items():
            if name.rpartition(".")[0] == section:
                yield f"- `{name}` = `{config[name]!r}`: {field.meaning}"
                yield f"  Accepted: {field.accepted.text}."


def flat(fields: dict, prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names: {"data": {"name": "mnist"}} gives {"data.name": "mnist"}."""
    found = {}
    for key, value in fields.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
