"""Times a whole recipe with digits and its peers, in turns: seconds of training, and the accuracy that they give.

    python -m benchmarks.time_to_accuracy --model=fast_99 --target=0.99
    python -m benchmarks.time_to_accuracy --model=fast_99 --target=0.99 --commands=3

Every contestant trains the config's network with its optimizer, schedule and epochs, a seed a round, and is tested on
all test images. Compilation comes before the rounds. --commands times whole processes too, from an empty one to the
result: `python -m digits.main` with cold and with warm caches, and the peers with the same data as files.
"""

import json
import pathlib
import sys
import tempfile
import time
from typing import Any

from absl import flags

from benchmarks import command, driver, problem, results
from benchmarks.contestants import CONTESTANTS
from digits.errors import UserError

_NAMES = ("digits", "torch_eager", "torch_channels_last", "torch_compile", "keras_tensorflow", "keras_jax")
_CONTESTANTS = flags.DEFINE_list("contestants", list(_NAMES), "Who takes part.")
_TARGET = flags.DEFINE_float("target", 0.99, "The mean test accuracy that the recipe is for.", 0, 1)
_COMMANDS = flags.DEFINE_integer("commands", 0, "Time this many whole processes of each too.", 0)
_AUGMENTS = ("height_shift", "width_shift")  # The peers have these too.
_TIMEOUT = 600.0  # Seconds of a whole process.


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Prepares the problem in `folder`, runs the rounds of the flags, and returns all that was measured."""
    names = list(dict.fromkeys(_CONTESTANTS.value))
    for name in names:
        if name not in _NAMES:
            raise UserError(f"--contestants has {name!r}, but each must be one of {', '.join(_NAMES)}.")
    config, _ = problem.resolve(command.MODEL.value, command.SET.value, _AUGMENTS)
    task, parameters = problem.prepare(config, command.DATA_DIR.value, folder, whole=True)
    left_out = driver.missing_libraries(command.PEERS_PYTHON.value, names)
    for name, reason in left_out.items():
        command.say(f"{name} is left out: {reason}")
    names = [name for name in names if name not in left_out]
    race = driver.Race(2.0, command.say)
    with driver.processes() as started:
        for name in names:
            started.append(driver.start(name, folder, command.PEERS_PYTHON.value))
            race.enter(started[-1])
        race.trainings(command.ROUNDS.value, config.epochs * task.steps_per_epoch)
        names = list(race.racers)
    commands: dict[str, dict[str, list[float]]] = {}
    for number in range(_COMMANDS.value):
        for name in names[:: -1 if number % 2 else 1]:
            for kind, seconds in _time_commands(name, folder).items():
                commands.setdefault(name, {}).setdefault(kind, []).append(seconds)
                command.say(f"command {number + 1} of {_COMMANDS.value}: {name}, {kind} {seconds:.2f} s")
    return {
        "kind": "time_to_accuracy",
        "model": command.MODEL.value,
        "target": _TARGET.value,
        "overrides": command.SET.value,
        "epochs": config.epochs,
        "batch_size": task.batch_size,
        "examples": task.examples,
        "parameters": parameters,
        "cores_used_by_others": results.disturbance(race.reports),
        "contestants": race.reports,
        "commands": commands,
        "failed": race.failed | dict.fromkeys(left_out, command.NOT_INSTALLED),
        "machine": results.computer(race.reports),
        "versions": results.own_versions(),
        **results.origin("benchmarks.time_to_accuracy", sys.argv[1:]),
    }


def _time_commands(name: str, folder: pathlib.Path) -> dict[str, float]:
    """Seconds from an empty process to the result: of digits' own command with cold and with warm caches.

    The command writes the run's files, and no report, which the peers do not write either.
    """
    if not CONTESTANTS[name].is_ours:
        return {"warm": _time_peer(name, folder)}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        cache = {"DIGITS_CACHE_DIR": f"{scratch}/cache"}
        return {kind: command.time_digits(pathlib.Path(scratch) / kind, _TIMEOUT, **cache) for kind in ("cold", "warm")}


def _time_peer(name: str, folder: pathlib.Path) -> float:
    with driver.processes() as started:
        began = time.monotonic()
        started.append(driver.start(name, folder, command.PEERS_PYTHON.value))
        json.loads(started[0].read_line(_TIMEOUT))
        started[0].ask(_TIMEOUT, do="whole", steps=0, seed=0)
        return time.monotonic() - began


def table(measured: dict[str, Any]) -> str:
    """The measurements as an aligned table."""
    lines = [results.WHOLE_HEADINGS, *results.whole_rows(measured)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    head = f"{measured['model']}: {measured['epochs']} x {measured['examples']:,} images to {measured['target']:g}"
    return "\n".join([f"{head}; medians [smallest-largest]", "", *text, results.disturbed(measured)]).rstrip()


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
