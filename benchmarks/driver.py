"""Starts the contestants' processes and lets exactly one run at a time; stops or ends the others whatever happens."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from typing import Any

from benchmarks import worker
from benchmarks.contestants import CONTESTANTS, NOTEBOOK

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS_PYTHON = ROOT / "benchmarks" / ".venv" / "bin" / "python"
INSTALL = "python -m venv benchmarks/.venv && benchmarks/.venv/bin/python -m pip install -r benchmarks/requirements.txt"
_START_TIMEOUT = 900.0  # Seconds: imports, compilation and the first step of the slowest.
_ROUND_TIMEOUT = 60.0  # Seconds, beside twenty times what a round should take.
_TAIL = 6  # Lines of standard error that are shown of a process that died.


class WorkerError(Exception):
    """A contestant's process died or did not answer in time; `tail` has its last words."""

    def __init__(self, reason: str, tail: str):
        super().__init__(reason)
        self.tail = tail


class Process:
    """A process in a group of its own, whose output is read line by line."""

    def __init__(self, name: str, command: list[str], folder: pathlib.Path):
        self.name, self._unread = name, b""
        self._errors = open(folder / f"{name}.stderr", "w+b")
        self.started = time.monotonic()
        # Several share an accelerator's memory: none may take all of it at its start.
        extra = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **extra, worker.STARTED: repr(self.started)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the driver alone, and a signal all of the group.
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_line(self, timeout: float) -> str:
        """The next line of standard output; WorkerError if it does not come within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise WorkerError(f"{self.name} did not answer within {timeout:.0f} s", self._tail())
            if not (chunk := os.read(self._process.stdout.fileno(), 2**16)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
                raise WorkerError(f"{self.name} ended with exit code {self._process.returncode}", self._tail())
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode(errors="replace")

    def ask(self, timeout: float, **order) -> dict[str, Any]:
        """Sends an order and returns the answer."""
        with contextlib.suppress(BrokenPipeError):  # Reading says what happened.
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return json.loads(self.read_line(timeout))

    def _tail(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL:])

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Ends the process and its children, stopped or not. May be called again."""
        if self._errors.closed:
            return
        self.signal(signal.SIGKILL)
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            file.close()


def start(name: str, folder: pathlib.Path, peers_python: str) -> Process:
    """The process of a contestant on the problem in `folder`; its first line comes after its first step."""
    entry = CONTESTANTS[name]
    python = sys.executable if entry.is_ours else peers_python
    return Process(name, [python, "-m", "benchmarks.worker", name, str(folder)], folder)


@contextlib.contextmanager
def processes() -> Iterator[list[Process]]:
    """A list to put processes in: they are ended at the end, also after Ctrl-C or SIGTERM."""
    started: list[Process] = []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield started
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in started:
            process.close()


