"""Signals, kept until the training loop can save: the first SIGINT or SIGTERM is noted, the second stops at once."""

import signal
import threading


class Interrupted(Exception):
    """A signal stopped the run, which was saved. The message says how to go on."""

    def __init__(self, number: int, command: str):
        super().__init__(f"Stopped by {signal.Signals(number).name} and saved. To go on:\n  {command}")
        self.exit_code = 128 + number


class Listener:
    """A context that keeps the first SIGINT or SIGTERM in `heard`; a second one raises KeyboardInterrupt.

    Python delivers signals to the main thread alone; in another thread a listener hears nothing.

        with Listener() as listener:
            while not listener.heard:
                train_a_little()
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
