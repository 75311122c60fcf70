"""Output to a pipe that its reader has closed, as in `| head`: nobody wants the rest, and nothing is wrong."""

from collections.abc import Iterator
import contextlib
import os
import sys
from typing import Any, TextIO

CLOSED = 141  # The exit code of a shell's own commands then: 128 + SIGPIPE.


@contextlib.contextmanager
def ending_quietly() -> Iterator[None]:
    """Ends a command whose output nobody reads any more: SystemExit with the code CLOSED, and no traceback."""
    try:
        yield
        sys.stdout.flush()  # Python's own flush, at its exit, would complain.
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
        raise SystemExit(CLOSED) from None


class Unread:
    """A text stream for a command that must come to its end, also when nobody reads its output any more.

    with contextlib.redirect_stdout(Unread(sys.stdout)):
        train()
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text, or drops it if the pipe is closed."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            _to_nowhere(self._stream)
            return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            _to_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _to_nowhere(stream: TextIO) -> None:
    """Lets the system take and forget what is still in the stream's buffer, and all that follows."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
