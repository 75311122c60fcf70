"""Many runs as few programs: members that differ in seed, fold and numbers are trained by one compiled program.

Every member is a run like any other: a directory with its own records, checkpoints, plateau and early-stopping rules.
There are two ways to share a device (`config.population.sharing`):

mapped: the members call the single run's own program, several at a time in threads, spread over the local devices.
    Their results have the same bits as single runs on one device.
batched: the members are a leading axis of one program (`jax.vmap`), sharded over the local devices. Their results are
    those of single runs up to rounding, which training in float32 enlarges as it does between two kinds of device.
"""

from collections.abc import Sequence
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import threading
import time
from typing import Any

import jax
from ml_collections import ConfigDict

from digits import batch, record, scalars, startup, terminal
from digits.config import convert, name_of, with_values
from digits.errors import Busy, Diverged, OutOfMemory, UserError
from digits.interrupt import Interrupted, Listener
from digits.program import Shared, prepare_jax
from digits.checks import check
from digits.train import Training

# A CPU of two cores trains dense networks 1.3 times, CNNs 1.5 to 1.9 times as fast mapped as batched: two programs keep
# two cores busier than one does (benchmarks/README.md). On accelerators, which small networks leave idle, batched is the
# choice of the literature (Whitney 2021); it was not measured here.
_SHARING = {"cpu": "mapped"}
_SECONDS_BETWEEN_LOOKS = 1.0  # At the free memory, and for signals.


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a population: its config, its directory, and where the config came from (see terminal.command)."""

    config: ConfigDict
    workdir: str | os.PathLike
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> record.Workdir:
        return record.Workdir(self.workdir)

    @property
    def ended(self) -> bool:
        """Whether it is finished, or diverged, which it would do again."""
        return self.files.result() is not None or (self.files.failure() or {}).get("kind") == "diverged"


class Watcher:
    """Is told how a population goes, from several threads; this one shows nothing."""

    moves = False  # Whether to be told of images several times a second.

    def say(self, text: str) -> None:
        """A sentence about the population as a whole."""

    def images(self, count: int) -> None:
        """So many images were trained on."""

    def finished(self, member: Member, result: dict[str, Any] | None, failure: dict[str, str] | None) -> None:
        """A member has its result, or failed."""


def sharing(config: ConfigDict) -> str:
    """The way to share a device, mapped or batched: what the config forces, or the faster one here."""
    chosen = config.population.sharing
    return _SHARING.get(jax.default_backend(), "batched") if chosen == "auto" else chosen


def workers(config: ConfigDict) -> int:
    """How many mapped members run at a time on each local device."""
    if config.population.workers or jax.default_backend() != "cpu":
        return config.population.workers or 1
    return max(1, record.cores() // jax.local_device_count())


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members by structure, in the order of each structure's first: those of a group share a program.

    Folds of different sizes still need a program each.
    """
    by_structure = collections.defaultdict(list)
    for member in members:
        by_structure[scalars.structure(member.config)].append(member)
    return list(by_structure.values())


def train(
    config: ConfigDict, values: Sequence[dict[str, Any]], workdir: str | os.PathLike, data_dir: str | None = None
) -> list[dict[str, Any] | None]:
    """Trains a member for each of `values`, fields and what they are in it: `[{"seed": 0}, {"seed": 1}]`.

    Each is what `train_and_evaluate` makes of the config with these values, in a folder of `workdir` named after them.
    Returns and raises as `train_members`, `data_dir` as there.
    """
    own = [{field: convert(field, value) for field, value in given.items()} for given in values]
    folder = pathlib.Path(workdir)
    return train_members([Member(with_values(config, v), folder / name_of(v)) for v in own], data_dir)


def train_members(
    members: Sequence[Member],
    data_dir: str | None = None,
    start: startup.Start | None = None,
    watcher: Watcher | None = None,
    listener: Listener | None = None,
    command: str = "the same call",
) -> list[dict[str, Any] | None]:
    """Trains, or goes on training, every member.

    A member that fails does not stop the others: it leaves a failure.json, and one that diverged is not tried again.

    Args:
      members: all on the same dataset (`config.data.name`).
      data_dir, start: as of `train.train_and_evaluate`.
      watcher: is told how it goes.
      listener: listens for signals already; otherwise this call does.
      command: what goes on with an interrupted population.

    Returns:
      The content of each member's result.json; None for one that failed.

    Raises:
      UserError: a config, the data or a directory does not allow it; nothing was trained.
      Interrupted: SIGINT or SIGTERM; every member was saved.
    """
    watcher, listening = watcher or Watcher(), contextlib.nullcontext(listener) if listener else Listener()
    start = start or startup.Start(members[0].config.data.name, data_dir)
    for member in members:
        check(member.config)
        member.files.check(member.config)
    left = [member for member in members if not member.ended]
    if left:
        prepare_jax(members[0].config)
        with listening as listener:
            _Population(left, start, watcher, listener).train()
            if listener.heard:
                raise Interrupted(listener.heard, command)
    return [member.files.result() for member in members]


