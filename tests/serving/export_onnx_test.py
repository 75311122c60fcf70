"""The graph of an ONNX model, by its operations and its opset. Predictions elsewhere: exporting_test.py."""

import pathlib

import jax
import pytest

from digits import models
from digits.config.values import with_values
from digits.runs import loading
from tests.conftest import tiny_config

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from digits.serving import export_onnx, exporting  # noqa: E402 - imports onnx


def made(values):
    config = with_values(tiny_config(), values)
    model = models.build(config.model, 10, jax.random.key(0))
    return loading.Run(pathlib.Path("made"), "made", {}, config, model, tuple("0123456789"), 1, [], None)


def operators(**fields):
    run = made({f"model.{field}": value for field, value in fields.items()})
    return [node.op_type for node in export_onnx.model(run).graph.node]


def test_a_dense_layer_is_a_product_and_its_activation_and_dropout_is_nothing():
    dense = {"hidden": (8,), "hidden_batch_norm": False, "hidden_dropout": 0.5}
    begin, end = ["Cast", "Div", "Unsqueeze", "Transpose", "Flatten", "Gemm"], ["Gemm", "Softmax"]
    assert operators(**dense, activation="relu") == [*begin, "Relu", *end]
    assert operators(**dense, activation="silu") == [*begin, "Sigmoid", "Mul", *end]
    assert operators(**dense | {"hidden_batch_norm": True}, activation="relu").count("BatchNormalization") == 1


def test_a_separable_convolution_is_two_and_global_pooling_one_operation():
    fields = {"family": "cnn", "blocks": ((4,),), "separable": True, "stride": 2, "conv_bias": False, "pool": 0}
    fields |= {"hidden": (), "hidden_batch_norm": False, "hidden_dropout": 0.0, "convolution": "stock"}
    begin, end = ["Cast", "Div", "Unsqueeze", "Conv", "Conv", "Relu"], ["Flatten", "Gemm", "Softmax"]
    assert operators(**fields, global_pool="average") == [*begin, "GlobalAveragePool", *end]
    assert operators(**fields, global_pool="max") == [*begin, "GlobalMaxPool", *end]


CNN = {"model.family": "cnn", "model.blocks": ((4,),), "model.batch_norm": "conv", "model.convolution": "dot"}


@pytest.mark.parametrize(
    "values, opset, ir_version",
    [
        *(({"model.activation": name}, 13, 7) for name in ("linear", "relu", "tanh", "sigmoid", "elu", "silu")),
        ({"model.activation": "gelu"}, 20, 9),
        ({"data.normalization": "column_l2"}, 13, 7),
        ({"data.normalization": "column_l2", "model.activation": "gelu"}, 20, 9),
        (CNN, 13, 7),
        (CNN | {"model.activation": "gelu"}, 20, 9),
        (CNN | {"model.separable": True, "model.global_pool": "average"}, 13, 7),
        (CNN | {"model.padding": "same", "model.pool": 3, "model.stride": 2, "model.global_pool": "max"}, 13, 7),
    ],
)
def test_the_opset_is_the_lowest_that_the_network_needs_and_its_runtime_takes_it(values, opset, ir_version, tmp_path):
    run = made(values)
    built = export_onnx.model(run)
    assert [(one.domain, one.version) for one in built.opset_import] == [("", opset)]
    assert built.ir_version == ir_version
    onnx.checker.check_model(built, full_check=True)
    built.opset_import[0].version = 12 if opset == 13 else 19  # One less is too few.
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        onnx.checker.check_model(built, full_check=True)
    exported = exporting.export(run, "onnx", tmp_path / "model.onnx")  # Compares with ONNX Runtime.
    assert exported.about == f"opset {opset}" and exported.difference < 1e-5
