"""Kills and damage at random places; a few of each are tests (tests/faults_test.py), more of them by hand:

python -m tests.faults --kills=50 --damages=100 --errors=50 --stops=50 --seed=0

--errors makes writes fail, and --stops kills at writes, of each command that writes (tests/faulty_disk.py).
"""

import argparse
from collections.abc import Sequence
import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import time

import numpy as np

from digits.errors import UserError
from digits.runs import loading
from digits.runs.workdir import Workdir
from digits.runtime import signals
from digits.training import startup, train
from digits.training.loop import Loop
from digits.training.program import Shared
from digits.training.run import Run, prepare
from tests import conftest, faulty_disk
from tests.training.train_test import assert_same_bits

EPOCHS = 6
_SECONDS_OF_A_CALL = 60


def config():
    """Trains in a second, with a checkpoint after every epoch."""
    tiny = conftest.tiny_config()
    tiny.epochs, tiny.batch_size, tiny.checkpoint_every = EPOCHS, 20, 1
    tiny.early_stopping.restore_best = tiny.tensorboard = True
    return tiny


def _train(workdir, output):
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    train.train_and_evaluate(config(), workdir)


def strays(workdir):
    """The files in a run's folder that no run should leave there."""
    known = {"config.json", "metrics.jsonl", "result.json", "checkpoints", "tensorboard", ".lock"}
    found = [path.name for path in workdir.iterdir() if path.name not in known]
    return found + [path.name for path in (workdir / "checkpoints").iterdir() if not path.name.isdigit()]


def kill(folder: pathlib.Path, count: int, rng: np.random.Generator) -> int:
    """SIGKILLs runs at random instants, `count` times in all, and lets each go on to its end; returns how many went on.

    One in three dies soon after its last epoch was recorded: while it saves, tests and writes its result.
    """
    # The processes begin with everything imported.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["digits.training.train", "orbax.checkpoint", "tests.training.train_test"])

    def start(workdir):
        return context.Process(target=_train, args=(workdir, folder / "output"))

    for name in ("first", "whole"):  # The first one waits for the imports.
        began, whole = time.monotonic(), start(folder / name)
        whole.start()
        whole.join()
    seconds, workdir, kills_left = time.monotonic() - began, None, 0
    while count or kills_left:
        if not kills_left:
            kills_left = min(count, int(rng.integers(1, 6)))
            count -= kills_left
            workdir = folder / f"killed {count}"
        while kills_left:
            process = start(workdir)
            process.start()
            if rng.random() < 1 / 3:
                files = Workdir(workdir)
                while process.is_alive() and len(files.history()) < EPOCHS:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.3))
            else:
                time.sleep(rng.uniform(0, seconds))
            kills_left -= process.is_alive()
            finished = not process.is_alive()
            os.kill(process.pid, signal.SIGKILL) if process.is_alive() else None
            process.join()
            if finished:  # Faster than the kill: another one takes its place.
                shutil.rmtree(workdir)
        last = start(workdir)
        last.start()
        last.join()
        assert last.exitcode == 0, (folder / "output").read_text()
        assert_same_bits(folder / "whole", workdir)
        assert faulty_disk.events(workdir) == faulty_disk.events(folder / "whole")
        assert not strays(workdir), strays(workdir)
    return (folder / "output").read_text().count("going on with")


def opened(config, workdir: pathlib.Path, alone: bool = True) -> Run:
    """A run that shows nothing."""
    shared = Shared(startup.Start("optdigits", None).dataset)
    return Run(prepare(config, Workdir(workdir), shared), alone=alone)


def interrupted(workdir: pathlib.Path) -> None:
    """A run of which two epochs are left."""
    with opened(config(), workdir) as run:
        loop = Loop(run, signals.Listener())
        while run.state.epoch < EPOCHS - 2:
            loop.train_epoch()


