"""The model families as Flax NNX modules: `Dense` (hidden layers) and `CNN` (convolution blocks, then `Dense`).

Between them their arguments cover every documented architecture; `build` reads them from `config.model`. Layers are
applied in the order of their creation, and a key given to the call means training: dropout acts and BatchNorm uses,
and updates with, the statistics of the batch.
"""

import dataclasses
import math
from typing import Any, Sequence

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from digits import layers, native, scalars
from digits.config import check_fields
from digits.errors import UserError, require
from digits.parallel import Shard

IMAGE_SHAPE = (28, 28, 1)
ACTIVATIONS = {
    "relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "elu": jax.nn.elu,
    "gelu": jax.nn.gelu, "silu": jax.nn.silu, "linear": lambda x: x,
}  # fmt: skip
# The same formulas as Keras's; the normal ones are truncated at two standard deviations in both.
INITIALIZERS = {
    f"{name}_{shape}": getattr(jax.nn.initializers, f"{name}_{shape}")
    for name in ("glorot", "he", "lecun")
    for shape in ("uniform", "normal")
}
# Keras's defaults; Flax's own are 0.99 and 1e-5.
BATCH_NORM_MOMENTUM = 0.99
BATCH_NORM_EPSILON = 1e-3
MOST_LAYERS = 100  # Hidden layers and convolutions: building more takes minutes.
MOST_PARAMETERS = 2**28  # A GiB; training takes four, and saving it a fifth.


class Linear(nnx.Linear):
    """A dense layer with its activation, and its L2 penalty where it has one."""

    def __init__(self, inputs: int, width: int, activation: str, init: str, l2: "Number | None", rngs: nnx.Rngs):
        super().__init__(inputs, width, kernel_init=INITIALIZERS[init](), rngs=rngs)
        self.activation = activation
        self.l2 = l2

    def __call__(self, x: jax.Array) -> jax.Array:
        return ACTIVATIONS[self.activation](super().__call__(x))


class Conv(nnx.Module):
    """A convolution with stride 1, bias and activation, and the max pooling after it where there is one."""

    def __init__(self, inputs: int, width: int, size: int, config: ConfigDict, rngs: nnx.Rngs):
        init = INITIALIZERS[config.kernel_init]()
        self.kernel = nnx.Param(init(rngs.params(), (size, size, inputs, width), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32))
        self.padding, self.activation, self.implementation = config.padding, config.activation, config.convolution

    def __call__(self, x: jax.Array, pool: int = 1) -> jax.Array:
        activation = ACTIVATIONS[self.activation]
        return layers.conv_block(
            x, self.kernel[...], self.bias[...], self.padding, activation, pool, self.implementation
        )


class MaxPool(nnx.Module):
    def __init__(self, window: int, implementation: str):
        self.window, self.implementation = window, implementation

    def __call__(self, x: jax.Array) -> jax.Array:
        return layers.max_pool(x, self.window, self.implementation)


class Flatten(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1)


@dataclasses.dataclass(frozen=True)
class Number:
    """A dropout rate or an L2 factor: the config's own, or the traced one of a member of a population."""

    value: float
    field: str  # In config.model; with one value for all layers, or one for each.
    index: int

    def of(self, config: ConfigDict | None) -> float | jax.Array:
        """The number in a `config.model` with numbers of its own; without one, in that of the network."""
        if config is None:
            return self.value
        values = config[self.field]
        return values[min(self.index, len(values) - 1)] if isinstance(values, (tuple, list)) else values


class Dropout(nnx.Module):
    def __init__(self, rate: Number):
        self.rate, self.bits = rate, scalars.dropout_bits(rate.value)

    def __call__(
        self, x: jax.Array, key: jax.Array | None, numbers: ConfigDict | None = None, shard: Shard | None = None
    ) -> jax.Array:
        return x if key is None else layers.dropout(x, self.rate.of(numbers), key, self.bits, shard)


