"""Files that are written whole or not at all."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
from typing import BinaryIO


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a temporary file in the folder of `path`, and gives it that name once everything is written.

        with writing(path) as file:
            file.write(content)

    Raises:
      OSError: the file cannot be written. Nothing is left, and an earlier file of the name stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # Where the folder is a file, even a missing one cannot be removed.
            temporary.unlink()
        raise
