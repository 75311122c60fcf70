"""The networks of the notebooks in Keras, written layer by layer from the notebooks and not from the configs."""

import collections
import functools
import math
from unittest import mock

import jax.numpy as jnp
import keras
import numpy as np


def conv(width, size, init="glorot_uniform", padding="valid", activation="relu", stride=1, bias=True):
    return keras.layers.Conv2D(
        width, size, stride, padding, activation=activation, use_bias=bias, kernel_initializer=init
    )


def separable(width, size, padding, stride=1, bias=True, init="he_normal"):
    return keras.layers.SeparableConv2D(
        width, size, stride, padding, activation="relu", use_bias=bias,
        depthwise_initializer=init, pointwise_initializer=init,
    )  # fmt: skip


def dense(width, init="glorot_uniform", activation="relu", l2=None):
    regularizer = keras.regularizers.L2(l2) if l2 else None
    return keras.layers.Dense(width, activation, kernel_initializer=init, kernel_regularizer=regularizer)


def logits(init="glorot_uniform"):
    return keras.layers.Dense(10, kernel_initializer=init)


pool, norm, flatten = keras.layers.MaxPooling2D, keras.layers.BatchNormalization, keras.layers.Flatten


def fixed_dropout(x, rate, *_):
    """Inverted dropout with a mask that depends on position and rate only.

    It replaces the random one in both networks, so that dropout at another place or of another rate shows.
    """
    size = math.prod(x.shape[1:])
    keep = (np.arange(size) * 40503 % 65536 >= rate * 65536).reshape(x.shape[1:])
    return jnp.where(keep, x / (1 - rate), 0)


