"""The members of a population, and the objects that they report to."""

from collections.abc import Iterator
import contextlib
import dataclasses
import os
from typing import Any

from ml_collections import ConfigDict

from digits.errors import Busy, Diverged, OutOfMemory, UserError
from digits.runs.workdir import Workdir
from digits.runtime.signals import Listener
from digits.training.startup import Start
from digits.training.tracking import TrackedRun, Tracking

SECONDS_BETWEEN_LOOKS = 1.0  # At signals, at free memory, and at the folders of Ray's tasks.


@dataclasses.dataclass(frozen=True)
class Member:
    """A run that a population trains; a run that is only read is a `sweep_folder.SweptRun`.

    Attributes:
      config: the config of the run.
      workdir: the folder of the run.
      origin: JSON about where the config came from, see `experiment_files.Given`.
    """

    config: ConfigDict
    workdir: str | os.PathLike
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> Workdir:
        return Workdir(self.workdir)

    @property
    def ended(self) -> bool:
        """Whether the run is finished or diverged; another try would diverge in the same way."""
        return self.files.result() is not None or (self.files.failure() or {}).get("kind") == "diverged"


class Watcher:
    """Receives the progress of a population, from several threads. This one ignores it; subclasses show it."""

    moves = False  # Whether `images` is to be called several times a second.

    def say(self, text: str) -> None:
        """Receives a sentence about the population as a whole."""

    def begun(self, member: Member) -> None:
        """Receives a member that begins, before its program is compiled."""

    def images(self, member: Member, count: int) -> None:
        """Receives the number of images that a member was trained on since the last call."""

    def finished(self, member: Member, result: dict[str, Any] | None, failure: dict[str, str] | None) -> None:
        """Receives the result or the failure of a member."""


@dataclasses.dataclass(frozen=True)
class Company:
    """The objects that all members of a population report to, or ask."""

    watcher: Watcher
    listener: Listener
    start: Start
    tracking: Tracking = dataclasses.field(default_factory=Tracking)
    _warned: set[str] = dataclasses.field(default_factory=set)

    def warn(self, text: str) -> None:
        """Says a sentence about some of the runs, once."""
        if text not in self._warned:
            self._warned.add(text)
            self.watcher.say(text)

    def tracked(self, member: Member) -> TrackedRun:
        """A context in which a member reports to the trackers."""
        return self.tracking.run(member.files, self.warn)

    def images(self, member: Member, count: int) -> None:
        """Reports images that a member was trained on."""
        self.start.arrived()
        self.watcher.images(member, count)

    @contextlib.contextmanager
    def failing(self, *members: Member) -> Iterator[None]:
        """Turns any error within it into the failure of those of these members that have not ended."""
        try:
            yield
        except Exception as error:
            kinds = {Diverged: "diverged", OutOfMemory: "out of memory"}
            message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            failure = {"kind": kinds.get(type(error), "error"), "message": message}
            for member in members:
                if member.ended:
                    continue
                if not isinstance(error, Busy):  # Another process trains the run, which has not failed.
                    # Its folder may be the failure: gone, full, no folder, or with a damaged config.json.
                    with contextlib.suppress(OSError, UserError):
                        member.files.write_failure(**failure)
                self.watcher.finished(member, None, failure)
