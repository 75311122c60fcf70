"""Paths that people write: ~ is their home folder, also behind = and in environment variables; addresses are none.

Files that are opened with suspicion: never a pipe, nor more bytes than expected.
"""

import os
import pathlib
import re
import stat
from typing import BinaryIO

from digits.errors import UserError, refusals


def local(path: str | os.PathLike, what: str) -> pathlib.Path:
    """A path on this machine, with the home folder in place of ~: local("~/runs/a", "--workdir").

    A shell replaces ~ only at the start of a word, and not in --workdir=~/runs.

    Raises:
      UserError: the path, which is that of `what`, is an address such as gs://bucket, or nobody knows the home folder.
    """
    if address := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", os.fspath(path)):  # C:/ has one letter.
        scheme = address[1].lower()
        way = {"gs": "mount the bucket with gcsfuse", "s3": "mount the bucket with mount-s3 or s3fs"}.get(scheme)
        way = "leave out file://" if scheme == "file" else f"{way or 'mount it as a folder'}, or copy it here"
        raise UserError(f"{what} is {os.fspath(path)!r}, but it must be a path on this machine: {way}.")
    with refusals():
        return pathlib.Path(path).expanduser()


def folder_of(variable: str) -> str | None:
    """The folder that an environment variable names, with the home folder in place of ~; None if it names none."""
    given = os.environ.get(variable)
    return str(local(given, variable)) if given else None


def opened(path: pathlib.Path, most: int) -> BinaryIO:
    """Opens a regular file of at most so many bytes; OSError if it is none. Never waits, as a pipe would make it."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    about = os.fstat(file.fileno())
    if stat.S_ISREG(about.st_mode) and about.st_size <= most:
        return file
    file.close()
    raise OSError(f"it is no file of at most {most:,} bytes")