class Drop(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def call(self, x, training=False):
        return fixed_dropout(x, self.rate) if training else x


def deep_cnn():
    conv_ = functools.partial(conv, init="he_normal", padding="same")
    return [
        conv_(32, 3), conv_(32, 3), pool(2), Drop(0.25),
        conv_(64, 3), conv_(64, 3), pool(2), Drop(0.25),
        flatten(), dense(256, "he_normal"), Drop(0.4), logits("glorot_normal"),
    ]  # fmt: skip


def two_conv(size):
    return [
        conv(64, size, "he_normal"), conv(32, size, "he_normal"), pool(2), norm(), Drop(0.3),
        flatten(), dense(128, "he_normal"), norm(), Drop(0.5), logits(),
    ]  # fmt: skip


def five_conv(activation="relu", init="he_normal"):
    conv_ = functools.partial(conv, init=init, activation=activation)
    dense_ = functools.partial(dense, init=init, activation=activation)
    return [
        conv_(32, 3), conv_(32, 3), pool(2), norm(), Drop(0.5),
        conv_(64, 2), conv_(64, 2), pool(2), norm(), Drop(0.5),
        conv_(128, 5), norm(), Drop(0.4),
        flatten(), dense_(256), Drop(0.4), dense_(128), Drop(0.4), logits(),
    ]  # fmt: skip


def five_conv_plain():
    conv_, dense_ = functools.partial(conv, init="he_normal"), functools.partial(dense, init="he_normal")
    return [
        conv_(32, 3), conv_(32, 3), pool(2), conv_(64, 2), conv_(64, 2), pool(2), conv_(128, 5),
        flatten(), dense_(256), dense_(128), logits(),
    ]  # fmt: skip


def six_conv():
    conv_, dense_ = functools.partial(conv, init="he_normal"), functools.partial(dense, init="he_normal")
    return [
        conv_(16, 3), pool(1), norm(), Drop(0.5),
        conv_(32, 3), pool(1), norm(), Drop(0.5),
        conv_(64, 3), pool(1), norm(), Drop(0.5),
        conv_(96, 5), pool(1), norm(), Drop(0.3),
        conv_(128, 5), pool(2), norm(), Drop(0.3),
        conv_(160, 5), pool(2), norm(), Drop(0.3),
        flatten(), dense_(256), norm(), Drop(0.3), dense_(128), Drop(0.3), logits(),
    ]  # fmt: skip


def plateau_cnn():
    conv_ = functools.partial(conv, padding="same")
    return [
        conv_(64, 3), norm(), conv_(64, 3), norm(), pool(2), Drop(0.25),
        conv_(128, 3), norm(), conv_(128, 3), norm(), pool(2), Drop(0.25),
        flatten(), dense(256, l2=0.001), norm(), Drop(0.5), logits(),
    ]  # fmt: skip


global_average, global_max = keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D
# Networks of few parameters, which no notebook has: the fields in which their configs differ from the base.
FEW_PARAMETERS = {
    "strided": {
        "blocks": ((4, 3), (5,), (6,)), "kernel_size": (3, 4, 2), "stride": (2, 3, 2), "pool": 0, "conv_bias": False,
        "batch_norm": "conv", "global_pool": "average", "hidden": (7,), "hidden_batch_norm": True,
    },
    "strided_same": {
        "blocks": ((4, 3), (5,), (6,)), "kernel_size": (3, 4, 2), "stride": (2, 1, 3), "pool": (2, 0, 0),
        "padding": "same", "global_pool": "max", "hidden": (),
    },
    "separable": {
        "blocks": ((4, 3), (5,), (6,)), "kernel_size": (3, 2, 3), "stride": (2, 1, 2), "pool": (0, 2, 0),
        "separable": True, "batch_norm": "block", "hidden": (7,), "kernel_init": "he_normal",
    },
    "separable_same": {
        "blocks": ((4, 3), (5,), (6,)), "kernel_size": (3, 4, 3), "stride": (3, 2, 1), "pool": (0, 0, 2),
        "padding": "same", "separable": (True, True, False), "conv_bias": False, "batch_norm": "conv",
        "global_pool": "average", "hidden": (), "kernel_init": "he_normal",
    },
}  # fmt: skip


def strided():
    conv_ = functools.partial(conv, bias=False)
    return [
        conv_(4, 3, stride=2), norm(), conv_(3, 3), norm(), conv_(5, 4, stride=3), norm(), conv_(6, 2, stride=2),
        norm(), global_average(), dense(7), norm(), logits(),
    ]  # fmt: skip


def strided_same():
    conv_ = functools.partial(conv, padding="same")
    return [
        conv_(4, 3, stride=2), conv_(3, 3), pool(2), conv_(5, 4), conv_(6, 2, stride=3), global_max(), logits()
    ]  # fmt: skip


def separable_valid():
    conv_ = functools.partial(separable, padding="valid")
    return [
        conv_(4, 3, stride=2), conv_(3, 3), norm(), conv_(5, 2), pool(2), norm(), conv_(6, 3, stride=2), norm(),
        flatten(), dense(7, "he_normal"), logits(),
    ]  # fmt: skip


def separable_same():
    conv_ = functools.partial(separable, padding="same", bias=False)
    return [
        conv_(4, 3, stride=3), norm(), conv_(3, 3), norm(), conv_(5, 4, stride=2), norm(),
        conv(6, 3, "he_normal", "same", bias=False), norm(), pool(2), global_average(), logits(),
    ]  # fmt: skip


# Every distinct network of the notebooks, and those above: (config, kernel size where it is searched over) -> layers of
# Keras.
ARCHITECTURES = {
    ("deep_cnn", None): deep_cnn,
    **{("two_conv", size): functools.partial(two_conv, size) for size in (2, 3, 5, 7, 11)},
    ("five_conv", None): five_conv,
    ("five_conv_plain", None): five_conv_plain,
    ("five_conv_tanh", None): functools.partial(five_conv, "tanh", "glorot_normal"),
    ("six_conv", None): six_conv,
    ("plateau_cnn", None): plateau_cnn,
    ("dense_32_32", None): lambda: [flatten(), dense(32), dense(32), logits()],
    ("dense_64_64", None): lambda: [flatten(), dense(64), dense(64), logits()],
    ("dense_32_32_32", None): lambda: [flatten(), dense(32), dense(32), dense(32), logits()],
    ("dense_dropout", None): lambda: [
        flatten(), Drop(0.5), dense(128), Drop(0.5), dense(128), Drop(0.5), logits()
    ],
    ("simple_cnn", None): lambda: [conv(32, 3), pool(2), conv(64, 3), pool(2), flatten(), dense(64), logits()],
    ("simple_cnn_dropout", None): lambda: [
        conv(32, 3), pool(2), Drop(0.25), conv(64, 3), pool(2), Drop(0.25), flatten(), dense(64), Drop(0.5), logits()
    ],
    ("simple_cnn_batchnorm", None): lambda: [
        conv(32, 3), norm(), pool(2), conv(64, 3), norm(), pool(2), flatten(), dense(64), norm(), logits()
    ],
    ("strided", None): strided,
    ("strided_same", None): strided_same,
    ("separable", None): separable_valid,
    ("separable_same", None): separable_same,
}  # fmt: skip


def initializer(kind):
    """The Keras class of one of our names: "he_normal" -> keras.initializers.HeNormal."""
    return getattr(keras.initializers, kind.title().replace("_", ""))


def keras_network(keras_layers):
    """The network with zero kernels: ours are copied into it, and drawing them would take Keras seconds a network."""

    def zeros(self, shape, dtype=None, **_):
        return jnp.zeros(shape, dtype)

    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", zeros):
        return keras.Sequential([keras.Input((28, 28, 1)), *keras_layers])


def kernels(layer):
    """(initializer, variable) of every kernel of a Keras layer, in their order."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        return [
            (layer.depthwise_initializer, layer.depthwise_kernel), (layer.pointwise_initializer, layer.pointwise_kernel)
        ]  # fmt: skip
    return [(layer.kernel_initializer, layer.kernel)] if hasattr(layer, "kernel") else []


def named_variables(network):
    """(trained variables, statistics) of a Keras network under the names of our arrays: ("conv_2", "kernel")."""
    kinds = {
        keras.layers.Conv2D: "conv", keras.layers.SeparableConv2D: "conv", keras.layers.Dense: "dense",
        keras.layers.BatchNormalization: "batch_norm",
    }  # fmt: skip
    trained, statistics, counts = {}, {}, collections.Counter()
    for layer in network.layers:
        if kind := kinds.get(type(layer)):
            counts[kind] += 1
            name = f"{kind}_{counts[kind]}"
            if kind == "batch_norm":
                trained |= {(name, "scale"): layer.gamma, (name, "bias"): layer.beta}
                statistics |= {(name, "mean"): layer.moving_mean, (name, "var"): layer.moving_variance}
                continue
            *first, (_, kernel) = kernels(layer)
            for _, own in first:
                counts["depthwise"] += 1
                trained[f"depthwise_{counts['depthwise']}", "kernel"] = own
            trained |= {(name, "kernel"): kernel} | ({(name, "bias"): layer.bias} if layer.use_bias else {})
    assert len(trained) == len(network.trainable_variables)
    assert len(statistics) == len(network.non_trainable_variables)
    return trained, statistics


def flat(tree):
    """{(layer, leaf): array} of {layer: {leaf: array}}."""
    return {(layer, leaf): array for layer, leaves in tree.items() for leaf, array in leaves.items()}


def copy_into(network, params, stats):
    """Copies our weights into the Keras network, which must have exactly the same variables."""
    for variables, ours in zip(named_variables(network), (flat(params), flat(stats)), strict=True):
        assert set(variables) == set(ours)
        for name, variable in variables.items():
            assert variable.shape == ours[name].shape
            variable.assign(np.array(ours[name]))  # A copy: Keras's training step donates its arrays.
