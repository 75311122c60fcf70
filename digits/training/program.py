"""The examples and compiled programs that runs on the same devices share; one program serves a structure of config."""

from collections.abc import Callable
import concurrent.futures
import dataclasses
import threading
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import data, models
from digits.config import numbers as config_numbers
from digits.errors import require
from digits.models import families, inference
from digits.runtime.devices import Devices
from digits.training import optimizer, step
from digits.training.step import TrainMetrics, TrainState, numbers_of


@dataclasses.dataclass(frozen=True)
class Examples:
    """A dataset, split as a `config.data` says; training and validation examples lie on every device.

    `about` is for the run's records: see `data.about`.
    """

    train: tuple[jax.Array, jax.Array]
    validation: tuple[jax.Array, jax.Array] | None
    test: tuple[Any, Any]  # On the host: it is needed once, at the end.
    class_names: tuple[str, ...]
    about: dict[str, Any]


def check_batch(config: ConfigDict, examples: int) -> None:
    """Raises UserError if a batch is larger than the training set, or there are more steps than can be counted."""
    accepted = f"at most the {examples:,} training examples"
    require(config.batch_size <= examples, "batch_size", config.batch_size, accepted)
    most = (2**31 - 1) // -(-examples // config.batch_size)  # Steps are int32.
    require(config.epochs <= most, "epochs", config.epochs, f"at most {most:,} with this config.batch_size")


class Program:
    """The compiled functions of all configs that differ in numbers only (see `config_numbers.structure`).

    `model` is the network without weights, `shapes` are those of the state and of the totals. Every device has a copy
    of all arrays. Raises UserError if the config describes no network.
    """

    def __init__(self, config: ConfigDict, examples: Examples, devices: Devices = Devices()):
        self.config, self.devices = config, devices
        self.examples, classes = examples.about["train"], len(examples.class_names)
        self.steps_per_epoch = -(-self.examples // config.batch_size)
        self.model = models.outline(config.model, classes)
        families.check_size(self.model)
        graphdef, _, _ = families.parts(self.model)
        train_step = step.make_train_step(config, graphdef, self.steps_per_epoch)
        self.run_steps = step.make_run_steps(train_step, self.examples, config.batch_size, devices.count)
        self._evaluate = inference.make_evaluate(
            graphdef, config.data.normalization, config.eval_batch_size, devices, step.compiler_options(config)
        )
        self._learning_rate = devices.jit(self._last_rate)

        def init(start):
            return step.init_state(config, classes, start), TrainMetrics.empty()

        self._init: jax.stages.Traced | jax.stages.Compiled = devices.jit(init).trace(numbers_of(config))
        self.shapes = self._init.out_info
        self._shuffled = devices.jit(step.shuffled, static_argnums=2) if devices.devices else step.shuffled
        self._compiled: concurrent.futures.Future | None = None
        self._lock = threading.Lock()

    def compile(self, examples: Examples) -> None:
        """Begins to compile the training, once, in a thread of its own: XLA needs no Python."""

        def everywhere(a):
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.devices.everywhere)

        with self._lock:
            if self._compiled:
                return
            state, totals = jax.tree.map(everywhere, self.shapes)
            zero, order = np.int32(0), everywhere(jax.ShapeDtypeStruct((self.examples,), jnp.int32))
            run = self.devices.jit(self.devices.each(self.run_steps), donate_argnums=(0, 1))
            lowered = run.lower(state, totals, examples.train, order, zero, zero)
            thread = concurrent.futures.ThreadPoolExecutor(1)
            self._compiled = thread.submit(step.compile_steps, lowered, self.config)
            thread.shutdown(wait=False)

    @property
    def compiled(self) -> jax.stages.Compiled:
        """(state, totals, data, order, start, stop) -> (state, totals): see `step.make_run_steps`. Waits for it."""
        return self._compiled.result()

    def init(self, config: ConfigDict) -> tuple[TrainState, TrainMetrics]:
        """The state of a config before the first step, and the totals before an epoch."""
        with self._lock:
            if isinstance(self._init, jax.stages.Traced):
                self._init = self._init.lower().compile()
        return self._init(numbers_of(config))

    def order(self, seed: int, epoch: int) -> jax.Array:
        """The order of the training examples in an epoch (from 1)."""
        return self._shuffled(np.int32(seed), np.int32(epoch), self.examples)

    def evaluate(self, state: TrainState, images, labels) -> dict[str, float]:
        """Exact loss and accuracy of the state's network."""
        return self._evaluate(state.weights, state.stats, images, labels, state.numbers.layers)

    def logits(self, state: TrainState, images: np.ndarray) -> np.ndarray:
        """Logits of the state's network, NxK, for images of Nx28x28."""
        params, stats = state.weights, state.stats
        if self.devices.devices:
            params, stats = jax.device_get((params, stats))
        model = nnx.merge(families.parts(self.model)[0], params, stats)
        return inference.logits(families.for_evaluation(model), self.config.data.normalization, images)

    def learning_rate(self, state: TrainState) -> float:
        """The learning rate of the last step."""
        return float(self._learning_rate(state.step, state.learning_rate, state.numbers.schedule))

    def _last_rate(self, steps, base, numbers):
        name, epochs = self.config.schedule.name, self.config.epochs
        return optimizer.learning_rate(name, numbers, epochs, self.steps_per_epoch)(steps - 1, base)


class Shared:
    """A cache of the examples and programs of runs on the same devices, each made when it is first needed.

    `dataset` returns the dataset; every new split calls it.
    """

    def __init__(self, dataset: Callable[[], data.Dataset], devices: Devices = Devices()):
        self.dataset, self.devices, self._examples, self._programs = dataset, devices, {}, {}
        self._lock = threading.Lock()

    def examples(self, config: ConfigDict) -> Examples:
        """The examples of a config; UserError if its data cannot be split."""
        with self._lock:
            key = config.data.to_json()
            if key not in self._examples:
                # A fold is a copy of the training set: keep only those of the latest runs.
                for old in list(self._examples)[:-2]:
                    del self._examples[old]
                self._examples[key] = self._split(config.data)
            return self._examples[key]

    def _split(self, config: ConfigDict) -> Examples:
        dataset = self.dataset()
        splits = data.split(dataset, config)
        about = data.about(dataset, splits)
        train, validation = self.devices.put((splits.train, splits.validation))
        test = validation if config.validation == "test" else splits.test
        return Examples(train, validation, test, dataset.class_names, about)

    def program(self, config: ConfigDict, examples: Examples) -> Program:
        """The program of a config's structure, for as many examples."""
        key = config_numbers.structure(config), examples.about["train"]
        with self._lock:
            if key not in self._programs:
                self._programs[key] = Program(config, examples, self.devices)
            return self._programs[key]
