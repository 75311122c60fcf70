"""Shows the progress of several runs on the terminal: a bar over all their images, and a line for each that ends."""

from collections.abc import Sequence
import pathlib
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

from digits.runtime import screen
from digits.sweeps.members import Member, Watcher
from digits.sweeps.time_left import TimeLeft

_WORTH_SAYING = 5.0  # Seconds: a shorter rest is not announced.


class Runs(Watcher):
    """Shows a population on the terminal.

    Args:
      members: the runs; those that have ended are left out.
      images: the images of an epoch, for each member.
    """

    def __init__(self, members: Sequence[Member], images: Sequence[int]):
        left = [(member, count) for member, count in zip(members, images, strict=True) if not member.ended]
        self._time_left = TimeLeft(left)
        self._count, self._ended = len(left), 0
        self._at_most = any(member.config.early_stopping.patience for member, _ in left)
        self._told = False  # Whether it has said how long the rest will take.
        self.moves = sys.stderr.isatty()
        self._lock = threading.Lock()
        # tqdm's own rate and time left count images of the last seconds, without all that is done between epochs.
        self._bar = tqdm(
            total=self._time_left.images_left,
            bar_format="{desc} {percentage:3.0f}%|{bar}|   ",  # Room for the terminal's ^C.
            dynamic_ncols=True,
            leave=False,
            disable=None,
        )
        self._describe(None)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def begun(self, member: Member) -> None:
        """Notes that a member begins, whose program may have to be compiled."""
        with self._lock:
            self._time_left.begun(member, time.perf_counter())

    def images(self, member: Member, count: int) -> None:
        """Moves the bar; says once, as soon as it is known, how long the rest will take."""
        with self._lock:
            self._time_left.images(member, count, time.perf_counter())
            seconds = self._time_left.seconds()
            self._describe(seconds)
            self._bar.update(count)
            if seconds is not None and not self._told:
                self._told = True
                if seconds >= _WORTH_SAYING:
                    self.say(f"expected to take {'at most ' * self._at_most}{duration(seconds)} more")

    def _describe(self, seconds: float | None) -> None:
        left = "" if seconds is None else f", {duration(seconds)} left"
        self._bar.set_description_str(f"{self._ended} of {self._count} runs ended{left}", refresh=False)

    def finished(self, member: Member, result: dict[str, Any] | None, failure: dict[str, str] | None) -> None:
        """Prints the line of a member that has its result or failed."""
        with self._lock:
            self._ended += 1
            self._time_left.ended(member, time.perf_counter(), failed=failure is not None)
            self._describe(self._time_left.seconds())
            figures = failure["kind"] if failure else f"test accuracy {result['test_accuracy']:.4f}"
            number = f"{self._ended:>{len(str(self._count))}}/{self._count}"
            self.say(screen.cut(f"{number}  {figures:20}  {pathlib.Path(member.workdir).name}", screen.width()))

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Writes seconds in the largest unit that they fill: "2.1 h", "3.0 min", "40 s"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
