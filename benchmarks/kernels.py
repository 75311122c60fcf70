"""Times the compiled convolutions of a network, layer by layer and pass by pass, beside the peak of the processor.

    python -m benchmarks.kernels --model=deep_cnn --json=benchmarks/results/kernels_deep_cnn.json

Effective operations are those of the plain sum, executed ones those that the products really do: minimal filtering
needs fewer, and its transforms do not count. The error of a pass is the largest difference from float64, relative to
the largest value.
"""

from collections.abc import Callable, Iterator
import os
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import command, network, operations, problem, results, sgemm
from digits import data
from digits.errors import UserError
from digits.models.ops import native

_SECONDS = 0.1  # For about how long each pass runs in a round.
_COMPARED = 4  # Images; in float64 each takes long.


class Convolution(NamedTuple):
    name: str
    batch: int
    side: int  # Of the input.
    channels: int
    width: int
    size: int
    settings: native.Settings

    @property
    def result_side(self) -> int:
        return self.side + self.settings.low + self.settings.high - self.size + 1


def convolutions(config, classes: int) -> Iterator[Convolution]:
    """The convolutions of a config that native.py computes, each with the pooling that follows it."""
    side = network.SHAPE[0]
    layers = network.layers(config.model.to_dict(), classes)
    for layer, after in zip(layers, [*layers[1:], None]):
        if layer.kind == "conv":
            zeros = layer.size - 1 if layer.padding == "same" else 0
            window = 2 if after and after.kind == "max_pool" and after.size == 2 else 1
            settings = native.Settings(zeros // 2, zeros - zeros // 2, config.model.activation == "relu", window)
            name = f"{side}x{side}x{layer.inputs} to {layer.width}, {layer.size}x{layer.size}"
            if layer.stride == 1 and 1 < layer.size < side + zeros:
                yield Convolution(name, config.batch_size, side, layer.inputs, layer.width, layer.size, settings)
        side = side // layer.size if layer.kind == "max_pool" else layer.side if layer.kind == "conv" else side


def passes(one: Convolution) -> dict[str, tuple[Callable, tuple[jax.Array, ...], int]]:
    """For each pass its function, arguments and number of executed multiplications an image."""
    x, kernel, bias = inputs(one)
    y, winner = native.convolve(x, kernel, bias, one.settings)
    g = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.float32)
    y = y[:0] if one.settings.window > 1 else y
    filtered = native.multiplications(x.shape, kernel.shape, one.settings)
    found = {
        "forward": (lambda x, *more: native.convolve(x, *more, one.settings), (x, kernel, bias), filtered),
        "kernel gradient": (
            lambda x, *more: native.kernel_gradient(x, *more, one.size, one.settings), (x, g, y, winner), filtered,
        ),
    }  # fmt: skip
    if one.channels > 1:  # A first layer has no gradient of its input.
        settings = native.Settings(*(one.size - 1 - zeros for zeros in one.settings[:2]))
        turned = one.size, one.size, one.width, one.channels
        filtered = native.multiplications((one.batch, one.result_side, one.result_side, one.width), turned, settings)
        found["input gradient"] = (
            lambda g, *more: native.input_gradient(g, *more, x.shape, one.settings), (g, y, winner, kernel), filtered,
        )  # fmt: skip
    return found


def inputs(one: Convolution) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images as a ReLU leaves them, a kernel as He's initialiser draws it, and a bias."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(one.batch, one.side, one.side, one.channels)), 0)
    scale = (2 / (one.size**2 * one.channels)) ** 0.5
    kernel = scale * rng.normal(size=(one.size, one.size, one.channels, one.width))
    return tuple(jnp.asarray(array, jnp.float32) for array in (x, kernel, 0.1 * rng.normal(size=one.width)))


