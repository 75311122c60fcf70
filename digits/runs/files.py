"""Files of runs: written whole or not at all, sealed against damage, and read with suspicion. Needs no JAX.

A JSON object is sealed by a CRC-32 of its content under the key "check", which finds whatever a few wrong bits change;
a file without it, of an older run or written by hand, is believed. Nothing is ever read through a link that lies in a
run's folder, nor read whole when it is larger than any file of its kind.
"""

from collections.abc import Iterable
import errno
import json
import os
import pathlib
import platform
import time
from typing import Any
import zlib

import filelock

from digits.errors import Busy, UserError
from digits.runtime import atomic

_CHECK = "check"
_MOST_BYTES = 2**28  # A record is 250 bytes: a million epochs.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # A file system that has no locks.


def replace(path: pathlib.Path, content: bytes) -> None:
    """Writes a file, whole or not at all, also where the power fails; OSError if it cannot be written."""
    with atomic.writing(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write(path: pathlib.Path, content: bytes) -> None:
    """`replace`, in a folder that is made if it is missing; UserError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error


def remove_temporaries(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Removes what `replace` left of these files where it was killed. Nobody else may be writing them."""
    for name in names:
        for path in folder.glob(f".{name}.[0-9]*"):
            path.unlink(missing_ok=True)


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its check."""
    return content | {_CHECK: _crc(content)}


def unseal(content: Any) -> Any:
    """What `seal` was given; ValueError if it is something else by now."""
    if not isinstance(content, dict) or _CHECK not in content:
        return content
    content = dict(content)
    if content.pop(_CHECK) != _crc(content):
        raise ValueError("its check does not fit its content")
    return content


def _crc(content: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Writes a sealed JSON object, whole or not at all; OSError if it cannot be written."""
    replace(path, (json.dumps(seal(content), indent=2) + "\n").encode())


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file; UserError if it cannot be read or is damaged."""
    try:
        return unseal(json.loads(read_text(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {_said(error)}.") from error


def read_object(path: pathlib.Path, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """A JSON file that must be an object with these keys, each of its type; UserError otherwise."""
    content = read_json(path)
    for key, type_ in types.items():
        if not isinstance(content, dict) or not is_a(content.get(key), type_):
            raise UserError(f"{path} is damaged: it has no valid {key!r}.")
    return content


def is_a(value: Any, types: type | tuple[type, ...]) -> bool:
    """`isinstance`, but that True and False are no numbers."""
    return isinstance(value, types) and (not isinstance(value, bool) or types is bool)


def read_text(path: pathlib.Path) -> str:
    """The content of a regular UTF-8 file; OSError or ValueError otherwise."""
    if path.is_symlink():
        raise ValueError("it is a link, and what it names may be anything")
    if path.exists() and not path.is_file():  # To open a pipe would wait for ever.
        raise ValueError("it is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, and may have {_MOST_BYTES:,}")
    return path.read_text(encoding="utf-8")


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def line(record: dict[str, Any]) -> str:
    """A sealed record as a line."""
    return json.dumps(seal(record)) + "\n"


def read_records(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    """The records of metrics.jsonl by epoch, without a line that a kill has torn or that is still being written.

    Raises:
      UserError: another line is no record of an epoch, or is damaged.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        records = [unseal(json.loads(line)) for line in read_text(path).split("\n")[:-1]]
        for record in records:
            if not is_a(record["epoch"], int) or not all(v is None or is_a(v, (int, float)) for v in record.values()):
                raise ValueError(f"what should be numbers is {record!r:.200}")
        return {record["epoch"]: record for record in records}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: a line before the last is no record of an epoch ({error!r}).") from error


def refuse_links(folder: pathlib.Path) -> None:
    """Raises UserError if anything below a folder is a link: a copied run must read nothing but its own files."""
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if os.path.islink(path := os.path.join(parent, name)):
                raise UserError(
                    f"{path} is a link, but a run is read from its own files alone: copy what it points to."
                )


class Lock:
    """Lets one process at a time train in a folder. The system releases the lock when the process ends, however it
    ends.

    Where the file system knows no such locks, nothing is refused.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        # The lock stays in the folder, and holds the name of its holder.
        self._lock = filelock.FileLock(
            folder / ".lock",
            blocking=False,
            thread_local=False,
            fallback_to_soft=False,
            preserve_lock_file=True,
            on_acquired=_write_holder,
        )

    def acquire(self) -> None:
        """Takes the lock. Raises Busy, which names the holder, if another process has it."""
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            try:
                holder = read_text(self._folder / ".lock").strip()
            except (OSError, ValueError):
                holder = ""
            raise Busy(
                f"{self._folder} is being trained by {holder or 'another process'}: wait until that has ended, or give "
                "another --workdir."
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def release(self) -> None:
        """Gives the lock back, if this object has it."""
        self._lock.release(force=True)


def _write_holder(descriptor: int) -> None:
    """Writes who has just taken a lock into its file."""
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {started}\n".encode())
