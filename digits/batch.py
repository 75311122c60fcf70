"""The members of a population as one program: the single run's epoch under `jax.vmap`, sharded over the devices."""

from collections.abc import Callable
import pathlib
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import data
from digits.program import Program, Shared, out_of_memory_named
from digits.step import compile_steps

_SECONDS_BETWEEN_LOOKS = 1.0


class Batch:
    """The program of `size` members at a time: the single run's epoch under `jax.vmap`, sharded over the devices.

    All members gather from the whole training set: a fold is in the order that each is given.
    """

    def __init__(self, config: ConfigDict, shared: Shared, members: int, say: Callable[[str], None]):
        config = config.copy_and_resolve_references()
        if config.model.convolution == "auto" and jax.default_backend() != "cpu":
            # A vmapped stock convolution becomes a grouped one, whose gradient is slow on accelerators. On a CPU the
            # compiled ones take the members one after another, with the arithmetic of single runs.
            config.model.convolution = "dot"
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
        self.size = self._fit(min(members, config.population.size or members), say)
        self.seconds_per_step = None
        self._take = jax.jit(lambda tree, index: jax.tree.map(lambda a: a[index], tree))

    def _fit(self, members: int, say: Callable[[str], None]) -> int:
        """Compiles for as many members as fit in memory and returns their number."""
        count, wanted = len(self.devices), members
        while True:
            members = -(-members // count) * count
            lanes = lambda a: jax.ShapeDtypeStruct((members, *a.shape), a.dtype, sharding=self.by_member)
            state, totals = jax.tree.map(lanes, self.program.shapes)
            order = lanes(jax.ShapeDtypeStruct((self.program.examples,), jnp.int32))
            zero = np.int32(0)
            self.compiled = compile_steps(
                self.run_steps.lower(state, totals, self.train, order, zero, zero), self.config
            )
            need, free = memory(self.compiled), free_memory(self.devices[0])
            if need <= free or members <= count:
                break
            members = max(1, members // 2)
        if members < wanted:
            say(f"{wanted} runs in parts of {members}: all at once need more than the {mib(free)} that are free")
        return members

    def load(self, states: list[tuple[Any, Any]]) -> None:
        """Takes the states and totals of the members; places without one get a copy of the last."""
        self.state, self.totals = self._stack(states)

    def _stack(self, trees: list[Any]) -> Any:
        trees = [*trees, *[trees[-1]] * (self.size - len(trees))]
        return jax.device_put(jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees), self.by_member)

    def order(self, config: ConfigDict, order: jax.Array) -> jax.Array:
        """The order of a `config.data`'s training examples as indices into the whole training set."""
        if config.validation in ("none", "test"):
            return order
        key = config.to_json()
        if key not in self.indices:
            kept, _ = data.indices(self.dataset, config)
            self.indices[key] = jnp.asarray(kept, jnp.int32)
        return self.indices[key][order]

    def run(self, orders: list[jax.Array], last: int | None = None):
        """Trains for an epoch, or its first steps; yields the images of each member after about every second."""
        orders = self._stack(orders)
        start, last = 0, last or self.program.steps_per_epoch
        while start < last:
            steps = max(1, round(_SECONDS_BETWEEN_LOOKS / self.seconds_per_step)) if self.seconds_per_step else 1
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
        """The state and the totals of a lane."""
        return jax.device_put(self._take((self.state, self.totals), index), self.devices[0])

    def begin_epoch(self, rates: list[jax.Array]) -> None:
        """What the plateau rule has left of the base rate of each lane; the totals of the next epoch begin at zero."""
        self.state = self.state.replace(learning_rate=self._stack(rates))
        self.totals = jax.device_put(jax.tree.map(jnp.zeros_like, self.totals), self.by_member)


def memory(compiled: jax.stages.Compiled) -> int:
    """Bytes that a compiled program needs beside the dataset: its results, which take the places of the arguments that
    it is given for good, and what lies between."""
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


def mib(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**20:,.0f} MiB"