def errors(one: Convolution) -> dict[str, float]:
    """The error of each pass, without ReLU and pooling, whose kinks would hide it."""
    plain = one._replace(batch=min(one.batch, _COMPARED), settings=native.Settings(*one.settings[:2]))
    x, kernel, bias = inputs(plain)
    y, winner = native.convolve(x, kernel, 0 * bias, plain.settings)
    g = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.float32)
    found = {
        "forward": (y, correlate(x, kernel, *plain.settings[:2])),
        "input gradient": (
            native.input_gradient(g, y, winner, kernel, x.shape, plain.settings),
            correlate(g, kernel[::-1, ::-1].swapaxes(2, 3), *(one.size - 1 - zeros for zeros in plain.settings[:2])),
        ),
        "kernel gradient": (
            native.kernel_gradient(x, g, y, winner, one.size, plain.settings)[0],
            np.einsum("nhwcij,nhwo->ijco", windows(x, one.size, *plain.settings[:2]), g, optimize=True),
        ),
    }
    return {name: float(np.abs(got - true).max() / np.abs(true).max()) for name, (got, true) in found.items()}


def windows(x: jax.Array, size: int, low: int, high: int) -> np.ndarray:
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (low, high), (low, high), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))


def correlate(x: jax.Array, kernel: jax.Array, low: int, high: int) -> np.ndarray:
    """The plain sum in float64."""
    found = windows(x, len(kernel), low, high)
    return np.einsum("nhwcij,ijco->nhwo", found, np.asarray(kernel, np.float64), optimize=True)


def prepare(function: Callable, arguments: tuple[jax.Array, ...]) -> Callable[[int], None]:
    """Compiles a loop of a pass. Each turn needs the one before, so that none is left out."""

    @jax.jit
    def loop(count, *arguments):
        def turn(_, number):
            number, given = jax.lax.optimization_barrier((number, arguments))
            result = jax.tree.leaves(function(*given))[0]
            return number + 0 * result[(0,) * result.ndim]

        return jax.lax.fori_loop(0, count, turn, jnp.float32(0))

    return lambda count: jax.block_until_ready(loop(count, *arguments))


def compare(_folder) -> dict[str, Any]:
    """Seconds of every pass of every layer, and of a whole training step, in every round."""
    config, _ = problem.resolve(command.MODEL.value, command.SET.value)
    if problem_here := native.problem():
        raise UserError(f"The compiled convolutions cannot be used: {problem_here}.")
    dataset = data.load(config.data.name, command.DATA_DIR.value)
    layers = list(convolutions(config, len(dataset.class_names)))
    if not layers:
        raise UserError(f"--model is {command.MODEL.value!r}, but it has no compiled convolutions.")
    before, reports, ready = os.getloadavg()[0], {}, {}
    for number, one in enumerate(layers):
        wrong = errors(one)
        for name, (function, arguments, filtered) in passes(one).items():
            key = f"conv_{number} {name}"
            plain = one.result_side**2 * one.size**2 * one.channels * one.width
            flops = {"plain": 2 * plain * one.batch, "executed": 2 * filtered * one.batch}
            reports[key] = {"layer": one.name, "pass": name, "flops": flops, "error": wrong[name], "rounds": []}
            ready[key] = prepare(function, arguments)
    reports["step"] = {"layer": "a whole training step", "pass": "", "rounds": []}
    ready["step"] = operations.prepare("native", config, dataset)
    counts = {key: _turns(run) for key, run in ready.items()}
    for number in range(1, command.ROUNDS.value + 1):
        for key, run in ready.items():
            started = time.perf_counter()
            run(counts[key])
            seconds = (time.perf_counter() - started) / counts[key]
            reports[key]["rounds"].append({"round": number, "seconds": seconds})
        command.say(f"round {number} of {command.ROUNDS.value}")
    return {
        "kind": "kernels",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "batch_size": config.batch_size,
        "sgemm_gflops": sgemm.peak(),
        "load": [before, os.getloadavg()[0]],
        "contestants": reports,
        "failed": {},
        "machine": results.computer({}),
        "versions": results.own_versions(),
        **results.origin("benchmarks.kernels", sys.argv[1:]),
    }


def _turns(run: Callable[[int], None]) -> int:
    run(1)
    started = time.perf_counter()
    run(2)
    return max(2, round(2 * _SECONDS / (time.perf_counter() - started)))


def table(measured: dict[str, Any]) -> str:
    """A line for every pass of every layer."""
    rows = [results.KERNEL_HEADINGS, *results.kernel_rows(measured)]
    return "\n".join(f"{row[0]:<28}{row[1]:<16}{row[2]:<22}{'  '.join(row[3:])}" for row in rows)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
