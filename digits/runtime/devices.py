"""Data parallelism: every device has a copy of the state and of the examples, and trains on its part of every batch.

`jax.shard_map` runs the single device's program on each device. A `Shard` in the program selects the device's own rows
of a batch and adds up the sums of all devices. Random numbers are drawn for the whole batch, statistics are of the
whole batch, and a batch that does not divide is filled up with rows that count nothing. Results therefore equal those
of one device up to the order of additions.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_AXIS = "data"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One device's part of a batch: `Shard(64).own(labels)`. A single device has the whole batch.

    Attributes:
      batch: the number of examples of all devices together.
      devices: the number of devices. With more than one, call the methods only inside of `Devices.each`.
    """

    batch: int
    devices: int = 1

    @property
    def rows(self) -> int:
        """The number of rows of each device. The last rows, of the last device or of several, may be filling."""
        return -(-self.batch // self.devices)

    @property
    def _start(self) -> jax.Array:
        return jax.lax.axis_index(_AXIS) * self.rows

    def own(self, whole: jax.Array, axis: int = 0, each: int = 1) -> jax.Array:
        """This device's rows of an array that all devices have. Along the axis a row has `each` entries."""
        if self.devices == 1:
            return whole
        filling = [(0, 0)] * whole.ndim
        filling[axis] = (0, (self.rows * self.devices - self.batch) * each)
        return jax.lax.dynamic_slice_in_dim(jnp.pad(whole, filling), self._start * each, self.rows * each, axis)

    def real(self, rows: jax.Array) -> jax.Array:
        """The rows of this device, with zero in place of filling."""
        if self.batch == self.rows * self.devices:
            return rows
        is_real = self._start + jnp.arange(self.rows) < self.batch
        return jnp.where(is_real.reshape(-1, *[1] * (rows.ndim - 1)), rows, jnp.zeros((), rows.dtype))

    def total(self, tree: Any) -> Any:
        """The sums of arrays over all devices."""
        return tree if self.devices == 1 else jax.lax.psum(tree, _AXIS)

    def mean(self, rows: jax.Array) -> jax.Array:
        """This device's share of the mean over the batch of one number a row."""
        return rows.mean() if self.devices == 1 else self.real(rows).sum() / self.batch


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of one training. An empty tuple means this thread's default device."""

    devices: tuple[jax.Device, ...] = ()

    @classmethod
    def of(cls, devices: Sequence[jax.Device]) -> "Devices":
        """All the given devices. A single one stands for the default device."""
        return cls(tuple(devices)) if len(devices) > 1 else cls()

    @property
    def count(self) -> int:
        return len(self.devices) or 1

    @functools.cached_property
    def _mesh(self) -> jax.sharding.Mesh:
        kind = (jax.sharding.AxisType.Auto,)
        return jax.make_mesh((self.count,), (_AXIS,), kind, devices=self.devices)

    @property
    def everywhere(self) -> jax.NamedSharding | None:
        """The sharding with a copy on every device; None for the default device."""
        return jax.NamedSharding(self._mesh, jax.P()) if self.devices else None

    def put(self, tree: Any) -> Any:
        """Puts a copy of the arrays on every device. Each of several processes puts its own copy on its own devices."""
        if jax.process_count() == 1:
            return jax.device_put(tree, self.everywhere)

        def put_one(array):
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.everywhere, lambda index: array[index])

        return jax.tree.map(put_one, tree)

    def jit(self, function: Callable, **options: Any) -> jax.stages.Wrapped:
        """`jax.jit` of a function whose results every device needs: each device computes them."""
        if not self.devices:
            return jax.jit(function, **options)
        return jax.jit(function, out_shardings=self.everywhere, **options)

    def each(self, function: Callable, split: Sequence[int] = ()) -> Callable:
        """A function that each device calls on its own, with its parts of the `split` arguments and all of the others.

        Args:
          function: its results must be the same on all devices, as those of `Shard.total` are. With split arguments
            the devices' results are put one after another instead.
          split: places of the arguments whose rows the devices share.
        """
        if not self.devices:
            return function

        def mapped(*arguments):
            specs = tuple(jax.P(_AXIS) if place in split else jax.P() for place in range(len(arguments)))
            results = jax.P(_AXIS) if split else jax.P()
            # check_vma=False: proving that results are equal takes time, and only `Shard.total` makes results.
            each = jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=results, check_vma=False)
            return each(*arguments)

        return mapped
