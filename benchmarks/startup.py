"""Times the real command from its start to the first training step, against PyTorch's.

    python -m benchmarks.startup --model=dense_32_32

Every round starts `python -m digits.main` and the `torch_eager` contestant, each alone, and ends them after their first
step. digits has been started once before, which fills its compilation cache: it is the second start that is timed.
Both are timed by this program, from the start of the process to the line that says that the step is done.
"""

import json
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

from absl import flags

from benchmarks import command, driver, problem, results

_WORKDIR = flags.DEFINE_string("workdir", None, "Where the runs are kept. Default: a temporary folder.")
_PEER = "torch_eager"
_LINE = re.compile(r"first step after ([\d.]+) s")
_TIMEOUT = 300.0  # Seconds from the start to the first step.


def time_digits(folder: pathlib.Path, number: int) -> dict[str, float]:
    """Starts the real command; returns `seconds` to its first step, and what it `printed` of that."""
    workdir = (
        pathlib.Path(tempfile.mkdtemp(prefix=f"{command.MODEL.value}-{number}-", dir=_WORKDIR.value or folder)) / "run"
    )
    line = command.digits_line(workdir)
    with driver.processes() as started:
        started.append(driver.Process("digits", line, folder))
        deadline = time.monotonic() + _TIMEOUT
        while not (match := _LINE.search(started[0].read_line(deadline - time.monotonic()))):
            pass
        return {"seconds": time.monotonic() - started[0].started, "printed": float(match[1])}


def time_peer(folder: pathlib.Path) -> dict[str, Any]:
    """Starts the peer; returns `seconds` to its first step, and its report under "about"."""
    with driver.processes() as started:
        started.append(driver.start(_PEER, folder, command.PEERS_PYTHON.value))
        report = json.loads(started[0].read_line(_TIMEOUT))
        return {"seconds": time.monotonic() - started[0].started, "about": report}


def compare(folder: pathlib.Path) -> dict[str, Any]:
    """Runs the rounds of the flags and returns all that was measured."""
    if _WORKDIR.value:
        pathlib.Path(_WORKDIR.value).mkdir(parents=True, exist_ok=True)
    config, _ = problem.resolve(command.MODEL.value, command.SET.value)
    problem.prepare(config, command.DATA_DIR.value, folder)
    measured = command.beside_a_peer(_PEER, lambda number: time_digits(folder, number), lambda _: time_peer(folder))
    return {
        "kind": "startup",
        "model": command.MODEL.value,
        "overrides": command.SET.value,
        **measured,
        **results.origin("benchmarks.startup", sys.argv[1:]),
    }


def table(measured: dict[str, Any]) -> str:
    """The medians, with smallest and largest, and the paired ratio."""
    lines = [f"{measured['model']}: seconds from the start of the process to the first training step"]
    for name, spread in results.startup_spreads(measured).items():
        lines.append(f"{name:<22}{spread}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command.run(argv, __doc__, sys.modules[__name__], compare, table)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
