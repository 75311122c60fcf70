"""Signals as a word to the training loop: it saves and stops where it can go on later."""

import signal
import threading


class Interrupted(Exception):
    """The run was stopped by a signal, and saved."""

    def __init__(self, number: int, command: str):
        super().__init__(f"Stopped by {signal.Signals(number).name} and saved. To go on:\n  {command}")
        self.exit_code = 128 + number


class Listener:
    """Within it, the first SIGINT or SIGTERM is kept in `heard`; a second one stops at once and without saving.

    Python lets only the main thread listen; in another one, nothing is ever heard.
    """

    def __init__(self):
        self.heard: int | None = None
        self._handlers = {}

    def __enter__(self) -> "Listener":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _hear(self, number, _frame) -> None:
        if self.heard:
            raise KeyboardInterrupt
        self.heard = number
