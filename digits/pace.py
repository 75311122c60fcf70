"""How many steps one call of a program makes: enough to be fast, few enough to move a bar and to notice a signal."""

from digits import processes
from digits.signals import Listener

# Wanted seconds of one call of the compiled epoch: the first where a bar moves, the second until a signal is noticed.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


class Pace:
    """How many steps the next call makes, and whether a signal stops the run. All processes agree on both."""

    def __init__(self, listener: Listener):
        self._listener, self._agreed = listener, None
        self.seconds_per_step: float | None = None
        self.steps = 1

    def agree(self, seconds_per_step: float, often: bool) -> None:
        """After each call, takes the steps that the first process wants, and a signal that any process has heard."""
        self.seconds_per_step = seconds_per_step
        wanted = _SECONDS_BETWEEN_UPDATES if often else _SECONDS_BETWEEN_LOOKS
        answers = processes.gather(self._listener.heard or 0, max(1, round(wanted / seconds_per_step)))
        self._agreed, self.steps = int(answers[:, 0].max()) or None, int(answers[0, 1])

    @property
    def heard(self) -> int | None:
        """The signal that stops the run; one of several processes waits until all have agreed on it."""
        return self._agreed if processes.several() else self._listener.heard
