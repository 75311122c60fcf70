"""Commands on a disk with faults: a write fails, or kills the command at it; the same command then goes on.

    python -m tests.faults --errors=100 --stops=100

Every writing call of a command, from Python and from C++ alike, can be the one (tests/faulty_disk.c).
"""

import collections
import ctypes
import errno
import functools
import importlib
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from typing import NamedTuple

import numpy as np
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from tests.training.train_test import assert_same_bits

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
_TINY = (
    "--config=dense_32_32", "--config.epochs=3", "--config.checkpoint_every=1", "--config.batch_size=100",
    "--config.data.name=optdigits", "--config.data.validation=random(0.2, 0)", "--config.early_stopping.restore_best",
    "--config.tensorboard",
)  # fmt: skip
# The commands that write, each with the folder that it writes, and a finished RUN of `main` where it needs one.
COMMANDS = {
    "main": (*_TINY, "--workdir=FOLDER"),
    "sweep": (*_TINY, "--sweep.seed=0:2", "--workdir=FOLDER"),
    "report": ("RUN", "--output=FOLDER/report.html"),
    "export": ("RUN", "--format=jax", "--output=FOLDER/model.jax.zip"),
}


class Fault(NamedTuple):
    """The call, counted from 1, that fails with an error, and `lasting` with it all later ones; error 0 is a kill."""

    call: int
    error: int = 0
    lasting: bool = False


@functools.cache
def load(folder: pathlib.Path) -> str:
    """Compiles the disk, for processes that are started from now on; returns the library's path."""
    library = folder / "faulty_disk.so"
    source = pathlib.Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    os.environ["LD_PRELOAD"] = str(library)
    return str(library)


def _run(library: str, argv: list[str], folder: pathlib.Path, fault: Fault) -> None:
    """Runs a command in this process, with the fault below the folder."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(folder.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    command = importlib.import_module(argv[0])
    log = folder.with_suffix(".calls")
    log.unlink(missing_ok=True)
    ctypes.CDLL(library).faults_arm(os.fsencode(folder), fault.call, fault.error, fault.lasting, os.fsencode(log))
    sys.exit(command.main(argv))


class Disk:
    """A folder in which commands meet faults."""

    def __init__(self, folder: pathlib.Path):
        self._folder, self._library = folder, load(folder)
        self._context = multiprocessing.get_context("forkserver")
        preloaded = ["digits.main", "digits.training.train", "orbax.checkpoint", "digits.reports.run_page", __name__]
        self._context.set_forkserver_preload(preloaded)
        self._wholes = {}

    def _start(self, command: str, name: str, fault: Fault) -> tuple[int, list[str]]:
        """Runs a command on a folder; returns its exit code and the lines on its standard error."""
        folder = self._folder / name
        argv = [word.replace("FOLDER", str(folder)) for word in COMMANDS[command]]
        argv = [word.replace("RUN", str(self._folder / "whole main")) for word in argv]
        if "FOLDER/" in COMMANDS[command][-1]:
            folder.mkdir(exist_ok=True)
        process = self._context.Process(target=_run, args=(self._library, [f"digits.{command}", *argv], folder, fault))
        process.start()
        process.join()
        # On a busy machine, XLA tells of compilations that take long.
        told = folder.with_suffix(".stderr").read_text().splitlines()
        return process.exitcode, [
            line for line in told if not re.search("slow_operation_alarm|Very slow compile", line)
        ]

    def calls(self, command: str) -> int:
        """How often a command writes; the first time runs it without a fault."""
        name = f"whole {command}"
        if command not in self._wholes:
            if command in ("report", "export"):
                self.calls("main")
            assert self._start(command, name, Fault(0)) == (0, [])
            self._wholes[command] = len((self._folder / f"{name}.calls").read_text().splitlines())
        return self._wholes[command]

    def outcome(self, command: str, fault: Fault) -> str:
        """Runs a command with a fault, then without: it must end as if there had been none. Returns the first end."""
        self.calls(command)
        folder, whole = self._folder / "broken", self._folder / f"whole {command}"
        code, lines = self._start(command, "broken", fault)
        first = [line for line in folder.with_suffix(".calls").read_text().splitlines() if line.endswith("FAILS")][:1]
        where = f"{command}, {fault}, {first}: exit code {code}, {lines}"
        stdout = folder.with_suffix(".stdout").read_text()
        if not first:
            end = "not reached"
        elif not fault.error:
            assert code == -signal.SIGKILL, where
            end = "killed"
        else:
            assert "Traceback" not in stdout, where
            refused = code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
            refused |= command == "sweep" and code == 1 and not any("Traceback" in line for line in lines)
            assert refused or (code == 0 and not lines), where
            assert not refused or os.strerror(fault.error) in "".join(lines) + stdout, where
            end = "refused" if refused else "without effect"
        code, lines = self._start(command, "broken", Fault(0))
        assert (code, lines) == (0, []), f"{where}; then {code}, {lines}"
        # Events that cannot be written stop no run, which says so and is finished without them.
        without_events = "no TensorBoard events were written" in stdout
        differing = set(listing(folder)) ^ set(listing(whole))
        assert not {name for name in differing if not (without_events and "tensorboard" in name)}, (
            f"{where}: {differing}"
        )
        for config in folder.rglob("config.json"):
            run, expected = config.parent, whole / config.parent.relative_to(folder)
            assert_same_bits(expected, run)
            assert without_events or events(run) == events(expected), f"{where}: {events(run)}"
        shutil.rmtree(folder)
        return end


def listing(folder: pathlib.Path) -> list[str]:
    """The files below a folder. Those of a checkpoint, and of events, have names that differ from run to run.

    Checkpoints that are whole count as one: a third one stays if the last save was stopped before its deletion.
    """
    names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted({re.sub(r"(checkpoints/)\d+(/.*)?$|(tfevents)\..*", r"\1\3", name) for name in names})


def events(run: pathlib.Path) -> dict[str, list[int]]:
    """The steps of each metric, as TensorBoard shows them."""
    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0})
    found.Reload()
    return {tag: [event.step for event in found.Tensors(tag)] for tag in found.Tags()["tensors"]}


def tries(folder: pathlib.Path, command: str, count: int, rng: np.random.Generator, kills: bool) -> dict[str, int]:
    """Tries faults at `count` calls of a command, spread over all of them; returns how often each end came."""
    disk, ends = Disk(folder), collections.Counter()
    total = disk.calls(command)
    for index in rng.permutation(count):
        call = 1 + int((index + rng.random()) * total / count)
        error, lasting = (0, False) if kills else (int(rng.choice(ERRORS)), bool(rng.random() < 0.5))
        ends[disk.outcome(command, Fault(call, error, lasting))] += 1
    return dict(ends)
