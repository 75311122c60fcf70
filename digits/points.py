"""The points of a sweep: lists, ranges and random draws of values for fields of a config. Needs no JAX."""

import ast
from collections.abc import Iterable
import contextlib
import dataclasses
import difflib
import itertools
import math
import re
from typing import Any
import zlib

from ml_collections import ConfigDict
import numpy as np

from digits.errors import UserError
from digits.sweep_folder import REPETITIONS

# No sweep needs more, and one that was meant to have a hundredth of it would be planned for hours.
_MOST = 10_000
_WIDEST = 1e18  # Below what 64 bits hold.
_NUMBER = r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"


@dataclasses.dataclass(frozen=True)
class Range:
    """Values to draw from: log-uniform, uniform, or whole numbers with both ends."""

    kind: str  # log, uniform or int.
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        """One value, to four digits: as it will stand in names and tables."""
        if self.kind == "int":
            return int(rng.integers(math.ceil(self.low), math.floor(self.high), endpoint=True))
        if self.kind == "log":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return min(max(float(f"{value:.4g}"), self.low), self.high)


def parse(field: str, text: str) -> list[str] | Range:
    """The values of `--sweep.FIELD=TEXT`: "1e-3,3e-3", "0:10" (0 to 9), "(32,),(64,)", "log(1e-4, 1e-1)"."""
    accepted = "a list such as 1e-3,3e-3, a range such as 0:10, or log(a,b), uniform(a,b), int(a,b) with --sample"
    mistake = UserError(f"--sweep.{field} is {text!r}, but it must be {accepted}.")
    if match := re.fullmatch(rf"(log|uniform|int)\({_NUMBER},{_NUMBER}\)", text.strip()):
        try:
            low, high = float(match[2]), float(match[3])
        except ValueError:
            raise mistake from None
        if not low < high or (match[1] == "log" and low <= 0):
            raise UserError(
                f"--sweep.{field} is {text!r}, but its first number must be below its second, and above 0 for log."
            )
        if high - low > _WIDEST or max(-low, high) > _WIDEST:
            raise UserError(f"--sweep.{field} is {text!r}, but its numbers must be finite, below {_WIDEST:g}.")
        if match[1] == "int" and math.ceil(low) > math.floor(high):
            raise UserError(f"--sweep.{field} is {text!r}, but there must be a whole number between its two.")
        return Range(match[1], low, high)
    if match := re.fullmatch(r"\s*(-?\d+):(-?\d+)(?::(\d+))?\s*", text):
        step = int(match[3] or 1)
        first, stop = int(match[1]), int(match[2])
        count = max(0, -(-(stop - first) // step)) if step else 0  # The length of a range has an end.
        _limit(f"--sweep.{field} is {text!r}, which has {count:,} values", count)
        values = list(map(str, range(first, stop, step))) if step else []
    else:
        # Commas within brackets belong to a value.
        values, depth = [""], 0
        for character in text:
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                values.append("")
            else:
                values[-1] += character
        values = [value.strip() for value in values]
    if not values or not all(values):
        raise mistake
    if len(set(values)) < len(values):
        raise UserError(f"--sweep.{field} is {text!r}, which has a value twice.")
    return values


def _limit(what: str, count: int) -> None:
    if count > _MOST:
        raise UserError(f"{what}: a sweep may have at most {_MOST:,} runs.")


def field_type(config: ConfigDict, field: str, flag: str = "sweep") -> type:
    """The type of a field, `object` where it takes one value or a tuple; UserError with the nearest name if unknown."""
    node, path = config, field.split(".")
    for depth, name in enumerate(path):
        if not isinstance(node, ConfigDict) or name not in node:
            siblings = list(node) if isinstance(node, ConfigDict) else []
            near = difflib.get_close_matches(name, siblings, 1)
            prefix = "".join(f"{part}." for part in path[:depth])
            hint = f"did you mean {prefix}{near[0]}?" if near else "configs/base.py lists them all."
            raise UserError(f"--{flag}.{field}: there is no field {field!r}; {hint}")
        node, section = node[name], node
    if isinstance(node, ConfigDict):
        raise UserError(f"--{flag}.{field}: {field!r} is a section; name one of its fields: {', '.join(node)}.")
    return section.get_type(path[-1])


def convert(config: ConfigDict, field: str, value: Any, flag: str = "sweep") -> Any:
    """A value for a field, of the field's type, from text or from a `sweep()`; UserError, of the flag, otherwise."""
    wanted = field_type(config, field, flag)
    mistake = lambda accepted: UserError(f"--{flag}.{field} has the value {value!r}, but it must be {accepted}.")
    given = value
    if isinstance(value, str) and wanted is not str:
        with contextlib.suppress(ValueError, SyntaxError):
            given = ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    given = tuple(given) if isinstance(given, list) else given
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    accepted = {
        bool: ("true or false", isinstance(given, bool)),
        int: ("a whole number", number and float(given).is_integer()),
        float: ("a number", number),
        str: ("text", isinstance(given, str)),
        tuple: ("a tuple such as (32,) or (64,32)", isinstance(given, tuple)),
    }
    description, ok = accepted.get(
        wanted, ("a number, or a tuple with one for each", number or isinstance(given, (bool, tuple)))
    )
    if not ok:
        raise mistake(description)
    return wanted(given) if wanted in (int, float) else given


def combine(
    config: ConfigDict,
    fields: dict[str, list[str] | Range],
    listed: Iterable[dict[str, Any]] = ({},),
    sample: int | None = None,
    sample_seed: int = 0,
) -> list[dict[str, Any]]:
    """The points: every one `listed` by a `sweep()` with every combination, or with `sample` draws, of the fields.

    With `sample`, seeds and folds repeat each draw; other lists are drawn from too.
    """
    listed = [{field: convert(config, field, value) for field, value in point.items()} for point in listed]
    values = {
        field: [convert(config, field, value) for value in given] if not isinstance(given, Range) else given
        for field, given in fields.items()
    }
    crossed = {f: v for f, v in values.items() if not isinstance(v, Range) and (sample is None or f in REPETITIONS)}
    drawn = {field: value for field, value in values.items() if field not in crossed}
    if drawn and sample is None:
        field = next(iter(drawn))
        raise UserError(
            f"--sweep.{field} is a range to draw from: say how many points with --sample=50, or list values."
        )
    if sample is not None and not drawn:
        raise UserError(f"--sample is {sample}, but nothing is drawn: give a field a range such as log(1e-4,1e-1).")
    count = len(listed) * (sample or 1) * math.prod(map(len, crossed.values()))
    _limit(f"The sweep has {count:,} points", count)
    rng = np.random.default_rng(sample_seed)
    pick = lambda value: value.draw(rng) if isinstance(value, Range) else value[rng.integers(len(value))]
    draws = [{field: pick(value) for field, value in drawn.items()} for _ in range(sample or 1)]
    # A draw is converted too: a range of numbers may have been given to a field that takes none.
    draws = [{field: convert(config, field, value) for field, value in draw.items()} for draw in draws]
    combinations = [dict(zip(crossed, combination)) for combination in itertools.product(*crossed.values())]
    points = [one | draw | rest for one in listed for draw in draws for rest in combinations]
    # Two draws may give the same point; one run of it is enough.
    unique = {tuple(sorted((field, repr(value)) for field, value in point.items())): point for point in points}
    shared = set().union(*points)
    for point in unique.values():
        if missing := shared - set(point):
            raise UserError(f"A point of the sweep gives no value for {sorted(missing)[0]}, which others do: {point}.")
    return list(unique.values())


def with_values(config: ConfigDict, values: dict[str, Any]) -> ConfigDict:
    """A locked copy of the config with the values."""
    copy = config.copy_and_resolve_references()
    with copy.unlocked(), copy.ignore_type():
        copy.update_from_flattened_dict(values)
    return copy.lock()


def name(values: dict[str, Any], longest: int = 120) -> str:
    """A folder's name for changed fields: epochs=3,model.kernel_size=5."""
    text = ",".join(f"{field}={value}".replace("/", "_").replace(" ", "") for field, value in values.items())
    return text if len(text) <= longest else f"{text[: longest - 9]}~{zlib.crc32(text.encode()):08x}"
