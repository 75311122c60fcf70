"""The model families as Flax NNX modules: `Dense` (hidden layers) and `CNN` (convolution blocks, then `Dense`).

`build` makes the network of a `config.model`; the two families cover every documented architecture. A network applies
its layers in the order of their creation. A call with a random key trains: dropout acts, and BatchNorm normalises by
the statistics of the batch and updates its moving ones.
"""

from collections.abc import Sequence
import math

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from digits.config.numbers import Number, each
from digits.config.values import check_fields
from digits.data import SIDE
from digits.errors import UserError, require
from digits.models import layers
from digits.models.layers import BatchNorm, ConvBlock, Depthwise, Dropout, Flatten, GlobalPool, Linear, MaxPool
from digits.models.ops import convolution, native
from digits.runtime.devices import Shard

IMAGE_SHAPE = (SIDE, SIDE, 1)
MOST_LAYERS = 100  # Hidden layers and convolutions: building more takes minutes.
MOST_PARAMETERS = 2**28  # A GiB of weights; training needs four times as much, saving a fifth.
_OF_A_BLOCK = ("kernel_size", "stride", "separable", "pool", "block_dropout")
# The dense family refuses any other value of these.
_OF_CONVOLUTIONS = {"stride": 1, "separable": False, "conv_bias": True, "global_pool": "none"}


class Network(nnx.Module):
    """Layers applied one after another, each an attribute with a name of its own: conv_1, batch_norm_1, dense_1, ..."""

    def __init__(self):
        self.names: tuple[str, ...] = ()

    def _add(self, kind: str, layer: nnx.Module) -> None:
        name = f"{kind}_{sum(n.rsplit('_', 1)[0] == kind for n in self.names) + 1}"
        setattr(self, name, layer)
        self.names += (name,)

    def __call__(
        self,
        images: jax.Array,
        key: jax.Array | None = None,
        numbers: dict[str, Number] | None = None,
        shard: Shard | None = None,
    ) -> jax.Array:
        """Maps normalised images, NxHxWx1, to logits, NxK: `network(images)` evaluates, `network(images, key)` trains.

        Args:
          images: normalised images; with a `shard`, its rows of a batch.
          key: the random key of a training step; None evaluates.
          numbers: dropout rates by layer, in place of the network's own: {"dropout_1": 0.25}.
          shard: the part of a batch that the images are.
        """
        x, numbers, operations = images, numbers or {}, 0
        for name in self.names:
            layer = getattr(self, name)
            own_key = None if key is None else jax.random.fold_in(key, operations)
            x = layers.apply_layer(layer, x, own_key, numbers.get(name), shard)
            # A layer's random stream is numbered by the operations before it. The pooling of a block counts as one.
            operations += 2 if isinstance(layer, ConvBlock) and layer.window else 1
        return x

    def _add_dense(self, inputs: int, classes: int, config: ConfigDict, rngs: nnx.Rngs) -> None:
        """Adds flatten or global pooling, the hidden layers (dense, BatchNorm, dropout each) and the logits."""
        if config.global_pool == "none":
            self._add("flatten", Flatten())
        else:
            self._add("global_pool", GlobalPool(config.global_pool))
        if config.input_dropout:
            self._add("dropout", Dropout(config.input_dropout))
        count = len(config.hidden)
        for width, norm, rate, l2 in zip(
            config.hidden,
            each(config.hidden_batch_norm, count, "model.hidden_batch_norm", "model.hidden"),
            each(config.hidden_dropout, count, "model.hidden_dropout", "model.hidden"),
            each(config.hidden_l2, count, "model.hidden_l2", "model.hidden"),
        ):
            self._add("dense", Linear(inputs, width, config.activation, config.kernel_init, l2 or None, rngs))
            self._add_norm_and_dropout(norm, rate, width, rngs)
            inputs = width
        self._add("dense", Linear(inputs, classes, "linear", config.output_init, None, rngs))

    def _add_norm_and_dropout(
        self, norm: bool, rate: float, width: int, rngs: nnx.Rngs, implementation: str = "auto"
    ) -> None:
        if norm:
            self._add("batch_norm", BatchNorm(width, rngs, implementation))
        if rate:
            self._add("dropout", Dropout(rate, implementation))


class Dense(Network):
    """Flatten, hidden layers (dense, BatchNorm, dropout each), and the logits."""

    def __init__(self, inputs: int, classes: int, config: ConfigDict, rngs: nnx.Rngs):
        super().__init__()
        self._add_dense(inputs, classes, config, rngs)


