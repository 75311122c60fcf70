"""Trains batched members: they are the leading axis of one program, the single run's epoch under `jax.vmap`.

The axis is sharded over the local devices. The results are those of single runs up to rounding.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import data
from digits.models import families
from digits.runtime import memory
from digits.runtime.memory import out_of_memory_named
from digits.runtime.signals import Interrupted
from digits.sweeps.members import SECONDS_BETWEEN_LOOKS, Company, Member
from digits.training.loop import Loop
from digits.training.program import Program, Shared
from digits.training.recorder import Outputs
from digits.training.run import Run, prepare
from digits.training.step import compile_steps


@dataclasses.dataclass
class _Lane:
    """A member's place in a batched program.

    A finished member keeps its place: its further updates are computed and ignored, because the program's size is
    fixed.
    """

    member: Member
    run: Run
    active: bool = True


def train(members: Sequence[Member], shared: Shared, company: Company) -> None:
    """Trains members of one structure, as many at once as fit in memory, until all have ended or a signal is heard."""
    by_size = collections.defaultdict(list)
    for member in members:
        company.watcher.begun(member)
        member.files.forget_failure()
        by_size[shared.examples(member.config).about["train"]].append(member)
    for same in by_size.values():
        with company.failing(*same):
            program = BatchedProgram(same[0].config, shared, len(same), company.watcher.say)
            for first in range(0, len(same), program.size):
                if not company.listener.heard:
                    _train_part(program, same[first : first + program.size], shared, company)


def _train_part(program: "BatchedProgram", members: Sequence[Member], shared: Shared, company: Company) -> None:
    """Trains as many members as the program has places, from opening their runs to their results."""
    with contextlib.ExitStack() as runs:
        lanes = []
        for member in members:
            with company.failing(member), contextlib.suppress(Interrupted):
                prepared = prepare(member.config, member.files, shared, member.origin, program.convolution)
                tracked = runs.enter_context(company.tracked(member))
                run = runs.enter_context(Run(prepared, Outputs(warn=company.warn, tracked=tracked), alone=False))
                if run.state.step_in_epoch:
                    # It ran alone and was interrupted within an epoch, which it ends alone: members begin together.
                    prepared.program.compile(prepared.examples)
                    Loop(run, company.listener).train_epoch()
                if run.done:  # It was killed after its last checkpoint, before its result.
                    company.watcher.finished(member, run.finish(), None)
                else:
                    lanes.append(_Lane(member, run))
        if not lanes or company.listener.heard:
            return
        program.load([(lane.run.state.train, lane.run.state.totals) for lane in lanes])
        while active := [lane for lane in lanes if lane.active]:
            began = time.perf_counter()
            orders = [program.order(lane.member.config.data, lane.run.order()) for lane in lanes]
            for images in program.run(orders):
                for lane in active:
                    company.images(lane.member, images)
                if company.listener.heard:
                    for lane in active:
                        lane.run.save()  # The state before this epoch.
                    return
            _end_epoch(program, lanes, (time.perf_counter() - began) / len(active), company)


def _end_epoch(program: "BatchedProgram", lanes: list[_Lane], seconds: float, company: Company) -> None:
    """Ends the epoch of every active lane as a single run does; `seconds` is the share of each in the epoch's time."""
    for index, lane in enumerate(lanes):
        if not lane.active:
            continue
        lane.active = False
        with company.failing(lane.member):
            lane.run.end_epoch(*program.lane(index), seconds)
            lane.active = not lane.run.done
            if lane.run.done:
                company.watcher.finished(lane.member, lane.run.finish(), None)
    program.begin_epoch([lane.run.state.train.learning_rate for lane in lanes])


