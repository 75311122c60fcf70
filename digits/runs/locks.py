"""Locks the folders of runs and sweeps, so that one process at a time trains in each. Needs no JAX.

lock = Lock(folder)
lock.acquire()
"""

import errno
import functools
import os
import pathlib
import platform
import time

import filelock

from digits.errors import Busy, UserError
from digits.runs.files import read_text

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # A file system that has no locks.
_SECONDS_OF_A_LOOK = 0.2  # `in_use` takes the lock for a moment. A process that trains keeps it for longer.


class Lock:
    """Lets one process at a time train in a folder; any end of the process releases the lock.

    On a file system without such locks, nothing is refused, and a line says so once.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        # The file stays in the folder and names the holder of the lock.
        self._lock = filelock.FileLock(
            folder / ".lock",
            timeout=_SECONDS_OF_A_LOOK,
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
            raise _busy(self._folder) from error
        except OSError as error:
            if error.errno in _NO_LOCKS:
                _say_unguarded()
            elif os.path.lexists(path := self._folder / ".lock"):  # A folder, a link, or the file of another user.
                raise UserError(
                    f"{path} cannot be locked ({error.strerror}): remove it, or give another --workdir."
                ) from error
            else:
                raise

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
            path, timeout=_SECONDS_OF_A_LOOK, fallback_to_soft=False, preserve_lock_file=True
        ).acquire().lock.release()
    except filelock.Timeout:
        return True
    except OSError:  # A file system without locks, or a folder of another user.
        return False
    return False


def refuse_used(folder: pathlib.Path) -> None:
    """Raises Busy, which names the process, if one is training in the folder."""
    if in_use(folder):
        raise _busy(folder)


def _busy(folder: pathlib.Path) -> Busy:
    try:
        holder = read_text(folder / ".lock").strip()
    except (OSError, ValueError):
        holder = ""
    return Busy(
        f"{folder} is being trained by {holder or 'another process'}: wait until that has ended, or give another "
        "--workdir."
    )


def _write_holder(descriptor: int) -> None:
    """Writes into a lock's file which process has taken it."""
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {started}\n".encode())
