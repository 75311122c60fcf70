"""Writes a run as an ONNX model, layer by layer, with the `onnx` package alone.

Converters from JAX compute every shape that depends on the batch size by a chain of operations. A model written from
the layers has one or a few operations for each, and all runtimes know them.
"""

from flax import nnx
import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

import digits
from digits.data import SIDE
from digits.errors import UserError
from digits.models import families, layers
from digits.runs import loading

OPSET = 13  # The first in which all operations below have their present form, but:
_NEWER = {"Gelu": 20}
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu", "gelu": "Gelu"}


class _Graph:
    """Collects nodes and constants, in order. The output of a node has the node's name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operator: str, name: str, *inputs: str | np.ndarray, **attributes) -> str:
        """Appends a node and returns its output; arrays among its inputs become constants."""
        names = []
        for index, given in enumerate(inputs):
            if not isinstance(given, str):
                self.constants.append(numpy_helper.from_array(np.ascontiguousarray(given), f"{name}.{index}"))
                given = self.constants[-1].name
            names.append(given)
        self.nodes.append(helper.make_node(operator, names, [name], name, **attributes))
        return name


def model(run: loading.Run) -> onnx.ModelProto:
    """Builds the model: images, uint8 Nx28x28 with pixels of 0 to 255, to probabilities, float32 NxK.

        onnx.save(model(digits.load("runs/simple_cnn")), "model.onnx")

    Its opset is the lowest that the network needs, because runtimes refuse opsets that are newer than themselves.

    Raises:
      UserError: the network has a layer that has no rule here.
    """
    graph = _Graph()
    network: families.Dense | families.CNN = families.for_evaluation(run.model)
    x = _normalize(graph, run.config.data.normalization)
    for name in network.names:
        x = _layer(graph, name, getattr(network, name), x)
    graph.add("Softmax", "probabilities", x, axis=-1)
    value = helper.make_tensor_value_info
    whole = helper.make_graph(
        graph.nodes, "digits",
        [value("images", onnx.TensorProto.UINT8, ["n", SIDE, SIDE])],
        [value("probabilities", onnx.TensorProto.FLOAT, ["n", len(run.class_names)])],
        graph.constants,
    )  # fmt: skip
    opset = helper.make_opsetid("", max(_NEWER.get(node.op_type, OPSET) for node in graph.nodes))
    # The oldest version of the format that has this opset: runtimes refuse newer versions too.
    built = helper.make_model(
        whole, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset]),
        producer_name="digits", producer_version=digits.__version__,
    )  # fmt: skip
    onnx.checker.check_model(built, full_check=True)
    return built


def _normalize(graph: _Graph, kind: str) -> str:
    """Adds the nodes of `transforms.normalize`; the result is NxCxHxW, the order of ONNX's convolutions."""
    x = graph.add("Cast", "pixels", "images", to=onnx.TensorProto.FLOAT)
    if kind == "unit":
        norm = np.float32(255)
    else:
        # Not ReduceL2, which takes its axes in two ways, before opset 18 and from it on.
        squares = graph.add("ReduceSum", "norm.squared", graph.add("Mul", "squares", x, x), np.array([1]), keepdims=1)
        norm = graph.add("Sqrt", "norm", squares)
        empty = graph.add("Equal", "norm.is_0", norm, np.float32(0))
        norm = graph.add("Where", "norm.or_1", empty, np.float32(1), norm)
    return graph.add("Unsqueeze", "channels", graph.add("Div", "normalized", x, norm), np.array([1]))


def _layer(graph: _Graph, name: str, layer: nnx.Module, x: str) -> str:
    if isinstance(layer, layers.ConvBlock):
        kernel, *bias = _arrays(layer.kernel, layer.bias)
        x = _activate(graph, name, layer, _convolve(graph, name, layer, x, kernel.transpose(3, 2, 0, 1), *bias))
        return _max_pool(graph, f"{name}.max_pool", layer, x) if layer.window else x
    if isinstance(layer, layers.Depthwise):  # Each channel is a group of its own.
        (kernel,) = _arrays(layer.kernel)
        return _convolve(graph, name, layer, x, kernel.transpose(2, 3, 0, 1), group=kernel.shape[2])
    if isinstance(layer, layers.Linear):
        return _activate(graph, name, layer, graph.add("Gemm", name, x, *_arrays(layer.kernel, layer.bias)))
    if isinstance(layer, layers.MaxPool):
        return _max_pool(graph, name, layer, x)
    if isinstance(layer, nnx.BatchNorm):
        of = _arrays(layer.scale, layer.bias, layer.mean, layer.var)
        return graph.add("BatchNormalization", name, x, *of, epsilon=layer.epsilon)
    if isinstance(layer, layers.GlobalPool):
        pool = {"average": "GlobalAveragePool", "max": "GlobalMaxPool"}[layer.kind]
        return graph.add("Flatten", name, graph.add(pool, f"{name}.{layer.kind}", x))
    if isinstance(layer, layers.Flatten):  # The next layer has its weights in the order NxHxWxC.
        last = graph.add("Transpose", f"{name}.channels_last", x, perm=[0, 2, 3, 1])
        return graph.add("Flatten", name, last)
    raise UserError(f"--format is 'onnx', which has no rule for the layer {name}: name another.")


def _convolve(
    graph: _Graph, name: str, layer: layers.ConvBlock | layers.Depthwise, *inputs: str | np.ndarray, group: int = 1
) -> str:
    # Of an odd number of rows and columns SAME_UPPER puts one more below and to the right, as the layers do.
    pad = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
    return graph.add("Conv", name, *inputs, auto_pad=pad, strides=[layer.stride] * 2, group=group)


def _max_pool(graph: _Graph, name: str, layer: layers.ConvBlock | layers.MaxPool, x: str) -> str:
    window = [layer.window] * 2
    return graph.add("MaxPool", name, x, kernel_shape=window, strides=window)


def _arrays(*variables: nnx.Variable | None) -> list[np.ndarray]:
    return [np.asarray(jax.device_get(variable[...])) for variable in variables if variable is not None]


def _activate(graph: _Graph, name: str, layer: layers.Linear | layers.ConvBlock, x: str) -> str:
    kind = layer.activation
    if kind == "linear":
        return x
    if kind == "silu":
        return graph.add("Mul", f"{name}.silu", x, graph.add("Sigmoid", f"{name}.sigmoid", x))
    approximate = {"approximate": "tanh"} if kind == "gelu" else {}  # As jax.nn.gelu.
    return graph.add(_ACTIVATIONS[kind], f"{name}.{kind}", x, **approximate)