class CNN(Network):
    """Convolution blocks (convolutions, pooling, BatchNorm, dropout each), then hidden layers and logits.

    A separable convolution is two layers: a depthwise one, and one of 1x1 with activation and pooling.
    """

    def __init__(self, shape: Sequence[int], classes: int, config: ConfigDict, rngs: nnx.Rngs):
        super().__init__()
        side, channels = shape[0], shape[2]
        count = len(config.blocks)
        norm_after_conv = config.batch_norm == "conv"  # Then it comes before the pooling.
        for widths, size, stride, separable, pool, rate in zip(
            config.blocks, *(each(config[field], count, f"model.{field}", "model.blocks") for field in _OF_A_BLOCK)
        ):
            require(stride <= side, "model.stride", config.stride, f"at most {side}, the side of the images there")
            for place, width in enumerate(widths, start=1):
                kernel = size, stride if place == 1 else 1
                side = -(-(side - (size - 1 if config.padding == "valid" else 0)) // kernel[1])
                if side < 1:
                    raise UserError(
                        f"config.model.kernel_size is {config.kernel_size!r}, but nothing is left of a {shape[0]}x"
                        f"{shape[1]} image after these {config.padding} convolutions: use smaller kernels or strides, "
                        "fewer blocks, less pooling or config.model.padding='same'."
                    )
                if separable:
                    self._add("depthwise", Depthwise(channels, *kernel, config, rngs))
                    kernel = 1, 1
                window = pool if place == len(widths) and not norm_after_conv else 0
                self._add("conv", ConvBlock(channels, width, *kernel, window, config, rngs))
                if norm_after_conv:
                    self._add("batch_norm", BatchNorm(width, rngs, config.convolution))
                channels = width
            if pool and norm_after_conv:
                self._add("max_pool", MaxPool(pool, config.convolution))
            side //= pool or 1
            require(side >= 1, "model.pool", config.pool, "small enough that a pixel is left after every block")
            self._add_norm_and_dropout(config.batch_norm == "block", rate, channels, rngs, config.convolution)
        pixels = side * side if config.global_pool == "none" else 1
        self._add_dense(pixels * channels, classes, config, rngs)


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
        for field, without in _OF_CONVOLUTIONS.items():
            require(config[field] == without, f"model.{field}", config[field], f"{without!r} in the dense family")
        return
    require(config.blocks, "model.blocks", config.blocks, "one or more blocks in the cnn family: ((32, 32), (64, 64))")
    for field in _OF_A_BLOCK:
        each(config[field], len(config.blocks), f"model.{field}", "model.blocks")
    require(config.input_dropout == 0, "model.input_dropout", config.input_dropout, "0 in the cnn family")


def implementation(config: ConfigDict) -> str | None:
    """How the convolutions of a `config.model` are computed here: "native", "dot" or "stock"; None if it has none."""
    return convolution.choose(config.convolution) if config.family == "cnn" else None


def check_size(model: Network) -> None:
    """Raises UserError for a network, or an outline of one, that is too large to be meant."""
    count = sum(math.prod(array.shape) for array in jax.tree.leaves(parts(model)[1]))
    if count > MOST_PARAMETERS:
        raise UserError(
            f"config.model describes a network of {count:,} parameters, but it may have {MOST_PARAMETERS:,}: make "
            "config.model.hidden or config.model.blocks narrower."
        )


def build(config: ConfigDict, classes: int, key: jax.Array) -> Network:
    """Makes the network of a `config.model` for 28x28 images: `build(config.model, 10, jax.random.key(0))`.

    Args:
      config: `config.model`.
      classes: number of classes, K.
      key: the random key of the initial weights.

    Returns:
      A network that maps normalised images, Nx28x28x1, to logits, NxK.

    Raises:
      UserError: the config describes no network.
    """
    check(config)
    rngs = nnx.Rngs(params=key)
    if config.family == "dense":
        return Dense(math.prod(IMAGE_SHAPE), classes, config, rngs)
    return CNN(IMAGE_SHAPE, classes, config, rngs)


def outline(config: ConfigDict, classes: int) -> Network:
    """The network of `build` with shapes in place of arrays: draws nothing, compiles nothing and starts no device."""

    def network() -> Network:
        return build(config, classes, jax.random.key(0))

    return nnx.eval_shape(network)


def penalty(model: Network, numbers: dict[str, Number] | None = None) -> jax.Array | float:
    """Keras's L2 penalty, l2 * sum(kernel^2), over the layers that have a factor.

    `numbers` holds factors by layer in place of the network's own: {"dense_1": 0.001}.
    """
    total = 0
    for name in model.names:
        layer = getattr(model, name)
        if isinstance(layer, Linear) and layer.l2:
            factor = numbers[name] if numbers else layer.l2
            total += factor * jnp.sum(layer.kernel[...] ** 2)
    return total


def parts(model: Network) -> tuple[nnx.GraphDef, dict, dict]:
    """The network's structure, trained parameters and BatchNorm statistics; the latter two as pure dicts of arrays.

    graphdef, params, stats = families.parts(model)
    model = nnx.merge(graphdef, params, stats)
    """
    graphdef, params, stats = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def for_evaluation(model: Network) -> Network:
    """A copy without dropout and penalties, which only training uses: networks that differ in them become equal."""
    copy = nnx.clone(model)
    for name in copy.names:
        layer = getattr(copy, name)
        if isinstance(layer, Dropout):
            delattr(copy, name)
        elif isinstance(layer, Linear):
            layer.l2 = None
    copy.names = tuple(name for name in copy.names if hasattr(copy, name))
    return copy
