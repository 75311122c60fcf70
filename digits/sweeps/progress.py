"""Shows the progress of several runs on the terminal: a bar over all their images, and a line for each that ends."""

import pathlib
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

from digits.sweeps.members import Member, Watcher

_AT_A_TIME = 2  # A usual machine trains at least so many runs at once.


class Runs(Watcher):
    """Shows a population on the terminal.

    Args:
      left: the images that each unfinished run must still be trained on.
      epoch_images: the images of one epoch.
    """

    def __init__(self, left: list[int], epoch_images: int):
        self._left, self._count, self._epoch = sum(left), len(left), epoch_images
        self._done, self._ended = 0, 0
        self._measured_from: tuple[float, int] | None = None  # Seconds on the clock, and images done by then.
        self._told = False  # Whether it has said how long the rest will take.
        self.moves = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._bar = tqdm(total=self._left, desc="all runs", unit=" images", unit_scale=True, leave=False, disable=None)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def images(self, count: int) -> None:
        """Moves the bar; says once, after about an epoch, how long the rest will take."""
        with self._lock:
            now, before = time.perf_counter(), self._done
            self._done += count
            self._bar.update(count)
            # The first epoch of the runs that go at once. Its first half is slower than the rest and not measured.
            first = min(_AT_A_TIME, self._count) * self._epoch
            if before < first / 2 <= self._done:
                self._measured_from = now, self._done
            elif self._measured_from and not self._told and self._done >= first:
                self._told = True
                began, done = self._measured_from
                seconds = (self._left - self._done) * (now - began) / (self._done - done)
                self.say(f"expected to take {duration(seconds)} more")

    def finished(self, member: Member, result: dict[str, Any] | None, failure: dict[str, str] | None) -> None:
        """Prints the line of a member that has its result or failed."""
        with self._lock:
            self._ended += 1
            name = pathlib.Path(member.workdir).name
            figures = f"failed: {failure['message']}" if failure else f"test accuracy {result['test_accuracy']:.4f}"
            self.say(f"{self._ended:>{len(str(self._count))}}/{self._count}  {name}  {figures}")

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def duration(seconds: float) -> str:
    """Writes seconds in the largest unit that they fill: "2.1 h", "3.0 min", "40 s"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