def damage(workdir: pathlib.Path, others: Sequence[pathlib.Path], rng: np.random.Generator) -> str:
    """Damages a run at one place, at random; returns a description. `others` are folders of other runs."""
    entries = [path for path in sorted(workdir.rglob("*")) if path.name != ".lock"]
    whole = [path for path in entries if path.is_file() and path.stat().st_size]
    path, place = whole[rng.integers(len(whole))], rng.random()
    content = bytearray(path.read_bytes())
    place = int(place * len(content))
    kind = rng.choice(
        ["bit", "block", "cut", "removed", "exchanged", "foreign", "lines", "special", "sparse", "turned"]
    )
    if kind == "bit":
        content[place] ^= 1 << rng.integers(8)
        path.write_bytes(content)
    elif kind == "block":  # As a disk loses it.
        content[place : place + 512] = rng.bytes(512) if rng.random() < 0.5 else bytes(512)
        path.write_bytes(content[: len(content)])
    elif kind == "cut":
        path.write_bytes(content[:place])
    elif kind == "removed":
        path = entries[rng.integers(len(entries))]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == "exchanged":  # Two files, or two folders, neither of which lies within the other.
        path = entries[rng.integers(len(entries))]
        apart = [one for one in entries if one.is_dir() == path.is_dir() and path not in (one, *one.parents)]
        other = rng.choice([one for one in apart if one not in path.parents] or [workdir / "checkpoints"])
        if other.exists() and other not in (path, *path.parents):
            path.rename(workdir / "aside"), other.rename(path), (workdir / "aside").rename(other)
        place = other.relative_to(workdir)
    elif kind == "foreign":  # The same file or folder, or one of the same kind, of another run.
        other = others[rng.integers(len(others))]
        there = [one for one in entries if (other / one.relative_to(workdir)).exists()]
        path = there[rng.integers(len(there))]
        place = other / path.relative_to(workdir)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(place, path) if place.is_dir() else shutil.copy(place, path)
    elif kind == "lines":
        path = workdir / "metrics.jsonl"
        lines, theirs = (one.read_text().splitlines(True) for one in (path, others[0] / path.name))
        one, other = rng.choice(len(lines), 2, replace=False)
        match place % 4:
            case 0:
                lines[one], lines[other] = lines[other], lines[one]
            case 1:
                lines.insert(other, lines[one])
            case 2:
                lines[one] = theirs[one]
            case 3:
                del lines[one]
        path.write_text("".join(lines))
    elif kind == "special":
        path.unlink()
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listening:
            os.mkfifo(path.name) if place % 2 else listening.bind(path.name)
    elif kind == "sparse":
        path.write_bytes(b"")
        os.truncate(path, 2**35)
    elif kind == "turned":  # A folder in the place of a file, a file in that of a folder.
        path = entries[rng.integers(len(entries))]
        if path.is_dir():
            shutil.rmtree(path)
            path.touch()
        else:
            path.unlink()
            path.mkdir()
    return f"{path.relative_to(workdir)} {kind} ({place})"


def outcome(workdir: pathlib.Path, whole: pathlib.Path) -> str:
    """Goes on with a damaged run, or opens it: "refused" in one sentence, or the "same" bits; otherwise an error."""
    try:
        if Workdir(workdir).result() is None:
            train.train_and_evaluate(config(), workdir)
            assert_same_bits(whole, workdir)
        run, expected = loading.load(workdir), loading.load(whole)
    except UserError as error:
        assert "\n" not in str(error), error
        return "refused"
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    np.testing.assert_array_equal(run.predict(images), expected.predict(images))

    def timeless(records):
        return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in records]

    assert timeless(run.records) == timeless(expected.records) and run.config == expected.config
    for figure in ("test_loss", "test_accuracy", "tested_epoch", "seed", "epochs"):
        assert run.result is None or run.result[figure] == expected.result[figure]
    return "same"


def damages(folder: pathlib.Path, count: int, rng: np.random.Generator) -> dict[str, int]:
    """Damages a finished run and an unfinished one in turn, each time at one place; returns the outcomes."""
    found: dict[str, int] = {}
    other_seed = config()
    other_seed.seed = 1
    for name, its_config in (("whole", config()), ("other seed", other_seed), ("same config", config())):
        train.train_and_evaluate(its_config, folder / name)
    interrupted(folder / "part")
    for index in range(count):
        copy = folder / "copy"
        shutil.copytree(folder / ("whole", "part")[index % 2], copy)
        done = damage(copy, (folder / "other seed", folder / "same config"), rng)
        signal.alarm(_SECONDS_OF_A_CALL)  # Kills this process.
        try:
            said = outcome(copy, folder / "whole")
        except Exception as error:
            raise AssertionError(f"{('finished', 'unfinished')[index % 2]}: {done}") from error
        finally:
            signal.alarm(0)
        found[said] = found.get(said, 0) + 1
        shutil.rmtree(copy)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 0), ("damages", 0), ("errors", 0), ("stops", 0), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--commands", default=",".join(faulty_disk.COMMANDS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.kills:
            (kills := pathlib.Path(folder) / "kills").mkdir()
            print(f"{given.kills} kills: {kill(kills, given.kills, np.random.default_rng(given.seed))} starts went on")
        if given.damages:
            found = damages(pathlib.Path(folder) / "damages", given.damages, np.random.default_rng(given.seed))
            print(f"{given.damages} damages: {found}")
        for name, kills in (("errors", False), ("stops", True)):
            for command in given.commands.split(",") if (count := getattr(given, name)) else ():
                found = faulty_disk.tries(
                    pathlib.Path(folder), command, count, np.random.default_rng(given.seed), kills
                )
                print(f"{count} {name} of digits.{command}: {found}", flush=True)


if __name__ == "__main__":
    main()
