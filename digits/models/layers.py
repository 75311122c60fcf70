"""The layers of the networks as Flax NNX modules, with Keras's constants and initialisers."""

import math

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from digits.config.numbers import Number, dropout_bits
from digits.models.ops import convolution, dropout, normalization
from digits.runtime.devices import Shard


def _linear(x: jax.Array) -> jax.Array:
    return x


ACTIVATIONS = {
    "relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "elu": jax.nn.elu,
    "gelu": jax.nn.gelu, "silu": jax.nn.silu, "linear": _linear,
}  # fmt: skip
# The same formulas as Keras's. Both truncate the normal ones at two standard deviations.
INITIALIZERS = {
    f"{name}_{shape}": getattr(jax.nn.initializers, f"{name}_{shape}")
    for name in ("glorot", "he", "lecun")
    for shape in ("uniform", "normal")
}
# Keras's defaults; Flax's own are 0.99 and 1e-5.
BATCH_NORM_MOMENTUM = 0.99
BATCH_NORM_EPSILON = 1e-3


class Linear(nnx.Linear):
    """A dense layer with its activation. `l2` is the factor of its L2 penalty (`families.penalty`), None without."""

    def __init__(self, inputs: int, width: int, activation: str, init: str, l2: float | None, rngs: nnx.Rngs):
        super().__init__(inputs, width, kernel_init=INITIALIZERS[init](), rngs=rngs)
        self.activation = activation
        self.l2 = l2

    def __call__(self, x: jax.Array) -> jax.Array:  # type: ignore[override]
        return ACTIVATIONS[self.activation](super().__call__(x))


class ConvBlock(nnx.Module):
    """A convolution, its activation and, with a `window`, max pooling; NxHxWxC to NxH'xW'xO.

    The three are one operation, because that is faster on a CPU. Window 0 means no pooling.
    """

    def __init__(
        self, inputs: int, width: int, size: int, stride: int, window: int, config: ConfigDict, rngs: nnx.Rngs
    ):
        init = INITIALIZERS[config.kernel_init]()
        self.kernel = nnx.Param(init(rngs.params(), (size, size, inputs, width), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(width, jnp.float32)) if config.conv_bias else None
        self.padding, self.activation, self.implementation = config.padding, config.activation, config.convolution
        self.stride, self.window = stride, window

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._apply(x, self.window or 1)

    def without_pooling(self, x: jax.Array) -> jax.Array:
        """The activations before the pooling."""
        return self._apply(x, 1)

    def _apply(self, x: jax.Array, window: int) -> jax.Array:
        bias, activation = None if self.bias is None else self.bias[...], ACTIVATIONS[self.activation]
        return convolution.conv_block(
            x, self.kernel[...], bias, self.padding, activation, window, self.implementation, self.stride
        )


class Depthwise(nnx.Module):
    """A convolution of every channel with a filter of its own, the first half of a separable one; NxHxWxC to NxH'xW'xC.

    Has neither bias nor activation. The kernel is KxKxCx1, as in Keras, whose initial weights depend on the shape.
    """

    def __init__(self, channels: int, size: int, stride: int, config: ConfigDict, rngs: nnx.Rngs):
        init = INITIALIZERS[config.kernel_init]()
        self.kernel = nnx.Param(init(rngs.params(), (size, size, channels, 1), jnp.float32))
        self.padding, self.implementation, self.stride = config.padding, config.convolution, stride

    def __call__(self, x: jax.Array) -> jax.Array:
        return convolution.depthwise(x, self.kernel[...], self.padding, self.implementation, self.stride)


class MaxPool(nnx.Module):
    """Max pooling by itself, where BatchNorm stands between it and the convolution."""

    def __init__(self, window: int, implementation: str):
        self.window, self.implementation = window, implementation

    def __call__(self, x: jax.Array) -> jax.Array:
        return convolution.max_pool(x, self.window, self.implementation)


class GlobalPool(nnx.Module):
    """The "average" or "max" of every channel over the whole image; NxHxWxC to NxC."""

    def __init__(self, kind: str):
        self.kind = kind

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.mean((1, 2)) if self.kind == "average" else x.max((1, 2))


class Flatten(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1)


class Dropout(nnx.Module):
    """Inverted dropout with the probability `rate`, or with the rate that a call gives.

    Both rates must need the same number of random bits, which is part of the compiled program.
    """

    def __init__(self, rate: float, implementation: str = "auto"):
        self.rate, self.bits, self.implementation = rate, dropout_bits(rate), implementation

    def __call__(
        self, x: jax.Array, key: jax.Array | None, rate: Number | None = None, shard: Shard | None = None
    ) -> jax.Array:
        if key is None:
            return x
        rate = self.rate if rate is None else rate
        return dropout.inverted_dropout(x, rate, key, self.bits, shard, self.implementation)


class BatchNorm(nnx.BatchNorm):
    """BatchNorm with Keras's constants, and with the statistics of the whole batch if several devices share it.

    `nnx.BatchNorm` would average the devices' statistics instead.
    """

    def __init__(self, width: int, rngs: nnx.Rngs, implementation: str = "auto"):
        super().__init__(width, momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, rngs=rngs)
        self.implementation = implementation

    def __call__(  # type: ignore[override]
        self, x: jax.Array, key: jax.Array | None, shard: Shard | None = None
    ) -> jax.Array:
        if key is None:
            return super().__call__(x, use_running_average=True)
        if shard is None or shard.devices == 1:
            y, mean, variance = normalization.batch_norm(
                x, self.scale[...], self.bias[...], self.epsilon, self.implementation
            )
            self._move(mean, variance)
            return y
        axes, rows = tuple(range(x.ndim - 1)), shard.real(x)
        sums = shard.total((rows.sum(axes), jnp.square(rows).sum(axes)))
        mean, square = (one / (shard.batch * math.prod(x.shape[1:-1])) for one in sums)
        variance = jnp.maximum(0, square - jnp.square(mean))
        self._move(mean, variance)
        return (x - mean) * (jax.lax.rsqrt(variance + self.epsilon) * self.scale[...]) + self.bias[...]

    def _move(self, mean: jax.Array, variance: jax.Array) -> None:
        """Moves the moving statistics towards those of a batch."""
        for moving, now in ((self.mean, mean), (self.var, variance)):
            moving[...] = self.momentum * moving[...] + (1 - self.momentum) * now


def apply_layer(
    layer: nnx.Module,
    x: jax.Array,
    key: jax.Array | None,
    number: Number | None = None,
    shard: Shard | None = None,
) -> jax.Array:
    """Applies one layer of a network; a given `number` replaces its dropout rate."""
    if isinstance(layer, BatchNorm):
        return layer(x, key, shard)
    if isinstance(layer, Dropout):
        return layer(x, key, number, shard)
    return layer(x)