def missing_libraries(peers_python: str, names: list[str]) -> dict[str, str]:
    """For each contestant that cannot run, a sentence that says how to install what it lacks."""
    entries = CONTESTANTS | NOTEBOOK
    peers = [name for name in names if not entries[name].is_ours]
    libraries = sorted({library for name in peers for library in entries[name].libraries})
    if not peers:
        return {}
    look = "import importlib.util, sys; print(*filter(importlib.util.find_spec, sys.argv[1:]))"
    try:
        found = subprocess.run([peers_python, "-c", look, *libraries], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {name: f"there is no Python at {_shown(peers_python)}; to install it: {INSTALL}" for name in peers}
    found = found.stdout.split()
    return {
        name: f"{_shown(peers_python)} has no {' and no '.join(absent)}; to install it: {INSTALL}"
        for name in peers
        if (absent := [library for library in entries[name].libraries if library not in found])
    }


def _shown(path: str) -> str:
    return os.path.relpath(path, ROOT) if str(path).startswith(str(ROOT)) else str(path)


def busy_seconds() -> float:
    """Seconds, added over the cores, for which this machine had work or another one took them; 0 except on Linux."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def sgemm_peak(peers_python: str) -> float | None:
    """The measured GFLOP/s of a large float32 matrix product; None without PyTorch."""
    command = [peers_python, "-m", "benchmarks.sgemm"]
    try:
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@dataclasses.dataclass
class Racer:
    """A contestant on its way: its process, and what it has reported."""

    process: Process
    report: dict[str, Any]  # first_step_s, parameters, device, versions; rounds; epoch_s; what `finish` answers.
    seconds_per_step: float = 0.0
    steps: int = 0  # A round.

    @contextlib.contextmanager
    def turn(self) -> Iterator[Process]:
        """Lets the process run; it is stopped at the end, its threads that wait by spinning too."""
        self.process.signal(signal.SIGCONT)
        try:
            yield self.process
        finally:
            self.process.signal(signal.SIGSTOP)


class Race:
    """Contestants that started one after another and train in turns; who fails is out, the others go on.

    Args:
      seconds: how long each trains in a round.
      say: told what happens, a line at a time.
    """

    def __init__(self, seconds: float, say=print):
        self.seconds, self.say = seconds, say
        self.racers: dict[str, Racer] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}

    @contextlib.contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        try:
            yield
        except WorkerError as error:
            self.failed[name] = str(error)
            self.say(f"{error}; the others go on. Its last words:\n{error.tail or '(none)'}")
            if racer := self.racers.pop(name, None):
                racer.process.close()

    def enter(self, process: Process) -> None:
        """Waits for the first step of a process that was just started, warms it up and stops it."""
        name = process.name
        with self._surviving(name):
            racer = self.racers[name] = Racer(process, {"rounds": []})
            racer.report |= json.loads(process.read_line(_START_TIMEOUT))
            with racer.turn():
                answer = process.ask(_START_TIMEOUT, do="warm_up", seconds=self.seconds)
            racer.seconds_per_step = answer["seconds_per_step"]
            racer.steps = max(1, round(self.seconds / racer.seconds_per_step))
            self.reports[name] = racer.report
            self.say(f"{name}: first step after {racer.report['first_step_s']:.1f} s, {racer.steps} steps a round")

    def _each(self, order: list[str], action) -> None:
        for name in order:
            with self._surviving(name), self.racers[name].turn():
                action(self.racers[name])

    def run(self, rounds: int) -> None:
        """Every contestant trains its steps once a round, in an order that alternates."""
        self._rounds(rounds, lambda number, racer: {"do": "train", "steps": racer.steps})

    def trainings(self, rounds: int, steps: int) -> None:
        """Every contestant makes a whole training of `steps` steps once a round, each round with another seed."""
        self._rounds(rounds, lambda number, racer: {"do": "whole", "steps": steps, "seed": number - 1})

    def _rounds(self, rounds: int, order: Callable[[int, Racer], dict[str, Any]]) -> None:
        for number in range(1, rounds + 1):
            names = list(self.racers)
            one = functools.partial(self._round, number, order)
            self._each(names if number % 2 else names[::-1], one)
            self.say(f"round {number} of {rounds} done")

    def _round(self, number: int, order: Callable[[int, Racer], dict[str, Any]], racer: Racer) -> None:
        asked = order(number, racer)
        timeout = _ROUND_TIMEOUT + 20 * asked["steps"] * racer.seconds_per_step
        before, started = busy_seconds(), time.monotonic()
        answer = racer.process.ask(timeout, **asked)
        elapsed = time.monotonic() - started
        others = max(0.0, busy_seconds() - before - answer["cpu_seconds"]) / elapsed
        racer.report["rounds"].append({"round": number, **answer, "cores_used_by_others": round(others, 2)})

    def epochs(self, steps_per_epoch: int, limit: float) -> None:
        """Every contestant trains one whole epoch, unless that is expected to take more than `limit` seconds."""

        def epoch(racer):
            expected = steps_per_epoch * racer.seconds_per_step
            if expected > limit:
                self.say(f"{racer.process.name}: no whole epoch, which would take about {expected:.0f} s")
                return
            racer.report["epoch_s"] = racer.process.ask(_ROUND_TIMEOUT + 20 * expected, do="epoch")["seconds"]

        self._each(list(self.racers), epoch)

    def finish(self) -> None:
        """Asks everyone how well it trained."""
        self._each(
            list(self.racers),
            lambda racer: racer.report.update(racer.process.ask(_START_TIMEOUT, do="finish")),
        )