class BatchedProgram:
    """The program of `size` members at a time: the single run's epoch under `jax.vmap`, sharded over the devices.

    All members gather from the whole training set; a member's order has only the images of its fold.

    Args:
      config: the config of any of the members.
      shared: the dataset and the single run's program.
      members: the wanted number of members at a time; `size` is smaller if these do not fit in memory.
      say: prints a message in that case.
    """

    def __init__(self, config: ConfigDict, shared: Shared, members: int, say: Callable[[str], None]):
        config = config.copy_and_resolve_references()
        if config.model.convolution == "auto" and jax.default_backend() != "cpu":
            # A vmapped stock convolution becomes a grouped one, whose gradient is slow on accelerators. On a CPU the
            # compiled convolutions compute the members one after another, with the arithmetic of single runs.
            config.model.convolution = "dot"
        self.convolution = families.implementation(config.model)
        self.config, self.devices = config, jax.local_devices()
        self.program: Program = shared.program(config, shared.examples(config))
        self.dataset, self.indices = shared.dataset(), {}
        kind = (jax.sharding.AxisType.Auto,)
        mesh = jax.make_mesh((len(self.devices),), ("member",), kind, devices=self.devices)
        self.by_member = jax.NamedSharding(mesh, jax.P("member"))
        whole = self.dataset.train_images, self.dataset.train_labels
        self.train = jax.device_put(whole, jax.NamedSharding(mesh, jax.P()))
        axes = (0, 0, None, 0, None, None)
        specs = tuple(jax.P() if axis is None else jax.P("member") for axis in axes)
        vmapped = jax.vmap(self.program.run_steps, in_axes=axes)
        self.run_steps = jax.jit(
            jax.shard_map(vmapped, mesh=mesh, in_specs=specs, out_specs=jax.P("member"), check_vma=False),
            donate_argnums=(0, 1),
        )
        self.size, self.compiled = self._fit(min(members, config.population.size or members), say)
        self.seconds_per_step: float | None = None
        self.state: Any = None  # Of all members, as `totals`, from `load` on.
        self.totals: Any = None
        self._take = jax.jit(lambda tree, index: jax.tree.map(lambda a: a[index], tree))

    def _fit(self, wanted: int, say: Callable[[str], None]) -> tuple[int, jax.stages.Compiled]:
        """Compiles the program of as many members as fit in memory; returns their number and the program."""
        count, members = len(self.devices), wanted
        while True:
            members = -(-members // count) * count
            compiled = self._compile(members)
            need, free = memory.needed(compiled), memory.free(self.devices[0])
            if need <= free or members <= count:
                break
            members = max(1, members // 2)
        if members < wanted:
            say(f"{wanted} runs in parts of {members}: all at once need more than the {memory.mib(free)} that are free")
        return members, compiled

    def _compile(self, members: int) -> jax.stages.Compiled:
        def stacked(array):
            return jax.ShapeDtypeStruct((members, *array.shape), array.dtype, sharding=self.by_member)

        state, totals = jax.tree.map(stacked, self.program.shapes)
        order = stacked(jax.ShapeDtypeStruct((self.program.examples,), jnp.int32))
        zero = np.int32(0)
        return compile_steps(self.run_steps.lower(state, totals, self.train, order, zero, zero), self.config)

    def load(self, states: list[tuple[Any, Any]]) -> None:
        """Takes the states and totals of the members; a place without a member gets a copy of the last."""
        self.state, self.totals = self._stack(states)

    def _stack(self, trees: list[Any]) -> Any:
        trees = [*trees, *[trees[-1]] * (self.size - len(trees))]
        return jax.device_put(jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees), self.by_member)

    def order(self, config: ConfigDict, order: jax.Array) -> jax.Array:
        """Turns the order of a `config.data`'s training images into indices of the whole training set."""
        if config.validation in ("none", "test"):
            return order
        key = config.to_json()
        if key not in self.indices:
            kept, _ = data.indices(self.dataset, config)
            self.indices[key] = jnp.asarray(kept, jnp.int32)
        return self.indices[key][order]

    def run(self, orders: list[jax.Array], last: int | None = None) -> Iterator[int]:
        """Trains an epoch, or its first `last` steps; yields about every second the new images of each member."""
        orders = self._stack(orders)
        start, last = 0, last or self.program.steps_per_epoch
        while start < last:
            steps = max(1, round(SECONDS_BETWEEN_LOOKS / self.seconds_per_step)) if self.seconds_per_step else 1
            stop, before = min(start + steps, last), time.perf_counter()
            with out_of_memory_named(self.config.batch_size):
                self.state, self.totals = self.compiled(
                    self.state, self.totals, self.train, orders, np.int32(start), np.int32(stop)
                )
                jax.block_until_ready(self.totals)
            self.seconds_per_step = (time.perf_counter() - before) / (stop - start)
            done, start = start, stop
            yield min(stop * self.config.batch_size, self.program.examples) - done * self.config.batch_size

    def lane(self, index: int) -> tuple[Any, Any]:
        """The state and the totals of the member in a place, copied to the first device."""
        return jax.device_put(self._take((self.state, self.totals), index), self.devices[0])

    def begin_epoch(self, rates: list[jax.Array]) -> None:
        """Takes the base learning rates, which the plateau rule may have lowered, and sets the totals to zero."""
        self.state = self.state.replace(learning_rate=self._stack(rates))
        self.totals = jax.device_put(jax.tree.map(jnp.zeros_like, self.totals), self.by_member)
