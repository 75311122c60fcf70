"""Flax's MNIST tutorial: an NNX model, a jitted step that is fed a NumPy batch, Flax's own layers, Optax.

The tutorial reads batches through TFDS; here they are slices of an array in memory, which costs less.
"""

import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import network
from benchmarks.problem import Problem


def build(layers: list[network.Layer], seed: int = 0) -> nnx.Sequential:
    """The network on images of Nx28x28x1. A layer's L2 factor is the attribute `l2` of its module."""
    rngs, modules = nnx.Rngs(seed), []
    for layer in layers:
        # Flax has a depthwise kernel's inputs and outputs the other way round than Keras, whose formulas these are.
        axes = (-1, -2) if layer.groups > 1 else (-2, -1)
        init = getattr(jax.nn.initializers, layer.init)(*axes) if layer.init else None
        if layer.kind in ("conv", "depthwise"):
            size, strides = (layer.size, layer.size), (layer.stride, layer.stride)
            modules.append(
                nnx.Conv(
                    layer.inputs, layer.width, size, strides, padding=layer.padding.upper(), use_bias=layer.bias,
                    feature_group_count=layer.groups, kernel_init=init, rngs=rngs,
                )
            )  # fmt: skip
        elif layer.kind == "dense":
            modules.append(nnx.Linear(layer.inputs, layer.width, kernel_init=init, rngs=rngs))
            modules[-1].l2 = layer.l2
        elif layer.kind == "batch_norm":
            momentum, epsilon = network.BATCH_NORM_MOMENTUM, network.BATCH_NORM_EPSILON
            modules.append(nnx.BatchNorm(layer.width, momentum=momentum, epsilon=epsilon, rngs=rngs))
        elif layer.kind == "dropout":
            modules.append(nnx.Dropout(layer.rate, rngs=rngs))
        elif layer.kind == "max_pool":
            modules.append(_max_pool(layer.size))
        elif layer.kind == "global_pool":
            modules.append(functools.partial({"average": jnp.mean, "max": jnp.max}[layer.pooling], axis=(1, 2)))
        else:
            modules.append(lambda x: x.reshape(x.shape[0], -1))
        if layer.init and layer.activation != "linear":
            modules.append(jnp.tanh if layer.activation == "tanh" else getattr(jax.nn, layer.activation))
    return nnx.Sequential(*modules)


def _max_pool(size: int):
    return lambda x: nnx.max_pool(x, (size, size), strides=(size, size))


def make_optimizer(config: dict) -> optax.GradientTransformation:
    """The optimizer of a `config.optimizer`."""
    rate = config["learning_rate"]
    if config["name"] == "adam":
        return optax.adam(rate, config["beta_1"], config["beta_2"], config["epsilon"])
    if config["name"] == "sgd":
        return optax.sgd(rate, config["momentum"] or None, config["nesterov"])
    return optax.rmsprop(rate, config["rho"], config["epsilon"], eps_in_sqrt=config["epsilon_in_sqrt"])


def loss_fn(model, images, labels):
    """The mean cross-entropy plus the L2 penalty, and the logits."""
    logits = model(images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    penalties = (m.l2 * jnp.sum(m.kernel[...] ** 2) for m in model.layers if getattr(m, "l2", 0.0))
    return loss + sum(penalties), logits


@nnx.jit
def train_step(model, optimizer, metrics, images, labels):
    (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, images, labels)
    metrics.update(loss=loss, logits=logits, labels=labels)
    optimizer.update(model, grads)


@nnx.jit
def predict(model, images):
    return model(images).argmax(1)


class Contestant:
    outside = 0.0

    def __init__(self, problem: Problem, variant: str):
        self.problem, self.device = problem, jax.devices()[0].device_kind
        self.model = build(problem.layers, problem.config["seed"])
        kinds = nnx.state(self.model, nnx.Param), nnx.state(self.model, nnx.BatchStat)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(kinds))
        self.optimizer = nnx.Optimizer(self.model, make_optimizer(problem.config["optimizer"]), wrt=nnx.Param)
        self.metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))
        self.labels = problem.labels.astype(np.int32)

    def train(self, start: int, stop: int) -> tuple[float, float]:
        size = self.problem.batch_size
        self.model.train()
        self.metrics.reset()
        for i in range(start * size, stop * size, size):
            batch = self.problem.inputs[i : i + size], self.labels[i : i + size]
            train_step(self.model, self.optimizer, self.metrics, *batch)
        jax.block_until_ready(nnx.state(self.model))
        result = self.metrics.compute()
        return float(result["loss"]), float(result["accuracy"])

    def test(self) -> float:
        _, inputs, labels = self.problem.test
        self.model.eval()
        return float(np.mean(np.asarray(predict(self.model, inputs)) == labels))
