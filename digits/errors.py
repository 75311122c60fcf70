"""What a user did wrong, as one sentence."""

from collections.abc import Iterator
import contextlib
import errno
from typing import Any


class UserError(Exception):
    """A mistake in a config, a flag, a file or the environment. The message names it and says what is accepted."""


class Diverged(UserError):
    """The loss of a run is no longer a finite number."""


class Busy(UserError):
    """Another process trains in the folder."""


class OutOfMemory(UserError):
    """A run does not fit into the device's memory."""


# What the system says of a path that a user has named, or of the disk it lies on.
_OF_PATHS = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EROFS, errno.ENOSPC}


@contextlib.contextmanager
def paths() -> Iterator[None]:
    """Raises UserError for a path that the system refuses: without permission, too long, through a file, full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_PATHS or error.filename is None:
            raise
        raise UserError(f"{error.filename} cannot be used ({error.strerror}).") from error


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
