"""A config's network as a flat list of layers, for the builders of all frameworks. Needs nothing but Python.

The order is that of `digits.models`: blocks of convolutions (BatchNorm after each, if "conv"), pooling (BatchNorm after
it, if "block") and dropout; flattening or global pooling; hidden layers (dense, BatchNorm, dropout each); and the
logits. A separable convolution is two layers, a depthwise one and one of 1x1.
"""

import dataclasses
import math

SHAPE = (28, 28, 1)
BATCH_NORM_MOMENTUM = 0.99
BATCH_NORM_EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Layer:
    kind: str  # conv, depthwise, max_pool, batch_norm, dropout, flatten, global_pool or dense.
    inputs: int = 0  # Channels or features that come in.
    width: int = 0  # Channels or features that go out.
    size: int = 1  # Side of the convolution's kernel or of the pooling's window, in pixels.
    side: int = 1  # Side of the convolution's output, in pixels.
    stride: int = 1  # Of a convolution.
    padding: str = ""
    zeros: tuple[int, int] = (0, 0)  # With a stride: rows, and columns, that `same` adds before and after the image.
    groups: int = 1  # Of a convolution; a depthwise one has as many as channels.
    bias: bool = True
    pooling: str = ""  # Of global_pool: average or max.
    activation: str = "linear"  # Of a convolution or dense layer.
    init: str = ""
    rate: float = 0.0  # Of dropout.
    l2: float = 0.0

    @property
    def macs(self) -> int:
        """Multiplications and additions of the forward pass of one image; zero without a kernel."""
        return self.side**2 * self._weights

    @property
    def parameters(self) -> int:
        """Trained numbers and BatchNorm's moving statistics."""
        if self.kind == "batch_norm":
            return 4 * self.width
        return self._weights + self.width if self._weights and self.bias else self._weights

    @property
    def _weights(self) -> int:
        """Numbers of the kernel."""
        has_kernel = self.kind in ("conv", "depthwise", "dense")
        return self.size**2 * self.inputs * self.width // self.groups if has_kernel else 0


def layers(model: dict, classes: int) -> list[Layer]:
    """The layers of a `config.model`, read from JSON. A pooling window of 1, an identity, gives no layer."""
    found, (side, _, channels) = [], SHAPE
    padding, activation, init = model["padding"], model["activation"], model["kernel_init"]

    def each(field, count):
        return _each(model[field], count)

    def convolve(kind, inputs, width, size, stride, **more):
        nonlocal side
        before, side = side, -(-(side - (size - 1 if padding == "valid" else 0)) // stride)
        total = max((side - 1) * stride + size - before, 0) if padding == "same" and stride > 1 else 0
        zeros = total // 2, total - total // 2
        found.append(Layer(kind, inputs, width, size, side, stride, padding, zeros, init=init, **more))

    def norm_and_dropout(norm, rate, width):
        if norm:
            found.append(Layer("batch_norm", width, width))
        if rate:
            found.append(Layer("dropout", width, width, rate=rate))

    count = len(model["blocks"])
    of_a_block = (each(field, count) for field in ("kernel_size", "stride", "separable", "pool", "block_dropout"))
    for widths, size, stride, separable, pool, rate in zip(model["blocks"], *of_a_block):
        for place, width in enumerate(widths):
            kernel = size, 1 if place else stride
            if separable:
                convolve("depthwise", channels, channels, *kernel, groups=channels, bias=False)
                kernel = 1, 1
            convolve("conv", channels, width, *kernel, bias=model["conv_bias"], activation=activation)
            norm_and_dropout(model["batch_norm"] == "conv", 0.0, width)
            channels = width
        if pool > 1:
            found.append(Layer("max_pool", channels, channels, size=pool))
            side //= pool
        norm_and_dropout(model["batch_norm"] == "block", rate, channels)

    inputs = math.prod(SHAPE) if model["family"] == "dense" else side * side * channels
    if model["global_pool"] == "none":
        found.append(Layer("flatten", inputs, inputs))
    else:
        inputs = channels
        found.append(Layer("global_pool", inputs, inputs, pooling=model["global_pool"]))
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
