"""Files and folders that are written whole or not at all. The next writer removes the rests of a killed one."""

from collections.abc import Iterator
import contextlib
import glob
import os
import pathlib
import re
import shutil
import threading
from typing import BinaryIO

import psutil

_living: set[pathlib.Path] = set()  # The temporary files and folders that threads of this process are writing.


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a temporary file in the folder of `path`, and gives it that name once everything is written.

        with writing(path) as file:
            file.write(content)

    Raises:
      OSError: the file cannot be written. Nothing is left, and an earlier file of the name stays.
    """
    with _temporary(path) as temporary:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)


@contextlib.contextmanager
def scratch(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a hidden folder beside `path`, from which a rename moves a file to `path`; removes the folder at the end.

    Makes the folder that holds both, too.

        with scratch(path) as folder:
            compile_to(folder / path.name)
            os.replace(folder / path.name, path)

    Raises:
      OSError: the folder, or what the block writes, cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as folder:
        folder.mkdir()
        yield folder


@contextlib.contextmanager
def _temporary(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a name for a temporary file or folder of this thread, and removes it at the end. Errors name `path`."""
    remove_rests(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    _living.add(temporary.absolute())
    try:
        yield temporary
    except OSError as error:
        if error.errno and (error.filename is None or os.fspath(error.filename).startswith(os.fspath(temporary))):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        _remove(temporary)
        _living.discard(temporary.absolute())


def remove_rests(path: pathlib.Path) -> None:
    """Removes the temporary files and folders that killed processes of this machine have left beside `path`."""
    for rest in {*path.absolute().parent.glob(f".{glob.escape(path.name)}.[0-9]*")} - _living:
        process = re.fullmatch(r"\.(\d{1,7})(-\d+)?", rest.suffix)
        if process and (int(process[1]) == os.getpid() or not psutil.pid_exists(int(process[1]))):
            _remove(rest)


def _remove(path: pathlib.Path) -> None:
    """Removes a file or a folder, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
