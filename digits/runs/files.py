"""Writes the files of runs whole or not at all, seals them against damage, and reads them with suspicion. Needs no JAX.

    write_json(path, {"epochs": 3})
    read_object(path, epochs=int)

The seal of a JSON object is the CRC-32 of its content, under the key "check": it finds a few wrong bits. A file without
one, from an older run or written by hand, is believed. Links that lead out of a run's folder are not followed, and a
file that is larger than any of its kind is not read.
"""

import errno
import functools
import json
import os
import pathlib
import platform
import re
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
    """Writes a file as `replace` does, and makes its folder; UserError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}).") from error


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Adds the check to a JSON object."""
    return content | {_CHECK: _crc(content)}


def unseal(content: Any) -> Any:
    """Removes the check from a JSON object; ValueError if the content does not fit it."""
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
    """Reads a JSON file; UserError if it cannot be read or is damaged."""
    try:
        return unseal(json.loads(read_text(path)))
    except RecursionError as error:
        raise UserError(f"{path} cannot be read as JSON: it is nested too deeply.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from error


def read_object(path: pathlib.Path, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """Reads a JSON file, which must be an object with these keys and types: read_object(path, epochs=int).

    Raises:
      UserError: the file cannot be read, is damaged, or holds something else.
    """
    content = read_json(path)
    for key, type_ in types.items():
        if not isinstance(content, dict) or not is_a(content.get(key), type_):
            raise UserError(f"{path} is damaged: it has no valid {key!r}.")
    return content


def is_a(value: Any, types: type | tuple[type, ...]) -> bool:
    """Like `isinstance`, but True and False are not numbers."""
    return isinstance(value, types) and (not isinstance(value, bool) or types is bool)


def read_text(path: pathlib.Path) -> str:
    """Reads a regular UTF-8 file; OSError or ValueError if it is none."""
    if path.is_symlink() and _leads_out(path, path.parent):
        raise ValueError("it is a link that leads out of its folder")
    if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
        raise ValueError("it is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, and may have {_MOST_BYTES:,}")
    return path.read_text(encoding="utf-8")


def line(record: dict[str, Any]) -> str:
    """A record of metrics.jsonl as a sealed line."""
    return json.dumps(seal(record)) + "\n"


def read_records(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    """Reads the records of metrics.jsonl by epoch. Ignores a last line that is torn or still being written.

    Raises:
      UserError: another line is damaged or no record of an epoch.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        records = [unseal(json.loads(line)) for line in read_text(path).split("\n")[:-1]]
        for record in records:
            if not is_a(record["epoch"], int) or not all(v is None or is_a(v, (int, float)) for v in record.values()):
                raise ValueError(f"not all of its values are numbers: {record!r:.200}")
        return {record["epoch"]: record for record in records}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: a line before the last is no record of an epoch ({error!r}).") from error


def refuse_links(folder: pathlib.Path) -> None:
    """Raises UserError if a link leads out of a folder: a copied run must read only its own files."""
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if os.path.islink(path := os.path.join(parent, name)) and _leads_out(pathlib.Path(path), folder):
                raise UserError(
                    f"{path} is a link that leads out of the run, but a run is read from its own files alone: copy the "
                    "file or folder itself."
                )


def _leads_out(link: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a link's target lies neither in the folder nor among the files of the same snapshot.

    The cache of the Hugging Face hub keeps the content of all files in models--NAME/blobs. A snapshot, which is the
    folder models--NAME/snapshots/REVISION, has links to them.
    """
    try:
        target, own = link.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError):  # Nothing is there, or links go round in a circle.
        return True
    if target.is_relative_to(own):
        return False
    for snapshot in (own, *own.parents):
        if snapshot.parent.name == "snapshots" and re.match("(models|datasets|spaces)--.", snapshot.parents[1].name):
            # Only to files: the links in another folder would not be looked at.
            return not target.is_relative_to(snapshot.parents[1] / "blobs") or not target.is_file()
    return True


class Lock:
    """Lets one process at a time train in a folder; any end of the process releases the lock.

    On a file system without such locks, nothing is refused, and a line says so once.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        # The file stays in the folder and names the holder of the lock.
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
            _say_unguarded()

    def release(self) -> None:
        """Releases the lock, if this object holds it."""
        self._lock.release(force=True)


@functools.cache
def _say_unguarded() -> None:
    """Says it once, and not for each of a sweep's runs."""
    print(
        "The file system has no locks: do not train in the same folder twice at a time, nothing prevents it.",
        flush=True,
    )


def in_use(folder: pathlib.Path) -> bool:
    """Whether a process is training in the folder: it has the lock. Leaves the lock's file as it is."""
    path = folder / ".lock"
    if path.is_symlink() or not path.is_file():
        return False
    try:
        filelock.FileLock(
            path, blocking=False, fallback_to_soft=False, preserve_lock_file=True
        ).acquire().lock.release()
    except filelock.Timeout:
        return True
    except OSError:  # A file system without locks, or a folder of another user.
        return False
    return False


def _write_holder(descriptor: int) -> None:
    """Writes into a lock's file which process has taken it."""
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {started}\n".encode())


def one_record(path: pathlib.Path, epoch: int | None) -> tuple[int, dict[str, Any]]:
    """Counts the records of a metrics.jsonl and reads that of an epoch, or the last; UserError if this is damaged.

    epochs, record = one_record(pathlib.Path("runs/simple_cnn/metrics.jsonl"), 3)
    """
    if not path.exists() and not path.is_symlink():
        return 0, {}
    try:
        lines = read_text(path).split("\n")[:-1]
        if not lines and epoch is None:
            return 0, {}
        # Parsing one line of a thousand is a thousandth of the time.
        wanted = lines if epoch is None else [line for line in lines if line.startswith(f'{{"epoch": {epoch},')]
        if not wanted:
            raise ValueError(f"epoch {epoch}, which was tested, is not in it")
        record = unseal(json.loads(wanted[-1]))
        if not all(value is None or is_a(value, (int, float)) for value in record.values()):
            raise ValueError("a record of an epoch has numbers alone")
        return len(lines), record
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
