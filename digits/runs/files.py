"""Writes the files of runs whole or not at all, seals them against damage, and reads them with suspicion. Needs no JAX.

    write_json(path, {"epochs": 3})
    read_object(path, epochs=int)

The seal of a JSON object is the CRC-32 of its content, under the key "check": it finds a few wrong bits. A file without
one, from an older run or written by hand, is believed. The records of a run are a chain: the check of each covers the
check before it, and that of the first covers the run's identity, so that a record of another run, or one that is
missing, repeated or out of order, is found. Links that lead out of a run's folder are not followed, and a file that is
larger than any of its kind is not read.
"""

from collections.abc import Callable, Iterable
import json
import os
import pathlib
import re
import stat
from typing import Any
import zlib

from digits.errors import UserError, reason, writing_to
from digits.runtime import atomic, paths

_CHECK = "check"
_MOST_BYTES = 2**28  # A record is 250 bytes: a million epochs.
_LONGEST_LINE = 2**12  # A record with nine numbers and their names has a tenth of it.


def replace(path: pathlib.Path, content: bytes) -> None:
    """Writes a file, whole or not at all, also where the power fails; OSError if it cannot be written."""
    with atomic.writing(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a file as `replace` does, and makes its folder; UserError if it cannot be written."""
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """Adds the check to a JSON object."""
    return content | {_CHECK: _crc(content)}


def unseal(content: Any, required: bool = False) -> Any:
    """Removes the check from a JSON object; ValueError if the content does not fit it, or lacks a `required` one."""
    if not isinstance(content, dict) or _CHECK not in content:
        if required:
            raise ValueError("it has no check")
        return content
    content = dict(content)
    if content.pop(_CHECK) != _crc(content):
        raise ValueError("its check does not fit its content")
    return content


def _crc(content: dict[str, Any], before: str = "") -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode(), zlib.crc32(before.encode())):08x}"


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
        raise UserError(f"{path} cannot be read as JSON: {reason(error)}.") from error


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
    """Reads a regular UTF-8 file; OSError or ValueError if it is none, UserError if it is a link out of its folder."""
    if path.is_symlink() and _leads_out(path, path.parent):
        raise _link(path)
    with paths.opened(path, _MOST_BYTES) as file:
        return file.read().decode()


def write_records(path: pathlib.Path, records: Iterable[dict[str, Any]], run: str | None) -> None:
    """Writes all records of a run, whole or not at all, in the place of others; OSError if they cannot be written."""
    lines, before = [], run
    for record in records:
        lines.append(_line(record, before))
        before = before and _check_of(lines[-1])
    replace(path, "".join(lines).encode())


def append_record(path: pathlib.Path, record: dict[str, Any], run: str | None) -> None:
    """Adds the record of an epoch to those of a run; OSError if it cannot be written.

    append_record(path, {"epoch": 3, "loss": 0.05}, run)

    Args:
      path: the metrics.jsonl; made if it is not there.
      record: numbers by name.
      run: the run's identity; None for a run of an earlier version, whose records are no chain.
    """
    with open(path, "a+b") as file:
        file.seek(max(file.tell() - _LONGEST_LINE, 0))
        lines = file.read().splitlines()
        file.write(_line(record, run and (_check_of(lines[-1]) if lines else run)).encode())


def _line(record: dict[str, Any], before: str | None) -> str:
    """A record as a sealed line, whose check covers `before`: the check of the line before, or the run's identity."""
    return json.dumps(record | {_CHECK: _crc(record, before or "")}) + "\n"


def _check_of(line: str | bytes) -> str:
    return json.loads(line)[_CHECK]


def read_records(path: pathlib.Path, run: str | None) -> list[dict[str, Any]]:
    """Reads the records of a run, one an epoch. Ignores a last line that is torn or still being written.

    read_records(path, run)[-1]["val_accuracy"]

    Args:
      path: the metrics.jsonl; without one, there are no records.
      run: see `append_record`.

    Raises:
      UserError: another line is damaged, no record of an epoch, not of this run, or not in its place.
    """
    if not path.exists() and not path.is_symlink():
        return []
    records, before = [], run or ""
    try:
        for number, line in enumerate(read_text(path).split("\n")[:-1], 1):
            record = json.loads(line)
            check = record.pop(_CHECK, None)
            if (check or run) and check != _crc(record, before):
                # The same record in another place has the same content, but another check.
                raise ValueError("it is damaged, of another run, or not in its place")
            if not all(value is None or is_a(value, (int, float)) for value in record.values()):
                raise ValueError(f"not all of its values are numbers: {record!r:.200}")
            if not is_a(record["epoch"], int) or record["epoch"] != number:
                raise ValueError(f"its epoch is {record['epoch']}")
            records.append(record)
            before = check if run else ""
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}.") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged: line {len(records) + 1} is not the record of that epoch ({error})."
        ) from error
    return records


def check_entries(folder: pathlib.Path, most_bytes: Callable[[pathlib.Path], int]) -> None:
    """Raises UserError unless a folder of a run can be read: opening a pipe, or a file without end, would hang.

        check_entries(folder, lambda path: 2**24)

    Every entry below the folder must be a folder, a file of at most `most_bytes(path)` bytes, or a link to either that
    does not lead out of the folder, as the folder itself must not lead out of its own.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # A training run replaces its checkpoints meanwhile.
            raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error

    if folder.is_symlink() and _leads_out(folder, folder.parent):
        raise _link(folder)
    for parent, folders, names in os.walk(folder, onerror=refuse):
        for name in (*folders, *names):
            path = pathlib.Path(parent, name)
            if path.is_symlink() and _leads_out(path, folder):
                raise _link(path)
        for name in names:
            path = pathlib.Path(parent, name)
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path} is neither a file nor a folder, but a run has nothing else: remove it.")
            if status.st_size > (most := most_bytes(path)):
                raise UserError(f"{path} is damaged: it has {status.st_size:,} bytes, and may have {most:,}.")


def _link(path: pathlib.Path) -> UserError:
    return UserError(
        f"{path} is a link that leads out of the run, but a run is read from its own files alone: copy the file or "
        "folder itself."
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
