"""Many runs as few programs: members that differ in seed, fold and numbers are trained by one compiled program.

Every member is a run like any other: a directory with its own records, checkpoints, plateau and early-stopping rules.
There are two ways to share a device (`config.population.sharing`):

mapped: the members call the single run's own program, several at a time in threads, spread over the local devices.
    Their results have the same bits as single runs.
batched: the members are a leading axis of one program (`jax.vmap`), sharded over the local devices. Their results are
    those of single runs up to rounding.
"""

from collections.abc import Callable, Sequence
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import data, record, scalars, startup, train
from digits.errors import Diverged, OutOfMemory, UserError
from digits.interrupt import Interrupted, Listener
from digits.program import Program, Shared
from digits.step import compile_steps

# A CPU trains ten `dense_32_32` 1.7 times, four `simple_cnn` 1.6 times as fast mapped as batched: two programs keep two
# cores busier than one (benchmarks/README.md). On accelerators, which small networks leave idle, batched is the choice
# of the literature (Whitney 2021); it was not measured here.
_SHARING = {"cpu": "mapped"}
_SECONDS_BETWEEN_LOOKS = 1.0


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a population: its config, its directory, and where the config came from (see record.command)."""

    config: ConfigDict
    workdir: str | os.PathLike
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def files(self) -> record.Workdir:
        return record.Workdir(self.workdir)


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
    """ "mapped" or "batched": what the config forces, or the faster one here."""
    chosen = config.population.sharing
    return _SHARING.get(jax.default_backend(), "batched") if chosen == "auto" else chosen


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members by structure, in the order of each structure's first: those of a group share a program.

    Folds of different sizes still need a program each.
    """
    by_structure = collections.defaultdict(list)
    for member in members:
        by_structure[scalars.structure(member.config)].append(member)
    return list(by_structure.values())


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
    watcher, listening = watcher or Watcher(), contextlib.nullcontext(listener)
    if listener is None:
        listening = Listener()
    start = start or startup.Start(members[0].config.data.name, data_dir)
    for member in members:
        train.check(member.config)
        member.files.check(member.config)
    left = [m for m in members if not m.files.result() and (m.files.failure() or {}).get("kind") != "diverged"]
    if left:
        train.prepare_jax(members[0].config)
        with listening as listener:
            _Population(left, len(members), start, watcher, listener).train()
            if listener.heard:
                raise Interrupted(listener.heard, command)
    return [member.files.result() for member in members]


