"""Estimates how long the rest of a population takes, from whole epochs with all that is done in and after them."""

import collections
from collections.abc import Iterable
import dataclasses
import heapq
import math
import statistics

from digits.config import numbers as config_numbers
from digits.sweeps.members import Member

# The first epoch's end compiles the validation. Only in a longer epoch that does not matter.
_LONG_EPOCH = 5.0
# A run ends with its test, its last checkpoint and its events: a second or two, unknown until one has ended.
_LONG_RUN = 10.0
_LATEST = 10  # Epochs of a program that are averaged.
# A program that has not been measured counts as the mean of others, if these are so many and so alike.
_OTHERS, _ALIKE = 3, 1.5


@dataclasses.dataclass
class _Course:
    """The course of a run that has not ended.

    Attributes:
      program: the structure of the config, and `epoch`: equal for the runs that share a program.
      epoch: the images of an epoch.
      left: the images that it is still to be trained on.
    """

    program: tuple[str, int]
    epoch: int
    left: int
    done: int = 0
    begun: float | None = None  # Seconds on the clock, as `epoch_ended`.
    epoch_ended: float | None = None


class TimeLeft:
    """Estimates the rest of a population's time. Its methods take the seconds on a clock.

    Args:
      members: the unfinished runs in the order in which they are trained, each with the images of an epoch.
    """

    def __init__(self, members: Iterable[tuple[Member, int]]):
        self._courses = {
            member.workdir: _Course(
                (config_numbers.structure(member.config), images),
                images,
                images * (member.config.epochs - len(member.files.history())),
            )
            for member, images in members
        }
        self._epochs: dict[tuple, collections.deque] = {}  # The seconds of epochs, by program.
        self._starts: dict[tuple, float] = {}  # The seconds from a program's first member to its first images.
        self._closing: float | None = None  # The seconds from a run's last epoch to its end.
        self._at_once = 0  # The most runs that were seen to train at the same time.

    @property
    def images_left(self) -> int:
        """The images that all runs are still to be trained on."""
        return sum(course.left for course in self._courses.values())

    def begun(self, member: Member, now: float) -> None:
        """Notes that a run begins."""
        self._courses[member.workdir].begun = now

    def images(self, member: Member, count: int, now: float) -> None:
        """Notes that a run was trained on so many images more."""
        course = self._courses[member.workdir]
        if not course.done and course.begun is not None:
            self._starts.setdefault(course.program, now - course.begun)
        epochs_before = course.done // course.epoch
        course.done, course.left = course.done + count, max(0, course.left - count)
        self._at_once = max(self._at_once, sum(one.done > 0 for one in self._courses.values()))
        if not (epochs := course.done // course.epoch - epochs_before):
            return
        if course.epoch_ended is not None:
            seconds = (now - course.epoch_ended) / epochs
            if epochs_before > 1 or seconds > _LONG_EPOCH:
                self._epochs.setdefault(course.program, collections.deque(maxlen=_LATEST)).append(seconds)
        course.epoch_ended = now

    def ended(self, member: Member, now: float, failed: bool) -> None:
        """Notes that a run has ended."""
        course = self._courses.pop(member.workdir, None)
        if course and course.epoch_ended is not None and not failed:
            self._closing = now - course.epoch_ended

    def seconds(self) -> float | None:
        """The seconds until all runs have ended; None as long as too little is measured.

        Gives every waiting run to the place that is free first, as the population does.
        """
        costs = [self._cost(course) for course in self._courses.values()]
        if not costs or None in costs:
            return None
        running = [cost for cost, course in zip(costs, self._courses.values()) if course.done]
        waiting = [cost for cost, course in zip(costs, self._courses.values()) if not course.done]
        places = running + [0.0] * (self._at_once - len(running))
        heapq.heapify(places)
        for cost in waiting:
            heapq.heapreplace(places, places[0] + cost)
        seconds, rounds = max(places), math.ceil(len(costs) / self._at_once)
        return None if self._closing is None and seconds < _LONG_RUN * rounds else seconds

    def _cost(self, course: _Course) -> float | None:
        """The seconds that a run still takes; None if nothing is known of its program."""
        if (per_image := self._seconds_per_image(course.program)) is None:
            return None
        cost = course.left * per_image + (self._closing or 0.0)
        if course.program not in self._starts and self._starts:
            cost += statistics.mean(self._starts.values())
        return cost

    def _seconds_per_image(self, program: tuple[str, int]) -> float | None:
        known = {one: statistics.mean(seconds) / one[1] for one, seconds in self._epochs.items()}
        if program in known:
            return known[program]
        alike = len(known) >= _OTHERS and max(known.values()) <= _ALIKE * min(known.values())
        return statistics.mean(known.values()) if alike else None
