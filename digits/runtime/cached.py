"""Files of the cache folder: read only if they are what was written, made anew otherwise. Needs no JAX.

    keep(path, b"a compiled program")
    read(path)  # The same bytes; None once the file is damaged.

The SHA-256 of the content stands behind it in the file. A library or a compiled program that was cut or has a wrong bit
would otherwise end the process, or calculate something else.
"""

from collections.abc import Callable
import hashlib
import pathlib
import sys
from typing import Any, BinaryIO

from digits.errors import reason
from digits.runtime import atomic, machine, paths

_MOST_BYTES = 2**28
_DIGEST_BYTES = hashlib.sha256().digest_size
_told: set[str] = set()  # The cache folders of which a sentence has said that they cannot be written.


def read(path: pathlib.Path) -> bytes | None:
    """Reads the content that `keep` wrote; None if there is none, or the file is another one or damaged."""
    try:
        with paths.opened(path, _MOST_BYTES) as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return None
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


def keep(path: pathlib.Path, content: bytes) -> None:
    """Writes a file with its digest. If it cannot be written, says so and goes on."""
    write(path, lambda file: file.write(content + hashlib.sha256(content).digest()))


def write(path: pathlib.Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Makes a file, whole or not at all, that `fill` writes. If it cannot be written, says so and goes on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(path) as file:
            fill(file)
    except OSError as error:
        folder = str(machine.cache_dir())
        if folder not in _told:  # A folder that cannot be written is one sentence, not one for each file.
            _told.add(folder)
            print(
                f"{path} cannot be written ({reason(error)}), so it is made anew at every start: make room in "
                f"{folder} and let it be written, or set DIGITS_CACHE_DIR to another folder.",
                file=sys.stderr,
                flush=True,
            )


class Programs:
    """The programs that JAX has compiled, in a folder: the interface of JAX's own cache, for `private.keep_programs`.

    JAX's own reads a pipe for ever, does not replace a damaged file, and warns of it for each program at every start.
    """

    def __init__(self, folder: pathlib.Path):
        self._path = folder

    def get(self, key: str) -> Any:
        return read(self._path / f"{key}-cache")

    def put(self, key: str, value: bytes) -> None:
        keep(self._path / f"{key}-cache", value)
