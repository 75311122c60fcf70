"""One contestant in its own process: python -m benchmarks.worker CONTESTANT FOLDER, with the problem in FOLDER.

It trains one step, reports, and then obeys the driver: a JSON object a line on standard input, and one as the answer on
standard output. Whatever libraries print goes to standard error. It needs NumPy and the contestant's libraries only.
"""

import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import platform
import signal
import sys
import time

from benchmarks import problem
from benchmarks.contestants import CONTESTANTS

STARTED = "BENCHMARK_STARTED"  # The driver's time.monotonic(), in seconds, when it started this process.


class Training:
    """A contestant that goes through its epochs, from span to span where the last one stopped."""

    def __init__(self, contestant, steps_per_epoch: int):
        self.contestant, self.steps_per_epoch = contestant, steps_per_epoch
        self.position, self.total = 0, 0  # Steps into the epoch; steps so far.
        self.loss, self.accuracy = 0.0, 0.0  # Means over the last span.

    def train(self, steps: int) -> float:
        """Trains `steps` steps; returns the seconds it took, until the device was done."""
        loss = accuracy = 0.0
        left, started = steps, time.perf_counter() - self.contestant.outside
        while left:
            stop = min(self.position + left, self.steps_per_epoch)
            metrics = self.contestant.train(self.position, stop)
            count = stop - self.position
            loss, accuracy = loss + count * metrics[0], accuracy + count * metrics[1]
            left, self.position = left - count, stop % self.steps_per_epoch
        seconds = time.perf_counter() - self.contestant.outside - started
        self.total += steps
        self.loss, self.accuracy = loss / steps, accuracy / steps
        return seconds

    def whole(self, epochs: int, seed: int) -> float:
        """Trains from new weights to the end; returns the seconds it took."""
        self.contestant.restart(seed)
        self.position = 0
        return sum(self.train(self.steps_per_epoch) for _ in range(epochs))

    def warm_up(self, seconds: float) -> float:
        """Trains spans of doubling length, each twice, up to a quarter of `seconds`; returns seconds a step.

        The faster of two: a moment's disturbance must not decide how many steps a round has.
        """
        steps = 1
        self.train(steps)
        while (span := min(self.train(steps), self.train(steps))) < seconds / 4:
            steps *= 2
        return span / steps


def peak_memory() -> float:
    """The largest resident size of this process so far, in MiB.

    From Linux's VmHWM: `ru_maxrss` counts the size of the driver too, from whose memory this process was forked.
    """
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    # macOS counts in bytes, others in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """The versions of Python and of imported libraries."""
    loaded = {name: sys.modules[name].__version__ for name in libraries if name in sys.modules}
    return {"python": platform.python_version(), **loaded}


def die_with_the_driver() -> None:
    """On Linux, has the kernel kill this process when the driver goes, however it goes; a stopped one too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG.


def main() -> None:
    die_with_the_driver()
    # Libraries print; the answers need a line of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(**content):
        return answers.write(json.dumps(content) + "\n")

    name, folder = sys.argv[1:]
    entry, task = CONTESTANTS[name], problem.read(folder)
    module = importlib.import_module(f"benchmarks.contestants.{entry.module}")
    contestant = module.Contestant(task, entry.variant)
    training = Training(contestant, task.steps_per_epoch)
    training.train(1)
    say(
        first_step_s=time.monotonic() - float(os.environ[STARTED]),
        parameters=contestant.parameters,
        device=contestant.device,
        versions=versions(entry.libraries),
    )
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "warm_up":
            say(seconds_per_step=training.warm_up(order["seconds"]))
        elif order["do"] == "train":
            before = time.process_time()
            seconds = training.train(order["steps"])
            say(steps=order["steps"], seconds=seconds, cpu_seconds=time.process_time() - before)
        elif order["do"] == "epoch":
            training.position = 0
            say(steps=task.steps_per_epoch, seconds=training.train(task.steps_per_epoch))
        elif order["do"] == "whole":
            before = time.process_time()
            seconds = training.whole(task.config["epochs"], order["seed"])
            cpu_seconds = time.process_time() - before
            say(steps=order["steps"], seconds=seconds, cpu_seconds=cpu_seconds, test_accuracy=contestant.test())
        elif order["do"] == "finish":
            say(
                loss=training.loss,
                accuracy=training.accuracy,
                peak_mib=peak_memory(),
                test_accuracy=contestant.test(),
                total_steps=training.total,
            )


if __name__ == "__main__":
    main()