class BatchNorm(nnx.BatchNorm):
    """With Keras's constants, and over the batch of all devices: nnx's own takes the mean of the devices' means."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        super().__init__(width, momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, rngs=rngs)

    def __call__(self, x: jax.Array, key: jax.Array | None, shard: Shard | None = None) -> jax.Array:
        if key is None or shard is None or shard.devices == 1:
            return super().__call__(x, use_running_average=key is None)
        axes, rows = tuple(range(x.ndim - 1)), shard.real(x)
        sums = shard.total((rows.sum(axes), jnp.square(rows).sum(axes)))
        mean, square = (one / (shard.batch * math.prod(x.shape[1:-1])) for one in sums)
        variance = jnp.maximum(0, square - jnp.square(mean))
        for moving, now in ((self.mean, mean), (self.var, variance)):
            moving[...] = self.momentum * moving[...] + (1 - self.momentum) * now
        return (x - mean) * (jax.lax.rsqrt(variance + self.epsilon) * self.scale[...]) + self.bias[...]


class _Stack(nnx.Module):
    """Layers applied one after another, each an attribute with a name of its own: conv_1, batch_norm_1, dense_1, ..."""

    def __init__(self):
        self.names = ()

    def _add(self, kind: str, layer: nnx.Module) -> None:
        name = f"{kind}_{sum(n.rsplit('_', 1)[0] == kind for n in self.names) + 1}"
        setattr(self, name, layer)
        self.names += (name,)

    def __call__(
        self,
        images: jax.Array,
        key: jax.Array | None = None,
        numbers: ConfigDict | None = None,
        shard: Shard | None = None,
    ) -> jax.Array:
        """Normalised images, NxHxWx1, to logits, NxK. With a `key` in training mode, without in evaluation mode.

        `numbers` is a `config.model` whose dropout rates take the place of the network's own; with a `shard`, the images
        are its rows of a batch.
        """
        x, stack = images, [getattr(self, name) for name in self.names]
        for index, (layer, following) in enumerate(zip(stack, [*stack[1:], None])):
            if isinstance(layer, Conv) and isinstance(following, MaxPool):
                x = layer(x, following.window)  # Both at once.
            elif not (isinstance(layer, MaxPool) and isinstance(stack[index - 1], Conv)):
                x = apply_layer(layer, x, None if key is None else jax.random.fold_in(key, index), numbers, shard)
        return x


def apply_layer(
    layer: nnx.Module,
    x: jax.Array,
    key: jax.Array | None,
    numbers: ConfigDict | None = None,
    shard: Shard | None = None,
) -> jax.Array:
    if isinstance(layer, BatchNorm):
        return layer(x, key, shard)
    if isinstance(layer, Dropout):
        return layer(x, key, numbers, shard)
    return layer(x)


class Dense(_Stack):
    """Flatten, hidden layers (dense, BatchNorm, dropout each), and the logits."""

    def __init__(self, inputs: int, classes: int, config: ConfigDict, rngs: nnx.Rngs):
        super().__init__()
        self._add_dense(inputs, classes, config, rngs)

    def _add_dense(self, inputs: int, classes: int, config: ConfigDict, rngs: nnx.Rngs) -> None:
        self._add("flatten", Flatten())
        if config.input_dropout:
            self._add("dropout", Dropout(Number(config.input_dropout, "input_dropout", 0)))
        count = len(config.hidden)
        for index, width, norm, rate, l2 in zip(
            range(count),
            config.hidden,
            each(config.hidden_batch_norm, count, "model.hidden_batch_norm", "model.hidden"),
            each(config.hidden_dropout, count, "model.hidden_dropout", "model.hidden"),
            each(config.hidden_l2, count, "model.hidden_l2", "model.hidden"),
        ):
            penalty = Number(l2, "hidden_l2", index) if l2 else None
            self._add("dense", Linear(inputs, width, config.activation, config.kernel_init, penalty, rngs))
            self._add_norm_and_dropout(norm, Number(rate, "hidden_dropout", index), width, rngs)
            inputs = width
        self._add("dense", Linear(inputs, classes, "linear", config.output_init, None, rngs))

    def _add_norm_and_dropout(self, norm: bool, rate: Number | None, width: int, rngs: nnx.Rngs) -> None:
        if norm:
            self._add("batch_norm", BatchNorm(width, rngs))
        if rate and rate.value:
            self._add("dropout", Dropout(rate))


class CNN(Dense):
    """Convolution blocks (convolutions, pooling, BatchNorm, dropout each), then hidden layers and logits."""

    def __init__(self, shape: Sequence[int], classes: int, config: ConfigDict, rngs: nnx.Rngs):
        _Stack.__init__(self)
        side, channels = shape[0], shape[2]
        count = len(config.blocks)
        for index, widths, size, pool, rate in zip(
            range(count),
            config.blocks,
            each(config.kernel_size, count, "model.kernel_size", "model.blocks"),
            each(config.pool, count, "model.pool", "model.blocks"),
            each(config.block_dropout, count, "model.block_dropout", "model.blocks"),
        ):
            for width in widths:
                side -= size - 1 if config.padding == "valid" else 0
                if side < 1:
                    raise UserError(
                        f"config.model.kernel_size is {config.kernel_size!r}, but nothing is left of a {shape[0]}x"
                        f"{shape[1]} image after these {config.padding} convolutions: use smaller kernels, fewer "
                        "blocks, less pooling or config.model.padding='same'."
                    )
                self._add("conv", Conv(channels, width, size, config, rngs))
                if config.batch_norm == "conv":
                    self._add_norm_and_dropout(True, None, width, rngs)
                channels = width
            if pool:
                self._add("max_pool", MaxPool(pool, config.convolution))
                side //= pool
            rate = Number(rate, "block_dropout", index)
            self._add_norm_and_dropout(config.batch_norm == "block", rate, channels, rngs)
        require(side >= 1, "model.pool", config.pool, "small enough that a pixel is left after the last block")
        self._add_dense(side * side * channels, classes, config, rngs)


def each(value: Any, count: int, field: str, per: str) -> tuple:
    """One value for all, or a tuple with one for each, as a tuple of `count` values."""
    if not isinstance(value, (tuple, list)):
        return (value,) * count
    if len(value) == 1:
        return tuple(value) * count
    require(len(value) == count, field, value, f"one value, or one for each of the {count} entries of config.{per}")
    return tuple(value)


def check(config: ConfigDict) -> None:
    """Raises UserError for a `config.model` that describes no network."""
    check_fields(config, "model")
    if config.convolution == "native" and config.family == "cnn":
        accepted = f"auto, stock or dot here: the compiled convolutions cannot be used ({native.problem()})"
        require(native.available(), "model.convolution", config.convolution, accepted)
    for field, count in (("hidden", len(config.hidden)), ("blocks", sum(map(len, config.blocks)))):
        if count > MOST_LAYERS:
            raise UserError(f"config.model.{field} has {count:,} layers, but it may have {MOST_LAYERS}.")
    for field in ("hidden_batch_norm", "hidden_dropout", "hidden_l2"):
        each(config[field], len(config.hidden), f"model.{field}", "model.hidden")
    if config.family == "dense":
        require(not config.blocks, "model.blocks", config.blocks, "() in the dense family (or model.family='cnn')")
        return
    require(config.blocks, "model.blocks", config.blocks, "one or more blocks in the cnn family: ((32, 32), (64, 64))")
    for field in ("kernel_size", "pool", "block_dropout"):
        each(config[field], len(config.blocks), f"model.{field}", "model.blocks")
    require(config.input_dropout == 0, "model.input_dropout", config.input_dropout, "0 in the cnn family")


def check_size(model: nnx.Module) -> None:
    """Raises UserError for an (abstract) network that is too large to be meant."""
    count = sum(math.prod(array.shape) for array in jax.tree.leaves(split(model)[1]))
    if count > MOST_PARAMETERS:
        raise UserError(
            f"config.model describes a network of {count:,} parameters, but it may have {MOST_PARAMETERS:,}: make "
            "config.model.hidden or config.model.blocks narrower."
        )


def build(config: ConfigDict, classes: int, key: jax.Array) -> nnx.Module:
    """The network of a `config.model` for 28x28 images.

    Args:
      config: `config.model`.
      classes: number of classes, K.
      key: the random key of the initial weights.

    Returns:
      A module that maps normalised images, Nx28x28x1, to logits, NxK.

    Raises:
      UserError: the config describes no network.
    """
    check(config)
    rngs = nnx.Rngs(params=key)
    if config.family == "dense":
        return Dense(math.prod(IMAGE_SHAPE), classes, config, rngs)
    return CNN(IMAGE_SHAPE, classes, config, rngs)


def penalty(model: nnx.Module, numbers: ConfigDict | None = None) -> jax.Array | float:
    """Keras's L2 penalty of the layers that have one: l2 * sum(kernel^2); `numbers` as in the network's call."""
    linears = (getattr(model, name) for name in model.names if name.startswith("dense"))
    return sum(layer.l2.of(numbers) * jnp.sum(layer.kernel[...] ** 2) for layer in linears if layer.l2)


def split(model: nnx.Module) -> tuple[nnx.GraphDef, dict, dict]:
    """The module's structure, trained parameters and BatchNorm statistics; the latter two as pure dicts of arrays."""
    graphdef, params, stats = nnx.split(model, nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def for_evaluation(model: nnx.Module) -> nnx.Module:
    """A copy without dropout and penalties, which only training uses: equal if networks differ in them alone."""
    copy = nnx.merge(*nnx.split(model))
    for name in copy.names:
        layer = getattr(copy, name)
        if isinstance(layer, Dropout):
            delattr(copy, name)
        elif isinstance(layer, Linear):
            layer.l2 = None
    copy.names = tuple(name for name in copy.names if hasattr(copy, name))
    return copy
