"""Keras 3: `compile` and `fit` with NumPy arrays and default settings, on the backend that the variant names.

The progress bar is off and the data is not shuffled again: both would only cost time. A person calls `fit` once for
many epochs, a span of the benchmark once for some steps: only the time of the epoch inside it counts.
"""

import os
import time

import numpy as np

from benchmarks import network
from benchmarks.problem import Problem


def build(layers: list[network.Layer], shift: tuple[float, float] = (0.0, 0.0)):
    """The network on images of Nx28x28x1, without softmax; it shifts training images first."""
    import keras

    def one(layer):
        if layer.kind == "conv":
            return keras.layers.Conv2D(
                layer.width, layer.size, layer.stride, layer.padding, activation=_activation(layer.activation),
                use_bias=layer.bias, kernel_initializer=layer.init,
            )  # fmt: skip
        if layer.kind == "depthwise":
            return keras.layers.DepthwiseConv2D(
                layer.size, layer.stride, layer.padding, use_bias=layer.bias, depthwise_initializer=layer.init
            )
        if layer.kind == "dense":
            return keras.layers.Dense(
                layer.width, activation=_activation(layer.activation), kernel_initializer=layer.init,
                kernel_regularizer=keras.regularizers.L2(layer.l2) if layer.l2 else None,
            )  # fmt: skip
        if layer.kind == "batch_norm":
            return keras.layers.BatchNormalization(
                momentum=network.BATCH_NORM_MOMENTUM, epsilon=network.BATCH_NORM_EPSILON
            )
        if layer.kind == "max_pool":
            return keras.layers.MaxPooling2D(layer.size)
        if layer.kind == "global_pool":
            kinds = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
            return kinds[layer.pooling]()
        return keras.layers.Dropout(layer.rate) if layer.kind == "dropout" else keras.layers.Flatten()

    shifts = [keras.layers.RandomTranslation(*shift, fill_mode="nearest")] if any(shift) else []
    return keras.Sequential([keras.layers.Input(network.SHAPE), *shifts, *map(one, layers)])


def _activation(name: str):
    import keras

    return (lambda x: keras.activations.gelu(x, approximate=True)) if name == "gelu" else name


def make_optimizer(config: dict, rates: np.ndarray | None = None):
    """The optimizer of a `config.optimizer`, with a rate for every update if `rates` has them."""
    import keras

    class Rates(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            last = len(rates) - 1  # A warm-up may be longer than the training.
            return keras.ops.convert_to_tensor(rates)[keras.ops.minimum(keras.ops.cast(step, "int32"), last)]

    rate = config["learning_rate"] if rates is None else Rates()
    if config["name"] == "adam":
        return keras.optimizers.Adam(rate, config["beta_1"], config["beta_2"], config["epsilon"])
    if config["name"] == "sgd":
        return keras.optimizers.SGD(rate, config["momentum"], config["nesterov"])
    return keras.optimizers.RMSprop(rate, config["rho"], epsilon=config["epsilon"])


class Contestant:
    def __init__(self, problem: Problem, variant: str):
        os.environ["KERAS_BACKEND"] = variant
        import keras

        self.keras = keras
        keras.utils.set_random_seed(problem.config["seed"])
        self.problem, self.labels, self.outside, self.shuffle = problem, problem.labels, 0.0, False
        self.device = _device(variant)
        self.model = build(problem.layers, problem.shift)
        self.parameters = self.model.count_params()
        self.model.compile(
            optimizer=make_optimizer(problem.config["optimizer"], problem.rates),
            loss=self._loss(problem.config["label_smoothing"]),
            metrics=["accuracy"],
        )

    def _loss(self, smoothing: float):
        """Keras smooths labels only as vectors."""
        if not smoothing:
            return self.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.labels = np.eye(self.problem.classes, dtype=np.float32)[self.labels]
        return self.keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def restart(self, seed: int) -> None:
        self.keras.utils.set_random_seed(seed)
        self.shuffle = True
        self.model.set_weights(build(self.problem.layers, self.problem.shift).get_weights())
        for variable in self.model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))

    def train(self, start: int, stop: int) -> tuple[float, float]:
        size = self.problem.batch_size
        rows = slice(start * size, stop * size)
        inputs, labels = self.problem.inputs[rows], self.labels[rows]
        times = []

        def note(epoch, logs):
            return times.append(time.perf_counter())

        clock = self.keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
        started = time.perf_counter()
        # The epoch ends with its metrics as Python numbers: the device has done its work then.
        fit = self.model.fit(
            inputs, labels, batch_size=size, epochs=1, shuffle=self.shuffle, verbose=0, callbacks=[clock]
        )
        self.outside += time.perf_counter() - started - (times[1] - times[0])
        history = fit.history
        return float(history["loss"][-1]), float(history["accuracy"][-1])

    def test(self) -> float:
        _, inputs, labels = self.problem.test
        return float(np.mean(self.model.predict(inputs, batch_size=500, verbose=0).argmax(1) == labels))


def _device(backend: str) -> str:
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(found[0])["device_name"] if found else "cpu"
