"""Times a notebook's whole training as a user runs it: this project's command, and the notebook's pipeline in Keras 3.

    python -m benchmarks.notebook --model=deep_cnn --set=epochs=2

Both augment, train, validate after every epoch, and test at the end; both are whole processes, one running at a time,
from the start to the end. The notebook's images wait in NumPy's files; the command reads MNIST's own and writes the
run's files. It has been run once before, which fills its compilation cache. Each round has a seed of its own.
"""

import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from benchmarks import command, driver, problem, results
from digits.errors import require

_PEER = "keras_notebook"
_AUGMENTS = ("rotation", "shear", "zoom", "height_shift", "width_shift")  # Of ImageDataGenerator.
_SECONDS_AN_EPOCH = 1200.0  # At most.


def prepare(folder: pathlib.Path) -> problem.Problem:
    """Writes the problem, and the images (uint8 Nx28x28) and labels of its three parts, to `folder`."""
    from digits import data

    config, _ = problem.resolve(command.MODEL.value, command.SET.value, _AUGMENTS)
    task, _ = problem.prepare(config, command.DATA_DIR.value, folder, whole=True)
    parts = data.split(data.load(config.data.name, command.DATA_DIR.value), config.data)
    require(parts.validation is not None, "data.validation", config.data.validation, "images to validate on here")
    for name in ("train", "validation", "test"):
        for kind, array in zip(("images", "labels"), getattr(parts, name)):
            np.save(folder / f"notebook_{name}_{kind}.npy", array)
    return task


def time_digits(folder: pathlib.Path, number: int, timeout: float) -> dict[str, Any]:
    """Runs the real command; returns its `seconds` and the accuracies that it found."""
    import digits

    workdir = folder / f"run-{number}"
    seconds = command.time_digits(workdir, timeout, number)
    run = digits.load(workdir)
    return {
        "seconds": seconds,
        "val_accuracy": run.records[-1]["val_accuracy"],
        "test_accuracy": run.result["test_accuracy"],
    }


def time_peer(folder: pathlib.Path, number: int, timeout: float) -> dict[str, Any]:
    """Runs the notebook's pipeline; returns its `seconds`, the accuracies and, "about" it, the libraries' versions."""
    line = [command.PEERS_PYTHON.value, "-m", f"benchmarks.contestants.{_PEER}", str(folder), str(number)]
    with driver.processes() as started:
        started.append(driver.Process(_PEER, line, folder))
        deadline = time.monotonic() + timeout
        while not (line := started[0].read_line(deadline - time.monotonic())).startswith("{"):
            pass
        return {"seconds": time.monotonic() - started[0].started, **json.loads(line)}


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the rounds of the flags and returns all that was measured."""
    task = prepare(folder)
    timeout = _SECONDS_AN_EPOCH * task.config["epochs"]
    measured = command.beside_a_peer(
        _PEER, lambda number: time_digits(folder, number, timeout), lambda number: time_peer(folder, number, timeout)
    )
    return {
        "kind": "notebook",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        "epochs": task.config["epochs"],
        **measured,
        **results.origin("benchmarks.notebook", sys.argv[1:]),
    }


def table(measured: dict[str, Any]) -> str:
    """Seconds and accuracies of each, and how many times as fast digits is."""
    head = f"{measured['model']}: {measured['epochs']} epochs, from the start of the process to the end"
    lines = [results.NOTEBOOK_HEADINGS, *results.notebook_rows(measured)]
    return "\n".join([head, *("  ".join(cell.ljust(24) for cell in line).rstrip() for line in lines)])


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
