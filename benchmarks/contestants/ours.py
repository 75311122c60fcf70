"""The project's own engine: uint8 data on the device, many steps as one compiled loop, the compilation cache."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import Problem
from digits import models
from digits.config.values import config_from_json
from digits.models import families, inference
from digits.runtime import machine
from digits.training.step import (
    TrainMetrics,
    compile_steps,
    init_state,
    make_run_steps,
    make_train_step,
    numbers_of,
    shuffled,
)


class Contestant:
    outside = 0.0

    def __init__(self, problem: Problem, variant: str):
        config = config_from_json(problem.config)
        if variant != "augmented" and not any(problem.shift):
            for field in config.augment:
                config.augment[field] = 0.0
        if variant == "stock":
            config.model.convolution = variant
        if config.compilation_cache:  # As digits.training.train does.
            jax.config.update("jax_compilation_cache_dir", str(machine.cache_dir() / "xla"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        self.problem, self.device = problem, jax.devices()[0].device_kind
        model = models.outline(config.model, problem.classes)
        graphdef, *arrays = families.parts(model)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(arrays))
        step = make_train_step(config, graphdef, problem.steps_per_epoch)
        run_steps = make_run_steps(step, problem.examples, problem.batch_size)
        self._init = jax.jit(lambda seed: init_state(config, problem.classes, numbers_of(config)._replace(seed=seed)))
        self.state = self._init(np.int32(config.seed))
        # The data is in its order already; the engine gathers every batch by an order all the same.
        order = jnp.arange(problem.examples, dtype=jnp.int32)
        self.data, self.order = jax.device_put((problem.images, problem.labels)), order
        self.seed, self.epoch = None, 0
        zero = np.int32(0)
        lowered = jax.jit(run_steps, donate_argnums=(0, 1)).lower(
            self.state, TrainMetrics.empty(), self.data, self.order, zero, zero
        )
        self.run_steps = compile_steps(lowered, config)
        self.evaluate = inference.make_evaluate(graphdef, config.data.normalization, config.eval_batch_size)

    def restart(self, seed: int) -> None:
        self.state, self.seed, self.epoch = self._init(np.int32(seed)), np.int32(seed), 0

    def train(self, start: int, stop: int) -> tuple[float, float]:
        if self.seed is not None and start == 0:
            self.epoch += 1
            self.order = shuffled(self.seed, np.int32(self.epoch), self.problem.examples)
        self.state, totals = self.run_steps(
            self.state, TrainMetrics.empty(), self.data, self.order, np.int32(start), np.int32(stop)
        )
        jax.block_until_ready((self.state, totals))
        means = jax.device_get(totals).compute()
        return float(means["loss"]), float(means["accuracy"])

    def test(self) -> float:
        images, _, labels = jax.device_put(self.problem.test)
        return self.evaluate(self.state.params, self.state.stats, images, labels)["accuracy"]