class _Population:
    """The members that are not finished yet, on the devices of this process."""

    def __init__(
        self, members: Sequence[Member], size: int, start: startup.Start, watcher: Watcher, listener: Listener
    ):
        self.watcher, self.listener, self.start, self.size = watcher, listener, start, size
        self.waiting = collections.deque(member for group in groups(members) for member in group)
        self.room = threading.Condition()
        self.running: dict[int, int] = {}  # Bytes of each running member's program, by thread.

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
        each = self.waiting[0].config.population.workers
        if not each:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            each = max(1, cores // len(devices)) if devices[0].platform == "cpu" else 1
        count = min(each * len(devices), len(self.waiting))
        own = [shared, *(Shared(shared.dataset) for _ in devices[1:count])]
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            places = [(devices[i % len(devices)], own[i % len(devices)]) for i in range(count)]
            for worker in [pool.submit(self._work, *place) for place in places]:
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
        terminal = record.Silent(self._images, self.watcher.moves)
        training = train.Training(member.config, member.files, shared, self.listener, member.origin, terminal)
        training.program.compile(training.examples)
        with self._memory(memory(training.program.compiled), device), contextlib.suppress(Interrupted):
            self.watcher.finished(member, training.run(), None)

    @contextlib.contextmanager
    def _memory(self, need: int, device: jax.Device):
        """Waits until there is room for a program, or until nothing else runs; holds it within."""
        thread, told = threading.get_ident(), False
        with self.room:
            while self.running and need > (free := free_memory(device)) and not self.listener.heard:
                if not told:
                    self.watcher.say(f"a run waits for others to end: it needs {_mib(need)}, {_mib(free)} are free")
                    told = True
                self.room.wait(_SECONDS_BETWEEN_LOOKS)
            self.running[thread] = need
        try:
            yield
        finally:
            with self.room:
                del self.running[thread]
                self.room.notify_all()

    def _images(self, count: int) -> None:
        self.start.arrived()
        self.watcher.images(count)

    @contextlib.contextmanager
    def _failing(self, *members: Member):
        """Whatever goes wrong within is the failure of these members alone."""
        try:
            yield
        except Exception as error:
            kinds = {Diverged: "diverged", OutOfMemory: "out of memory"}
            message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            for member in members:
                member.files.write_failure(kinds.get(type(error), "error"), message)
                self.watcher.finished(member, None, member.files.failure())

    # Batched

    def _train_batched(self, group: list[Member], shared: Shared) -> None:
        """Trains the members of one structure, as many at a time as fit in memory."""
        by_size = collections.defaultdict(list)
        for member in group:
            member.files.forget_failure()
            by_size[shared.examples(member.config).about["train"]].append(member)
        for same in by_size.values():
            with self._failing(*same):
                batch = _Batch(same[0].config, shared, min(self.size, len(same)), self.watcher)
                for first in range(0, len(same), batch.size):
                    if not self.listener.heard:
                        self._train_batch(batch, same[first : first + batch.size], shared)

    def _train_batch(self, batch: "_Batch", members: list[Member], shared: Shared) -> None:
        with contextlib.ExitStack() as stack:
            lanes = []
            for member in members:
                with self._failing(member), contextlib.suppress(Interrupted):
                    training = train.Training(member.config, member.files, shared, self.listener, member.origin)
                    stack.callback(training.close)
                    training.begin(alone=False)
                    if training.step_in_epoch:
                        # Interrupted within an epoch when it ran by itself: all begin together with a first step.
                        training.program.compile(training.examples)
                        training.train_epoch()
                    lanes.append(_Lane(member, training))
            if not lanes or self.listener.heard:
                return
            batch.load(lanes)
            while any(lane.active for lane in lanes):
                active = [lane for lane in lanes if lane.active]
                began = time.perf_counter()
                for images in batch.run([lane.training.next_order() for lane in lanes]):
                    self._images(images * len(active))
                    if self.listener.heard:
                        for lane in active:
                            lane.training.save()  # As it was before this epoch.
                        return
                self._end_epoch(batch, lanes, (time.perf_counter() - began) / len(active))

    def _end_epoch(self, batch: "_Batch", lanes: list["_Lane"], seconds: float) -> None:
        """Every lane ends its epoch as a run does; each was trained for `seconds` of the whole time."""
        for index, lane in enumerate(lanes):
            if not lane.active:
                continue
            lane.active = False
            with self._failing(lane.member):
                training = lane.training
                training.state, training.totals = batch.lane(index)
                training.end_epoch(seconds)
                lane.active = not training.done
                if training.done:
                    self.watcher.finished(lane.member, training.finish(), None)
        batch.begin_epoch([lane.training.state.learning_rate for lane in lanes])


@dataclasses.dataclass
class _Lane:
    """A member's place in a batched program. One that is no longer active is trained on, to no purpose."""

    member: Member
    training: train.Training
    active: bool = True


class _Batch:
    """The program of `size` members at a time: the single run's epoch under `jax.vmap`, sharded over the devices.

    All members gather from the whole training set: a fold is in the order that each is given.
    """

    def __init__(self, config: ConfigDict, shared: Shared, members: int, watcher: Watcher):
        config = config.copy_and_resolve_references()
        if config.model.convolution == "auto":
            # The gradient of a vmapped stock convolution is slow on accelerators (a grouped convolution), and the
            # compiled ones would take the members one after another.
            config.model.convolution = "dot"
        self.config, self.devices = config, jax.local_devices()
        self.program: Program = shared.program(config, shared.examples(config))
        self.dataset, self.indices = shared.dataset(), {}
        kind = (jax.sharding.AxisType.Auto,)
        mesh = jax.make_mesh((len(self.devices),), ("member",), kind, devices=self.devices)
        self.by_member = jax.NamedSharding(mesh, jax.P("member"))
        whole = self.dataset.train_images, self.dataset.train_labels
        self.train = jax.device_put(whole, jax.NamedSharding(mesh, jax.P()))
        axes = (0, 0, None, None, 0, None, None)
        specs = tuple(jax.P() if axis is None else jax.P("member") for axis in axes)
        vmapped = jax.vmap(self.program.run_steps, in_axes=axes)
        self.run_steps = jax.jit(
            jax.shard_map(vmapped, mesh=mesh, in_specs=specs, out_specs=jax.P("member"), check_vma=False),
            donate_argnums=(0, 1),
        )
        self.size = self._fit(min(members, config.population.size or members), watcher)
        self.seconds_per_step = None
        self._take = jax.jit(lambda tree, index: jax.tree.map(lambda a: a[index], tree))

    def _fit(self, members: int, watcher: Watcher) -> int:
        """Compiles for as many members as fit in memory and returns their number."""
        count, wanted = len(self.devices), members
        while True:
            members = -(-members // count) * count
            lanes = lambda a: jax.ShapeDtypeStruct((members, *a.shape), a.dtype, sharding=self.by_member)
            state, totals = jax.tree.map(lanes, self.program.shapes)
            order = lanes(jax.ShapeDtypeStruct((self.program.examples,), jnp.int32))
            zero = np.int32(0)
            self.compiled = compile_steps(
                self.run_steps.lower(state, totals, *self.train, order, zero, zero), self.config
            )
            need, free = memory(self.compiled), free_memory(self.devices[0])
            if need <= free or members <= count:
                break
            members = max(1, members // 2)
        if members < wanted:
            watcher.say(
                f"{wanted} runs in parts of {members}: all at once need more than the {_mib(free)} that are free"
            )
        return members

    def load(self, lanes: list[_Lane]) -> None:
        """Takes the states of the lanes; places without a member get a copy of the last."""
        self.lanes = [*lanes, *[lanes[-1]] * (self.size - len(lanes))]
        stack = lambda *arrays: jnp.stack(arrays)
        states = jax.tree.map(stack, *[(lane.training.state, lane.training.totals) for lane in self.lanes])
        self.state, self.totals = jax.device_put(states, self.by_member)

    def _order(self, lane: _Lane, order: jax.Array) -> jax.Array:
        config = lane.training.config.data
        if config.validation in ("none", "test"):
            return order
        key = config.to_json()
        if key not in self.indices:
            kept, _ = data.indices(self.dataset, config)
            self.indices[key] = jnp.asarray(kept, jnp.int32)
        return self.indices[key][order]

    def run(self, orders: list[jax.Array]):
        """Trains for an epoch; yields the images of each lane after about every second."""
        orders += [orders[-1]] * (self.size - len(orders))
        orders = jnp.stack([self._order(lane, order) for lane, order in zip(self.lanes, orders, strict=True)])
        orders = jax.device_put(orders, self.by_member)
        start, last = 0, self.program.steps_per_epoch
        while start < last:
            steps = max(1, round(_SECONDS_BETWEEN_LOOKS / self.seconds_per_step)) if self.seconds_per_step else 1
            stop, before = min(start + steps, last), time.perf_counter()
            with train.out_of_memory_named(self.config.batch_size):
                self.state, self.totals = self.compiled(
                    self.state, self.totals, *self.train, orders, np.int32(start), np.int32(stop)
                )
                jax.block_until_ready(self.totals)
            self.seconds_per_step = (time.perf_counter() - before) / (stop - start)
            done, start = start, stop
            yield min(stop * self.config.batch_size, self.program.examples) - done * self.config.batch_size

    def lane(self, index: int) -> tuple[Any, Any]:
        """The state and the totals of a lane."""
        return jax.device_put(self._take((self.state, self.totals), index), self.devices[0])

    def begin_epoch(self, rates: list[jax.Array]) -> None:
        """What the plateau rule has left of the base rate of each lane; the totals of the next epoch begin at zero."""
        rates = jnp.stack([*rates, *[rates[-1]] * (self.size - len(rates))])
        self.state = self.state.replace(learning_rate=jax.device_put(rates, self.by_member))
        self.totals = jax.device_put(jax.tree.map(jnp.zeros_like, self.totals), self.by_member)


def memory(compiled: jax.stages.Compiled) -> int:
    """Bytes that a compiled program needs beside the dataset: its arguments, results and intermediate values."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def free_memory(device: jax.Device) -> int:
    """Bytes that a device still has; on a CPU, what the system can give without swapping."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        return int(re.search(r"MemAvailable:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024
    except (OSError, TypeError):
        return 2**62  # The system does not tell.


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
