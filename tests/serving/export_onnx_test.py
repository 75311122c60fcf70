"""The graph of an ONNX model, by its operations. Its predictions are tested in exporting_test.py."""

import pathlib

import jax
import pytest

from digits import models
from digits.config.values import with_values
from digits.runs import loading
from tests.conftest import tiny_config

pytest.importorskip("onnx")

from digits.serving import export_onnx  # noqa: E402 - imports onnx


def operators(**fields):
    config = with_values(tiny_config(), {f"model.{field}": value for field, value in fields.items()})
    model = models.build(config.model, 10, jax.random.key(0))
    run = loading.Run(pathlib.Path("made"), "made", {}, config, model, tuple("0123456789"), 1, [], None)
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
