"""Times ways to train several members of one experiment: one after another, mapped and batched.

    python -m benchmarks.populations --model=dense_32_32 --members=10
    python -m benchmarks.populations --model=dense_32_32 --members=10 --commands --rounds=1

In every round each way trains all members for as many steps. With --commands the real commands are timed instead:
one `python -m digits.sweep --sweep.seed=0:MEMBERS` (with --folds, of folds) against as many `python -m digits.main`,
from start to end.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

from absl import flags
import jax
import numpy as np

from benchmarks import command, driver, problem, results
from digits import data
from digits.runs.workdir import Workdir
from digits.runtime.environment import prepare_jax
from digits.sweeps import population
from digits.sweeps.batched import BatchedProgram
from digits.training.program import Shared
from digits.training.step import TrainMetrics

_MEMBERS = flags.DEFINE_integer("members", 10, "How many.", lower_bound=2)
_SECONDS = flags.DEFINE_float("seconds", 0.5, "For how long each member trains in a round, when alone.", lower_bound=0)
_COMMANDS = flags.DEFINE_bool("commands", False, "Time the real commands.")
_FOLDS = flags.DEFINE_bool("folds", False, "Members are the folds of a cross-validation, not seeds.")
_WITHOUT = flags.DEFINE_list("without", [], "Ways to leave out: alone, mapped, batched.")


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the rounds of the flags and returns all that was measured."""
    own, _ = problem.resolve(command.MODEL.value, [])
    config, changes = problem.resolve(command.MODEL.value, command.SET.value)
    reports = _commands(folder) if _COMMANDS.value else _ways(config)
    return {
        "kind": "sweep" if _COMMANDS.value else "population",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "changes": [] if _COMMANDS.value else changes,
        "members": _MEMBERS.value,
        "members_are": "folds" if _FOLDS.value else "seeds",
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "contestants": reports,
        "failed": {},
        "machine": results.computer({"digits": {"device": jax.devices()[0].device_kind}}),
        "versions": results.own_versions(),
        **results.origin("benchmarks.populations", sys.argv[1:]),
    }


def _ways(config) -> dict[str, dict]:
    """Seconds of every round of each way."""
    prepare_jax(config)
    dataset = data.load(config.data.name, command.DATA_DIR.value)
    shared, members = Shared(lambda: dataset), _MEMBERS.value
    examples = shared.examples(config)
    program = shared.program(config, examples)
    program.compile(examples)
    orders = [program.order(seed, 1) for seed in range(members)]
    states = []
    for seed in range(members):
        config.seed = seed
        states.append(program.init(config))
    workers = population.workers(config)

    def one(index, steps):
        state, totals = states[index]
        zero, stop = np.int32(0), np.int32(steps)
        states[index] = program.compiled(state, TrainMetrics.empty(), examples.train, orders[index], zero, stop)
        jax.block_until_ready(states[index])

    def alone(steps):
        for index in range(members):
            one(index, steps)

    def mapped(steps):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda index: one(index, steps), range(members)))

    def batched(steps):
        together.begin_epoch(list(together.state.learning_rate))
        for _ in together.run(orders, steps):
            pass

    ways = {way.__name__: way for way in (alone, mapped, batched) if way.__name__ not in _WITHOUT.value}
    if "batched" in ways:
        together = BatchedProgram(config, shared, members, command.say)
        together.load(states)
    alone(1)
    started = time.perf_counter()
    one(0, 20)
    steps = max(20, round(20 * _SECONDS.value / (time.perf_counter() - started)))
    steps = min(steps, program.steps_per_epoch)
    for way in ways.values():
        way(1)  # Compiles.
    reports = {name: {"rounds": [], "members": members, "steps": steps, "workers": workers} for name in ways}
    for number in range(1, command.ROUNDS.value + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            ways[name](steps)
            reports[name]["rounds"].append({"round": number, "seconds": time.perf_counter() - started})
        told = ", ".join(f"{name} {report['rounds'][-1]['seconds']:.2f} s" for name, report in reports.items())
        command.say(f"round {number} of {command.ROUNDS.value}: {told}")
    return reports


def _commands(folder: pathlib.Path) -> dict[str, dict]:
    """Seconds of every round of the sweep and of the single commands, and what these spent training."""
    arguments = [f"--config=configs/{command.MODEL.value}.py", *(f"--config.{change}" for change in command.SET.value)]
    arguments += [f"--data_dir={command.DATA_DIR.value}"] if command.DATA_DIR.value else []
    arguments += [f"--config.data.validation=folds({_MEMBERS.value})"] if _FOLDS.value else []
    field = "data.fold" if _FOLDS.value else "seed"

    def call(*line) -> float:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", *map(str, line)], capture_output=True, text=True, env=os.environ)
        if done.returncode:
            raise driver.WorkerError(f"{line[0]} ended with {done.returncode}", done.stderr)
        return time.perf_counter() - started

    reports = {"sweep": {"rounds": []}, "single": {"rounds": []}}
    for number in range(1, command.ROUNDS.value + 1):
        place = folder / str(number)
        seconds = call(
            "digits.sweep", *arguments, f"--sweep.{field}=0:{_MEMBERS.value}", f"--workdir={place / 'sweep'}"
        )
        reports["sweep"]["rounds"].append({"round": number, "seconds": seconds})
        command.say(f"round {number} of {command.ROUNDS.value}: one sweep {seconds:.1f} s")
        seconds = training = 0.0
        for member in range(_MEMBERS.value):
            workdir = place / f"single{member}"
            own = f"--config.{field}={member}", f"--workdir={workdir}", "--noreport"  # A sweep's runs have none.
            seconds += call("digits.main", *arguments, *own)
            training += sum(line["seconds"] for line in Workdir(workdir).history())
        reports["single"]["rounds"].append({"round": number, "seconds": seconds, "training": training})
        command.say(f"  {_MEMBERS.value} single runs {seconds:.1f} s, {training:.1f} s of it training")
    return reports


def table(measured: dict[str, Any]) -> str:
    """The seconds of each, with smallest and largest, and the paired ratios."""
    lines = [f"{measured['model']}: {measured['members']} members, seconds"]
    for name, report in measured["contestants"].items():
        lines.append(f"{name:<10}{results.Spread.of(item['seconds'] for item in report['rounds'])}")
    if measured["kind"] == "sweep":
        whole, training = (
            results.times_as_fast(measured, "single")["sweep"],
            results.times_as_fast(measured, "single", "training")["sweep"],
        )
        lines += [f"sweep against single runs: {whole} times as fast, against their training alone {training}"]
    elif "alone" in measured["contestants"]:
        lines += [
            f"{name} against one after another: {spread}"
            for name, spread in results.times_as_fast(measured, "alone").items()
        ]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table, platform=None)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
