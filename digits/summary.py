"""What a network consists of: its layers with their output shapes and numbers of parameters. It may be abstract."""

from collections.abc import Sequence
import math
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from digits import models


class Layer(NamedTuple):
    """A layer: its name, its output's shape without the batch, and its numbers of parameters and of their bytes.

    Non-trainable are BatchNorm's moving mean and variance, counted as Keras does.
    """

    name: str
    output: tuple[int, ...]
    trainable: int
    rest: int
    size: int


def describe(model: nnx.Module) -> list[Layer]:
    """Every layer of a network, which may be abstract."""
    graphdef, *arrays = models.split(model)

    def outputs(arrays, x):
        whole, found = nnx.merge(graphdef, *arrays), []
        for name in whole.names:
            x = models.apply_layer(getattr(whole, name), x, None)
            found.append(x)
        return found

    shapes = jax.eval_shape(outputs, arrays, jax.ShapeDtypeStruct((1, *models.IMAGE_SHAPE), jnp.float32))
    rows = []
    for name, x in zip(model.names, shapes, strict=True):
        own = [jax.tree.leaves(tree.get(name, ())) for tree in arrays]
        trainable, rest = (sum(math.prod(array.shape) for array in leaves) for leaves in own)
        size = sum(array.size * array.dtype.itemsize for leaves in own for array in leaves)
        rows.append(Layer(name, x.shape[1:], trainable, rest, size))
    return rows


def table(model: nnx.Module) -> str:
    """Layer, output shape and parameters of every layer, the totals and their memory. The module may be abstract."""
    rows = describe(model)
    lines = [f"{'layer':<16}{'output':<14}{'parameters':>12}", "-" * 42]
    lines += [f"{row.name:<16}{'x'.join(map(str, row.output)):<14}{row.trainable + row.rest:>12,}" for row in rows]
    return "\n".join([*lines, "-" * 42, totals(rows)])


def totals(rows: Sequence[Layer]) -> str:
    """The parameters of all layers, and their memory."""
    trainable, rest, size = (sum(row[i] for row in rows) for i in (2, 3, 4))
    counts = f"{trainable + rest:,} ({trainable:,} trainable, {rest:,} not)"
    return f"parameters: {counts}, {size / 1024:,.2f} KiB"
