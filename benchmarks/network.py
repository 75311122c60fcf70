"""A config's network as a flat list of layers, for the builders of all frameworks. Needs nothing but Python.

The order is that of `digits.models`: blocks of convolutions (BatchNorm after each, if "conv"), pooling (BatchNorm after
it, if "block") and dropout; flattening; hidden layers (dense, BatchNorm, dropout each); and the logits.
"""

import dataclasses
import math

SHAPE = (28, 28, 1)
BATCH_NORM_MOMENTUM = 0.99
BATCH_NORM_EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Layer:
    kind: str  # conv, max_pool, batch_norm, dropout, flatten or dense.
    inputs: int = 0  # Channels or features that come in.
    width: int = 0  # Channels or features that go out.
    size: int = 0  # Side of the convolution's kernel or of the pooling's window, in pixels.
    side: int = 0  # Side of the convolution's output, in pixels.
    padding: str = ""
    activation: str = "linear"  # Of a convolution or dense layer.
    init: str = ""
    rate: float = 0.0  # Of dropout.
    l2: float = 0.0

    @property
    def macs(self) -> int:
        """Multiplications and additions of the forward pass of one image; zero except for conv and dense."""
        if self.kind == "conv":
            return self.side**2 * self.size**2 * self.inputs * self.width
        return self.inputs * self.width if self.kind == "dense" else 0

    @property
    def parameters(self) -> int:
        """Trained numbers and BatchNorm's moving statistics."""
        if self.kind == "conv":
            return self.size**2 * self.inputs * self.width + self.width
        return {"dense": (self.inputs + 1) * self.width, "batch_norm": 4 * self.width}.get(self.kind, 0)


def layers(model: dict, classes: int) -> list[Layer]:
    """The layers of a `config.model`, read from JSON. A pooling window of 1, an identity, gives no layer."""
    found, (side, _, channels) = [], SHAPE
    padding, activation, init = model["padding"], model["activation"], model["kernel_init"]

    def each(field, count):
        return _each(model[field], count)

    def norm_and_dropout(norm, rate, width):
        if norm:
            found.append(Layer("batch_norm", width, width))
        if rate:
            found.append(Layer("dropout", width, width, rate=rate))

    count = len(model["blocks"])
    for widths, size, pool, rate in zip(
        model["blocks"], each("kernel_size", count), each("pool", count), each("block_dropout", count)
    ):
        for width in widths:
            side -= size - 1 if padding == "valid" else 0
            found.append(Layer("conv", channels, width, size, side, padding, activation, init))
            norm_and_dropout(model["batch_norm"] == "conv", 0.0, width)
            channels = width
        if pool > 1:
            found.append(Layer("max_pool", channels, channels, size=pool))
            side //= pool
        norm_and_dropout(model["batch_norm"] == "block", rate, channels)

    inputs = math.prod(SHAPE) if model["family"] == "dense" else side * side * channels
    found.append(Layer("flatten", inputs, inputs))
    norm_and_dropout(False, model["input_dropout"], inputs)
    count = len(model["hidden"])
    for width, norm, rate, l2 in zip(
        model["hidden"], each("hidden_batch_norm", count), each("hidden_dropout", count), each("hidden_l2", count)
    ):
        found.append(Layer("dense", inputs, width, activation=activation, init=init, l2=l2))
        norm_and_dropout(norm, rate, width)
        inputs = width
    return [*found, Layer("dense", inputs, classes, init=model["output_init"])]


def _each(value, count: int) -> list:
    value = value if isinstance(value, (list, tuple)) else [value]
    return list(value) * count if len(value) == 1 else list(value)


def parameters(found: list[Layer]) -> int:
    return sum(layer.parameters for layer in found)


def training_flops(found: list[Layer]) -> int:
    """Floating-point operations of training with one image: forward, weight gradient, input gradient.

    Counts convolutions and dense layers alone, as matrix products, and no input gradient of the first. Algorithms that
    need fewer operations, such as Winograd's, are counted at this number too: it measures the work done.
    """
    macs = [layer.macs for layer in found if layer.macs]
    return 2 * (3 * sum(macs) - macs[0])
