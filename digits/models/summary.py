"""The table of a network's layers with their output shapes and parameters. An outline of a network is enough."""

from collections.abc import Callable, Sequence
import functools
import math
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from digits.models import families, layers
from digits.models.families import Network


class Layer(NamedTuple):
    """A row of the table. As in Keras, BatchNorm's moving mean and variance count as non-trainable parameters."""

    name: str
    output: tuple[int, ...]  # The shape of an image's output.
    trainable: int  # Parameters.
    rest: int  # Non-trainable parameters.
    size: int  # Bytes of both.


def describe(model: Network) -> list[Layer]:
    """Describes every layer of a network or an outline. The pooling of a block has a row of its own.

    sum(layer.trainable for layer in describe(model))
    """
    graphdef, *arrays = families.parts(model)

    def outputs(arrays, x):
        found = []
        for operation in _operations(nnx.merge(graphdef, *arrays)).values():
            x = operation(x)
            found.append(x)
        return found

    shapes = jax.eval_shape(outputs, arrays, jax.ShapeDtypeStruct((1, *families.IMAGE_SHAPE), jnp.float32))
    rows = []
    for name, x in zip(_operations(model), shapes, strict=True):
        own = [jax.tree.leaves(tree.get(name, ())) for tree in arrays]
        trainable, rest = (sum(math.prod(array.shape) for array in leaves) for leaves in own)
        size = sum(array.size * array.dtype.itemsize for leaves in own for array in leaves)
        rows.append(Layer(name, x.shape[1:], trainable, rest, size))
    return rows


def _operations(model: Network) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """The functions that a network applies one after another, by name: conv_1, max_pool_1, dense_1, ..."""
    found: dict[str, Callable[[jax.Array], jax.Array]] = {}
    for name in model.names:
        layer = getattr(model, name)
        if isinstance(layer, layers.ConvBlock) and layer.window:
            found[name] = layer.without_pooling
            name = f"max_pool_{1 + sum(other.startswith('max_pool') for other in found)}"
            layer = layers.MaxPool(layer.window, layer.implementation)
        found[name] = functools.partial(layers.apply_layer, layer, key=None)
    return found


def table(model: Network) -> str:
    """A text with name, output shape and parameters of every layer, and the totals: `print(table(model))`."""
    rows = describe(model)
    lines = [f"{'layer':<16}{'output':<14}{'parameters':>12}", "-" * 42]
    lines += [f"{row.name:<16}{'x'.join(map(str, row.output)):<14}{row.trainable + row.rest:>12,}" for row in rows]
    return "\n".join([*lines, "-" * 42, totals(rows)])


def totals(rows: Sequence[Layer]) -> str:
    """The parameters of all layers, and their memory."""
    trainable, rest = sum(row.trainable for row in rows), sum(row.rest for row in rows)
    size = sum(row.size for row in rows)
    memory = f"{size / 2**10:,.0f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"
    kinds = f" ({trainable:,} trainable, {rest:,} not)" if rest else ""
    return f"parameters: {trainable + rest:,}{kinds}, {memory}"
