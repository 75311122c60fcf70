"""Makes the points of a sweep from lists, ranges and random draws of values for fields of a config. Needs no JAX.

Twenty points, two rates of ten seeds each:

    combine({"optimizer.learning_rate": parse("optimizer.learning_rate", "1e-3,3e-3"), "seed": parse("seed", "0:10")})
"""

from collections.abc import Iterable
import dataclasses
import itertools
import math
import re
from typing import Any

import numpy as np

from digits.config.values import convert, split_outside_brackets
from digits.errors import UserError
from digits.runs.sweep_folder import REPETITIONS

_MOST = 10_000  # Runs. A sweep of more is a typing mistake, and planning it would take hours.
_WIDEST = 1e18  # 64 bits hold it.
_NUMBER = r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"


@dataclasses.dataclass(frozen=True)
class Range:
    """A range to draw values from, with both ends.

    Attributes:
      kind: "log" (uniform in the logarithm), "uniform", or "int" (whole numbers).
    """

    kind: str
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        """Draws a value, rounded to the four digits that folder names and tables show."""
        if self.kind == "int":
            return int(rng.integers(math.ceil(self.low), math.floor(self.high), endpoint=True))
        if self.kind == "log":
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return min(max(float(f"{value:.4g}"), self.low), self.high)


def parse(field: str, text: str) -> list[str] | Range:
    """Reads the values of `--sweep.FIELD=TEXT`, as texts, or a range to draw them from.

        parse("seed", "0:3") == ["0", "1", "2"]

    TEXT is a list ("1e-3,3e-3" or "(32,),(64,)"), a range of whole numbers ("0:10" is 0 to 9, "0:10:2" every second of
    them), or a range to draw from ("log(1e-4,1e-1)").

    Raises:
      UserError: the text is none of these, or has a value twice.
    """
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
    if match := re.fullmatch(r"\s*(-?\d{1,30}):(-?\d{1,30})(?::(\d{1,30}))?\s*", text):
        step = int(match[3] or 1)
        first, stop = int(match[1]), int(match[2])
        count = max(0, -(-(stop - first) // step)) if step else 0  # `len` of so long a range would overflow.
        _limit(f"--sweep.{field} is {text!r}, which has {count:,} values", count)
        values = list(map(str, range(first, stop, step))) if step else []
    else:
        values = split_outside_brackets(text)
    if not values or not all(values):
        raise mistake
    if len(set(values)) < len(values):
        raise UserError(f"--sweep.{field} is {text!r}, which has a value twice.")
    return values


def _limit(what: str, count: int) -> None:
    if count > _MOST:
        raise UserError(f"{what}: a sweep may have at most {_MOST:,} runs.")


def combine(
    fields: dict[str, list[str] | Range],
    listed: Iterable[dict[str, Any]] = ({},),
    sample: int | None = None,
    sample_seed: int = 0,
) -> list[dict[str, Any]]:
    """Makes the points of a sweep, as values by field: combine({"seed": ["0", "1"]}) is [{"seed": 0}, {"seed": 1}].

    Args:
      fields: lists of values, of which every combination makes a point, and ranges, from which values are drawn.
      listed: the points of a `sweep()`; each is joined with every combination.
      sample: how many times values are drawn, from the ranges and the lists; seeds and folds repeat every draw.
      sample_seed: the seed of the draws.

    Raises:
      UserError: a field does not accept a value, points give different fields, or there are too many points.
    """
    listed = [{field: convert(field, value) for field, value in point.items()} for point in listed]
    crossed: dict[str, list] = {}
    drawn: dict[str, list | Range] = {}
    for field, given in fields.items():
        values = given if isinstance(given, Range) else [convert(field, value) for value in given]
        if isinstance(values, Range) or (sample is not None and field not in REPETITIONS):
            drawn[field] = values
        else:
            crossed[field] = values
    if drawn and sample is None:
        field = next(iter(drawn))
        raise UserError(
            f"--sweep.{field} is a range to draw from: say how many points with --sample=50, or list values."
        )
    if sample is not None and not drawn:
        raise UserError(f"--sample is {sample}, but nothing is drawn: give a field a range such as log(1e-4,1e-1).")
    count = len(listed) * (sample or 1) * math.prod(map(len, crossed.values()))
    _limit(f"The sweep has {count:,} points", count)
    draws = _draw(drawn, sample or 1, np.random.default_rng(sample_seed))
    combinations = [dict(zip(crossed, combination)) for combination in itertools.product(*crossed.values())]
    points = [one | draw | rest for one in listed for draw in draws for rest in combinations]
    # Two draws may give the same point, which needs one run.
    unique = {tuple(sorted((field, repr(value)) for field, value in point.items())): point for point in points}
    shared = set().union(*points)
    for point in unique.values():
        if missing := shared - set(point):
            raise UserError(f"A point of the sweep gives no value for {sorted(missing)[0]}, which others do: {point}.")
    return list(unique.values())


def _draw(fields: dict[str, list | Range], count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draws `count` points from lists and ranges."""

    def pick(field: str, given: list | Range) -> Any:
        value = given.draw(rng) if isinstance(given, Range) else given[rng.integers(len(given))]
        return convert(field, value)  # The range may hold numbers that the field does not accept.

    return [{field: pick(field, given) for field, given in fields.items()} for _ in range(count)]
