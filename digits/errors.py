"""Errors that a user can mend, each with one sentence that says how."""

from collections.abc import Iterator
import contextlib
import errno
import os
import re
from typing import Any


class UserError(Exception):
    """A mistake in a config, a flag, a file or the environment. The message names it and says what is accepted."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines instead of a traceback."""
        return [f"error: {self}"]


class Diverged(UserError):
    """The loss of a run stopped being a finite number."""


class Busy(UserError):
    """Another process is training in the folder."""


class OutOfMemory(UserError):
    """A run needs more memory than the device has."""


# Errors of the machine: an intact file may fail with them now, and can be read the next time.
OF_THE_MACHINE = {errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}
# With these, the errors of the system that concern a path that a user has named, or the disk it lies on.
_OF_PATHS = OF_THE_MACHINE | {
    errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
}  # fmt: skip
_NO_HOME = "Could not determine home directory"  # pathlib's words for "~" without HOME, or of an unknown user.
# How XLA, cuDNN and cuBLAS report a device without memory for them. The libraries need some before the first step.
_NO_MEMORY = (
    "RESOURCE_EXHAUSTED", "Out of memory", "CUDA_ERROR_OUT_OF_MEMORY", "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED", "CUBLAS_STATUS_ALLOC_FAILED",
    "DNN library initialization failed",
)  # fmt: skip


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns the refusal of a path by the system (no permission, too long, disk full, no home) into a UserError.

    And that of memory by the device, as of a GPU on which other programs run, into an OutOfMemory.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_PATHS:
            raise
        raise UserError(f"{error.filename or 'A file'} cannot be used ({error.strerror}).") from error
    except (RuntimeError, MemoryError) as error:  # JAX's own are among them.
        if _NO_HOME in str(error):
            raise UserError(
                "A path begins with ~, but the system knows no such home folder: write the folder, or set HOME."
            ) from error
        if not of_memory(error):
            raise
        raise OutOfMemory(
            "The device has too little memory left: end other programs that use it (nvidia-smi lists those of a GPU), "
            "choose another GPU with CUDA_VISIBLE_DEVICES, or use the processor with JAX_PLATFORMS=cpu."
        ) from error


@contextlib.contextmanager
def writing_to(path: os.PathLike, flag: str = "") -> Iterator[None]:
    """Turns an OSError within it into a UserError: the file or the folder, which a `flag` may name, cannot be written.

    with writing_to(path, "--output"):
        path.write_bytes(content)
    """
    try:
        yield
    except OSError as error:
        where, mended = (f"{flag} is {path}, which", ": name another") if flag else (path, "")
        raise UserError(f"{where} cannot be written ({reason(error)}){mended}.") from error


def of_memory(error: Exception) -> bool:
    """Whether an error means that the device, or the system, has too little memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def system_code(error: BaseException) -> int | None:
    """The system's number of an error, such as errno.EIO; also of TensorStore's, which tells it in its words alone."""
    told = re.search(r"\[os_error_code='(\d+)'", str(error))
    return int(told[1]) if told else getattr(error, "errno", None)


def reason(error: BaseException, with_type: bool = False) -> str:
    """The first line of another library's error, without a full stop, for a sentence of ours.

        raise UserError(f"{path} cannot be read: {reason(error)}.") from error

    An OSError gives the system's words without the path, and so does an error of TensorStore about a file. With its
    type, any error gives all its words: "KeyError: 'x'". An error without a message gives its type.
    """
    kind, text = type(error).__name__, str(error)
    if not with_type:
        # TensorStore's own words fill a page.
        text = getattr(error, "strerror", None) or (os.strerror(code) if (code := system_code(error)) else text)
    line = text.strip().split("\n")[0][:300].strip().rstrip(".")
    return f"{kind}: {line}" if with_type and line else line or kind


def require(ok: bool, field: str, value: Any, accepted: str) -> None:
    """Raises UserError unless `ok`: "config.epochs is 0, but it must be a whole number from 1."

    require(epochs >= 1, "epochs", epochs, "a whole number from 1")
    """
    if not ok:
        raise UserError(f"config.{field} is {value!r}, but it must be {accepted}.")
