"""The members of a population, and the report of how each of them ends."""

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


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a population: its config, its folder, and where the config came from (see `resuming_command`)."""

    config: ConfigDict
    workdir: str | os.PathLike
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> Workdir:
        return Workdir(self.workdir)

    @property
    def ended(self) -> bool:
        """Whether the member is finished, or diverged, as it would again."""
        return self.files.result() is not None or (self.files.failure() or {}).get("kind") == "diverged"


class Watcher:
    """Is told, from several threads, how a population goes; this one shows nothing."""

    moves = False  # Whether to be told of images several times a second.

    def say(self, text: str) -> None:
        """A sentence about the population as a whole."""

    def images(self, count: int) -> None:
        """So many images were trained on."""

    def finished(self, member: Member, result: dict[str, Any] | None, failure: dict[str, str] | None) -> None:
        """A member has its result, or failed."""


@dataclasses.dataclass(frozen=True)
class Company:
    """Whom the members of a population report to: a watcher, a listener for signals, and the start of the process."""

    watcher: Watcher
    listener: Listener
    start: Start

    def images(self, count: int) -> None:
        """So many images of all members were trained on."""
        self.start.arrived()
        self.watcher.images(count)

    @contextlib.contextmanager
    def failing(self, *members: Member) -> Iterator[None]:
        """Turns any error within into the failure of these members, except of those that have ended."""
        try:
            yield
        except Exception as error:
            kinds = {Diverged: "diverged", OutOfMemory: "out of memory"}
            message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            failure = {"kind": kinds.get(type(error), "error"), "message": message}
            for member in (member for member in members if not member.ended):
                if not isinstance(error, Busy):  # Another process trains the run, which has not failed.
                    member.files.write_failure(**failure)
                self.watcher.finished(member, None, failure)
