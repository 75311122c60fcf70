"""Trains one epoch twice from the same seed, with the layers chosen for this machine and with XLA's own.

    python -m benchmarks.agreement --model=deep_cnn --json=benchmarks/results/agreement_deep_cnn.json

Both see the same images in the same order, with the same dropout and augmentation. The rounding errors of two correct
implementations differ, and training enlarges the difference with every step: what must agree is what the epoch reports.
"""

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import command, problem, results
from digits import data, models
from digits.models import families, inference
from digits.models.ops import convolution
from digits.training.step import init_state, make_train_step, shuffled


def train(config, splits, test, classes: int) -> dict[str, float]:
    """Mean loss and accuracy of an epoch's full batches, and test figures after it.

    Every step is a call of its own: inside a loop, XLA's convolution gradients take many times as long.
    """
    graphdef = families.parts(models.outline(config.model, classes))[0]
    examples, size = len(splits.train[1]), config.batch_size
    one = jax.jit(make_train_step(config, graphdef, -(-examples // size)), donate_argnums=0)
    images, labels = jax.device_put(splits.train)
    order = shuffled(np.int32(config.seed), np.int32(1), examples)
    state, totals = init_state(config, classes), None
    for step in range(examples // size):
        index = order[step * size : (step + 1) * size]
        state, metrics = one(state, (images[index], labels[index].astype(jnp.int32)))
        totals = totals.merge(metrics) if totals else metrics
    means = jax.device_get(totals).compute()
    tested = inference.make_evaluate(graphdef, config.data.normalization, config.eval_batch_size)(
        state.params, state.stats, *jax.device_put(test)
    )
    mean = {name: float(means[name]) for name in ("loss", "accuracy")}
    return mean | {f"test_{name}": value for name, value in tested.items()}


def compare(_folder) -> dict[str, Any]:
    """The figures of both, and how many seconds each took."""
    config, changes = problem.resolve(command.MODEL.value, command.SET.value)
    dataset = data.load(config.data.name, command.DATA_DIR.value)
    splits = data.split(dataset, config.data)
    reports = {}
    for implementation in (convolution.choose(config.model.convolution), "stock"):
        config.model.convolution, started = implementation, time.perf_counter()
        figures = train(config, splits, splits.test, len(dataset.class_names))
        reports[implementation] = {"rounds": [figures | {"seconds": time.perf_counter() - started}]}
        command.say(f"{implementation}: done")
    return {
        "kind": "agreement",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "changes": [change for change in changes if change != "no augmentation"],
        "seed": config.seed,
        "contestants": reports,
        "failed": {},
        "machine": results.computer({}),
        **results.origin("benchmarks.agreement", sys.argv[1:]),
    }


FIGURES = ("loss", "accuracy", "test_loss", "test_accuracy", "seconds")


def table(measured: dict[str, Any]) -> str:
    """The figures side by side."""
    lines = [f"{'':10}" + "".join(f"{name:>15}" for name in FIGURES)]
    for implementation, report in measured["contestants"].items():
        lines.append(f"{implementation:10}" + "".join(f"{report['rounds'][0][name]:15.5f}" for name in FIGURES))
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
