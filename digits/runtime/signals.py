"""Signals: the first SIGINT or SIGTERM is acknowledged and kept until the training loop can save; the second ends.

A command of digits begins with `end_at_once` (digits/__init__.py). Only a `Listener` changes that, while it trains.
"""

import contextlib
import os
import signal
import threading

_ACKNOWLEDGED = {
    signal.SIGINT: "stopping after this step and saving",
    signal.SIGTERM: "SIGTERM: stopping after this step and saving",
}
_AGAIN = {signal.SIGINT: "; Ctrl-C again to stop without saving"}  # A command.
_ENDED = "stopped without saving; the same command goes on from a checkpoint, if any"


def end_at_once() -> None:
    """Lets Ctrl-C end the process as the system does: at once and without a traceback. A shell sees exit code 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Not in the background, where it is ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Interrupted(Exception):
    """A signal stopped the run, which was saved. The message says how to go on."""

    def __init__(self, number: int, command: str):
        super().__init__(f"Stopped by {signal.Signals(number).name} and saved. To go on:\n  {command}")
        self.exit_code = 128 + number


class Listener:
    """A context that keeps the first SIGINT or SIGTERM in `heard`.

    A second one ends a command of digits, with exit code 128 + signal. A notebook or another program, which handles
    SIGINT and lives on, must wait for the save: a second one would only tear the training from the threads that write.
    Python delivers signals to the main thread alone; in another thread a listener hears nothing.

        with Listener() as listener:
            while not listener.heard:
                train_a_little()
    """

    def __init__(self):
        self.heard: int | None = None
        self._handlers = {}
        self._ends = False  # Whether a second signal ends the process.
        self._wakeup, self._previous_wakeup = -1, -1

    def __enter__(self) -> "Listener":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
            self._ends = self._handlers[signal.SIGINT] == signal.SIG_DFL
            # Python calls a handler between two of its own instructions, which may be seconds apart: the main thread
            # waits in XLA. The system writes the signal's number into a pipe at once, and a thread answers.
            read, self._wakeup = os.pipe()
            os.set_blocking(self._wakeup, False)
            self._previous_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
            threading.Thread(target=self._answer, args=(read,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        if self._handlers:
            signal.set_wakeup_fd(self._previous_wakeup)
            os.close(self._wakeup)  # Ends the thread.
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _hear(self, number, _frame) -> None:
        self.heard = self.heard or number

    def _answer(self, read: int) -> None:
        """Acknowledges the first signal. Ends the process after the second, if nobody else handles SIGINT."""
        first = True
        with open(read, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if not (text := _ACKNOWLEDGED.get(number[0])):
                    continue
                if first:
                    _tell(text + (_AGAIN.get(number[0], "") if self._ends else ""))
                elif self._ends:
                    with contextlib.suppress(OSError):
                        _tell(_ENDED, _streams_of_its_own())
                    os._exit(128 + number[0])  # What is saved is whole after any kill; compilers need not be awaited.
                first = False


def _tell(text: str, stderr: int = 2) -> None:
    """Writes a line to stderr, in place of a bar: also while another thread is in the middle of a print."""
    start = "\r\x1b[K" if os.isatty(stderr) and os.environ.get("TERM") != "dumb" else ""
    with contextlib.suppress(OSError):
        os.write(stderr, f"{start}{text}\n".encode())


def _streams_of_its_own() -> int:
    """Takes stdout and stderr from the other threads, whose bar would stand before the prompt; returns stderr."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return stderr