class _Population:
    """The members that are not finished yet, on the devices of this process."""

    def __init__(self, members: Sequence[Member], start: startup.Start, watcher: Watcher, listener: Listener):
        self.watcher, self.listener, self.start = watcher, listener, start
        self.waiting = collections.deque(member for group in groups(members) for member in group)
        self.room, self.running = threading.Condition(), 0

    def train(self) -> None:
        batched = [member for member in self.waiting if sharing(member.config) == "batched"]
        self.waiting = collections.deque(member for member in self.waiting if sharing(member.config) == "mapped")
        shared = Shared(functools.partial(self.start.dataset, keep=True))
        for group in groups(batched):
            self._train_batched(group, shared)
        if self.waiting:
            self._train_mapped(shared)

    # Mapped

    def _train_mapped(self, shared: Shared) -> None:
        devices = jax.local_devices()
        count = min(workers(self.waiting[0].config) * len(devices), len(self.waiting))
        own = [shared, *(Shared(shared.dataset) for _ in devices[1:count])]
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            places = [(devices[i % len(devices)], own[i % len(devices)]) for i in range(count)]
            left = {pool.submit(self._work, *place) for place in places}
            while left:
                # Python hears a signal in this thread alone. One that comes to a suspended process may wake another.
                done, left = concurrent.futures.wait(left, _SECONDS_BETWEEN_LOOKS)
                for worker in done:
                    worker.result()

    def _work(self, device: jax.Device, shared: Shared) -> None:
        with jax.default_device(device):
            while not self.listener.heard:
                try:
                    member = self.waiting.popleft()
                except IndexError:
                    return
                with self._failing(member):
                    self._train_one(member, shared, device)

    def _train_one(self, member: Member, shared: Shared, device: jax.Device) -> None:
        member.files.forget_failure()
        silent = terminal.Silent(self._images, self.watcher.moves)
        training = Training(member.config, member.files, shared, self.listener, member.origin, silent)
        training.program.compile(training.examples)
        with self._memory(batch.memory(training.program.compiled), device), contextlib.suppress(Interrupted):
            self.watcher.finished(member, training.run(), None)

    @contextlib.contextmanager
    def _memory(self, need: int, device: jax.Device):
        """Waits until there is room for a program, or until nothing else runs; holds it within."""
        told = False
        with self.room:
            while self.running and need > (free := batch.free_memory(device)) and not self.listener.heard:
                if not told:
                    self.watcher.say(
                        f"a run waits for others to end: it needs {batch.mib(need)}, {batch.mib(free)} are free"
                    )
                    told = True
                self.room.wait(_SECONDS_BETWEEN_LOOKS)
            self.running += 1
        try:
            yield
        finally:
            with self.room:
                self.running -= 1
                self.room.notify_all()

    def _images(self, count: int) -> None:
        self.start.arrived()
        self.watcher.images(count)

    @contextlib.contextmanager
    def _failing(self, *members: Member):
        """Whatever goes wrong within is the failure of these members alone, of those that have not ended."""
        try:
            yield
        except Exception as error:
            kinds = {Diverged: "diverged", OutOfMemory: "out of memory"}
            message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            failure = {"kind": kinds.get(type(error), "error"), "message": message}
            for member in (member for member in members if not member.ended):
                if not isinstance(error, Busy):  # It is no failure of the run, which another process trains.
                    member.files.write_failure(**failure)
                self.watcher.finished(member, None, failure)

    # Batched

    def _train_batched(self, group: list[Member], shared: Shared) -> None:
        """Trains the members of one structure, as many at a time as fit in memory."""
        by_size = collections.defaultdict(list)
        for member in group:
            member.files.forget_failure()
            by_size[shared.examples(member.config).about["train"]].append(member)
        for same in by_size.values():
            with self._failing(*same):
                program = batch.Batch(same[0].config, shared, len(same), self.watcher.say)
                for first in range(0, len(same), program.size):
                    if not self.listener.heard:
                        self._train_batch(program, same[first : first + program.size], shared)

    def _train_batch(self, program: batch.Batch, members: list[Member], shared: Shared) -> None:
        with contextlib.ExitStack() as stack:
            lanes = []
            for member in members:
                with self._failing(member), contextlib.suppress(Interrupted):
                    training = Training(member.config, member.files, shared, self.listener, member.origin)
                    stack.callback(training.close)
                    training.begin(alone=False)
                    if training.step_in_epoch:
                        # Interrupted within an epoch when it ran by itself: all begin together with a first step.
                        training.program.compile(training.examples)
                        training.train_epoch()
                    if training.done:  # It was killed between its last checkpoint and its result.
                        self.watcher.finished(member, training.finish(), None)
                    else:
                        lanes.append(_Lane(member, training))
            if not lanes or self.listener.heard:
                return
            program.load([(lane.training.state, lane.training.totals) for lane in lanes])
            while any(lane.active for lane in lanes):
                active = [lane for lane in lanes if lane.active]
                began = time.perf_counter()
                orders = [program.order(lane.member.config.data, lane.training.next_order()) for lane in lanes]
                for images in program.run(orders):
                    self._images(images * len(active))
                    if self.listener.heard:
                        for lane in active:
                            lane.training.save()  # As it was before this epoch.
                        return
                self._end_epoch(program, lanes, (time.perf_counter() - began) / len(active))

    def _end_epoch(self, program: batch.Batch, lanes: list["_Lane"], seconds: float) -> None:
        """Every lane ends its epoch as a run does; each was trained for `seconds` of the whole time."""
        for index, lane in enumerate(lanes):
            if not lane.active:
                continue
            lane.active = False
            with self._failing(lane.member):
                training = lane.training
                training.state, training.totals = program.lane(index)
                training.end_epoch(seconds)
                lane.active = not training.done
                if training.done:
                    self.watcher.finished(lane.member, training.finish(), None)
        program.begin_epoch([lane.training.state.learning_rate for lane in lanes])


@dataclasses.dataclass
class _Lane:
    """A member's place in a batched program. One that is no longer active is trained on, to no purpose."""

    member: Member
    training: Training
    active: bool = True
