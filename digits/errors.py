"""What a user did wrong, as one sentence."""

from typing import Any


class UserError(Exception):
    """A mistake in a config, a flag, a file or the environment. The message names it and says what is accepted."""


class Diverged(UserError):
    """The loss of a run is no longer a finite number."""


class OutOfMemory(UserError):
    """A run does not fit into the device's memory."""


def require(ok: bool, field: str, value: Any, accepted: str) -> None:
    """Raises UserError unless `ok`: "config.epochs is 0, but it must be a whole number from 1"."""
    if not ok:
        raise UserError(f"config.{field} is {value!r}, but it must be {accepted}.")


def require_number(field: str, value: Any, low: float = 0.0, high: float = float("inf")) -> None:
    """Raises UserError unless `value` is a finite number, low <= value < high."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value < high
    bound = f"from {low:g}" if high == float("inf") else f"from {low:g} to below {high:g}"
    require(ok, field, value, f"a finite number {bound}")


def require_choice(field: str, value: Any, choices) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    require(value in choices, field, value, "one of " + ", ".join(sorted(choices)))
