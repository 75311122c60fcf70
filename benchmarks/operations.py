"""Times the operations that replace XLA's own: convolution as matrix products, and dropout by 8 or 16 random bits.

    python -m benchmarks.operations --model=deep_cnn --json=benchmarks/results/operations_deep_cnn.json

Every way trains the same network in this process, on images that lie on the device, for some seconds a round:

native: the compiled epoch with the convolutions of `digits/models/ops/kernels/`, or without convolutions.
bernoulli: the same with `jax.random.bernoulli` for dropout.
dot: the compiled epoch with convolutions as matrix products, for machines without a C++ compiler.
stock call: XLA's own convolutions, each step a call of a compiled function, because they are slow inside a loop.
"""

from collections.abc import Callable
import os
import sys
import time
from typing import Any
from unittest import mock

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import command, problem, results
from digits import data, models
from digits.models import families
from digits.models.ops import dropout
from digits.training import step

_SECONDS = flags.DEFINE_float("seconds", 2.0, "For about how long each way trains in a round.", lower_bound=0)


def dropout_by_bernoulli(x, rate, key, *_):
    """Inverted dropout with 32 random bits a number, as `flax.nnx.Dropout` has it."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def ways(config) -> list[str]:
    """The ways to train that differ for a config, the present one first."""
    found = ["native"]
    if config.model.input_dropout or config.model.hidden_dropout or config.model.block_dropout:
        found.append("bernoulli")
    return found + (["dot", "stock call"] if config.model.family == "cnn" else [])


def prepare(way: str, config, dataset) -> Callable[[int], None]:
    """Compiles a way and returns a function that trains for so many steps."""
    config = config.copy_and_resolve_references()
    config.model.convolution = {"dot": "dot", "stock call": "stock"}.get(way, "native")
    classes, size, examples = len(dataset.class_names), config.batch_size, len(dataset.train_labels)
    steps = examples // size
    graphdef = families.parts(models.outline(config.model, classes))[0]
    train_step = step.make_train_step(config, graphdef, steps)
    run_steps = step.make_run_steps(train_step, examples, size)

    def one_step(state, totals, data, order, number):
        images, labels = data
        index = jax.lax.dynamic_slice(order, (number * size,), (size,))
        state, found = train_step(state, (images[index], labels[index].astype(jnp.int32)))
        return state, totals.merge(found)

    carry = jax.jit(lambda: step.init_state(config, classes))(), step.TrainMetrics.empty()
    order = step.shuffled(np.int32(config.seed), np.int32(1), examples)
    given = jax.device_put((dataset.train_images, dataset.train_labels)), order
    zero = np.int32(0)
    by_call = way == "stock call"
    function, bounds = (one_step, (zero,)) if by_call else (run_steps, (zero, zero))
    inverted = dropout_by_bernoulli if way == "bernoulli" else dropout.inverted_dropout
    with mock.patch.object(dropout, "inverted_dropout", inverted):
        compiled = step.compile_steps(jax.jit(function, donate_argnums=(0, 1)).lower(*carry, *given, *bounds), config)

    def train(count: int) -> None:
        nonlocal carry
        if by_call:
            for number in range(count):
                carry = compiled(*carry, *given, np.int32(number))
        else:
            carry = compiled(*carry, *given, zero, np.int32(count))
        jax.block_until_ready(carry)

    return train


def compare(_folder) -> dict[str, Any]:
    """Steps and seconds of every way in every round."""
    config, _ = problem.resolve(command.MODEL.value, command.SET.value)
    dataset = data.load(config.data.name, command.DATA_DIR.value)
    reports, trained, before = {}, {}, os.getloadavg()[0]
    for way in ways(config):
        train = trained[way] = prepare(way, config, dataset)
        train(1)
        started = time.perf_counter()
        train(3)
        wanted = round(3 * _SECONDS.value / (time.perf_counter() - started))
        steps = max(3, min(wanted, len(dataset.train_labels) // config.batch_size))
        reports[way] = {"steps": steps, "rounds": []}
    for number in range(1, command.ROUNDS.value + 1):
        for way in list(trained)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            trained[way](reports[way]["steps"])
            seconds = (time.perf_counter() - started) / reports[way]["steps"]
            reports[way]["rounds"].append({"round": number, "seconds": seconds})
        command.say(f"round {number} of {command.ROUNDS.value}")
    return {
        "kind": "operations",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "batch_size": config.batch_size,
        "load": [before, os.getloadavg()[0]],  # Of the machine, before and after, this process included.
        "contestants": reports,
        "failed": {},
        "machine": results.computer({}),
        "versions": results.own_versions(),
        **results.origin("benchmarks.operations", sys.argv[1:]),
    }


def table(measured: dict[str, Any]) -> str:
    """Steps a second of every way."""
    return "\n".join(
        f"{way:<12}{results.Spread.of(1 / item['seconds'] for item in report['rounds'])} steps/s"
        for way, report in measured["contestants"].items()
    )


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
