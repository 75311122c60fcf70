"""The standard streams of a command: closed (`>&-`), full, or a pipe that nobody reads any more, as in `| head`."""

from collections.abc import Callable, Iterator
import contextlib
import os
import sys
from typing import Any, TextIO

from digits.errors import UserError, reason

CLOSED = 141  # The exit code of a shell's own commands whose pipe is closed: 128 + SIGPIPE.


def open_missing() -> None:
    """Opens /dev/null for those of stdin, stdout and stderr that are closed; a command begins with it.

    Otherwise the next file that is opened, such as a checkpoint, would have the stream's number, and receive its text.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # It gets the lowest number that is free.


@contextlib.contextmanager
def guarded(needed: bool) -> Iterator[None]:
    """Lets a command go on to its end whatever becomes of its output, unless its output is `needed`.

    with guarded(needed=False):
        train()
    """
    with contextlib.redirect_stdout(Output(sys.stdout, needed)), contextlib.redirect_stderr(Output(sys.stderr)):
        yield


class Output:
    """A text stream that drops what cannot be written.

    If its text is `needed`, raises UserError instead; SystemExit with the code CLOSED where its reader has gone, who
    wants no more.
    """

    def __init__(self, stream: TextIO | None, needed: bool = False):
        # Python has no stream for a closed one. This one cannot be written either.
        self._stream = stream or open(os.open(os.devnull, os.O_RDONLY), "w")
        self._needed = needed

    def write(self, text: str) -> int:
        """Writes a text."""
        self._call(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        self._call(self._stream.flush)

    def _call(self, function: Callable[..., Any], *arguments: str) -> None:
        try:
            function(*arguments)
        except OSError as error:
            # The system takes and forgets what is still in the stream's buffer, and all that follows.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            if self._needed and isinstance(error, BrokenPipeError):
                raise SystemExit(CLOSED) from None
            if self._needed:
                raise UserError(f"The standard output cannot be written: {reason(error)}.") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
