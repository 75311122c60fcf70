"""What a run, or several, shows while it goes: a bar, a line an epoch or a run, and how it ended."""

from collections.abc import Callable
import pathlib
import shlex
import sys
import threading
import time
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from digits import record
from digits.sweep_folder import VALIDATED_ON_TEST

_AT_A_TIME = 2  # Runs that are at least under way at once on a usual machine.


class Progress:
    """The bar within an epoch, on a terminal only: images, images/s and the time that is left."""

    def __init__(self, epoch: int, epochs: int, images: int, done: int):
        # tqdm writes to stderr and, with disable=None, only if that is a terminal.
        self._bar = tqdm(
            total=images,
            initial=done,
            desc=f"epoch {epoch}/{epochs}",
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,
        )

    def update(self, images: int) -> None:
        self._bar.update(images)

    def close(self) -> None:
        self._bar.close()


class Terminal:
    """What a run shows while it goes."""

    @property
    def moves(self) -> bool:
        """Whether somebody watches a bar."""
        return sys.stderr.isatty()

    def say(self, text: str = "") -> None:
        """Prints a line at once, also into a file or a pipe."""
        print(text, flush=True)

    def progress(self, epoch: int, epochs: int, images: int, done: int) -> Progress:
        return Progress(epoch, epochs, images, done)


class Silent(Terminal):
    """For a run among others: it shows nothing, and reports the images that it trained on to `heard`."""

    def __init__(self, heard: Callable[[int], None] = lambda images: None, moves: bool = False):
        self._heard, self._moves = heard, moves

    @property
    def moves(self) -> bool:
        return self._moves

    def say(self, text: str = "") -> None:
        pass

    def progress(self, *_) -> "Silent":
        return self

    def update(self, images: int) -> None:
        self._heard(images)

    def close(self) -> None:
        pass


class Runs:
    """Shows a population on the terminal: a bar over all images where there is one, a line for every run that ends."""

    moves = property(lambda self: sys.stderr.isatty())

    def __init__(self, left: list[int], epoch_images: int):
        """`left`: the images that each unfinished run has still to train on; `epoch_images`: of one epoch."""
        self._left, self._done, self._ended, self._count = sum(left), 0, 0, len(left)
        self._epoch, self._half, self._told = epoch_images, None, False
        self._lock = threading.Lock()
        self._bar = tqdm(total=self._left, desc="all runs", unit=" images", unit_scale=True, leave=False, disable=None)

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def images(self, count: int) -> None:
        with self._lock:
            now, before = time.perf_counter(), self._done
            self._done += count
            self._bar.update(count)
            # Several run at a time; what the first half of their first epoch takes is not typical.
            whole = min(_AT_A_TIME, self._count) * self._epoch
            if before < whole / 2 <= self._done:
                self._half = now, self._done
            elif self._half and not self._told and self._done >= whole:
                self._told = True
                seconds = (self._left - self._done) * (now - self._half[0]) / (self._done - self._half[1])
                self.say(f"expected to take {duration(seconds)} more")

    def finished(self, member, result, failure) -> None:
        with self._lock:
            self._ended += 1
            name = pathlib.Path(member.workdir).name
            figures = f"failed: {failure['message']}" if failure else f"test accuracy {result['test_accuracy']:.4f}"
            self.say(f"{self._ended:>{len(str(self._count))}}/{self._count}  {name}  {figures}")

    def close(self) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """Seconds as a person says them: "2.1 h", "3.0 min", "40 s"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def opening_line(config: ConfigDict, counts: dict[str, int], steps_per_epoch: int) -> str:
    """On what is trained: how many examples, and the device."""
    itself = " (the test set itself)" if config.data.validation == "test" else ""
    return (
        f"{config.data.name}: {counts['train']:,} training, {counts['validation']:,} validation{itself}, "
        f"{counts['test']:,} test images; {steps_per_epoch:,} steps an epoch; device: {record.device()}"
    )


def epoch_line(line: dict[str, float], epochs: int) -> str:
    """One epoch for the terminal or a log file."""
    parts = [f"epoch {line['epoch']:>{len(str(epochs))}}/{epochs}"]
    parts += [f"{key} {line[key]:.4f}" for key in record.METRICS[:4] if line[key] is not None]
    parts += [
        f"lr {line['learning_rate']:.2e}",
        f"{line['seconds']:.1f} s",
        f"{line['images_per_second']:,.0f} images/s",
    ]
    return "  ".join(parts)


def command(about: dict[str, Any], files: record.Workdir) -> str:
    """The command line that goes on with a run."""
    if not about.get("config_file"):
        return f"train_and_evaluate with the same config and workdir {files.path}"
    overrides = [f"--config.{field}={value}" for field, value in about["overrides"].items()]
    parts = [f"--config={about['config_file']}", *overrides, f"--workdir={files.path}"]
    return "python -m digits.main " + " ".join(map(shlex.quote, parts))


def closing_lines(config: ConfigDict, result: dict[str, Any], files: record.Workdir) -> str:
    """Test figures beside the documented ones, and where everything lies."""
    documented = config.documented
    lines = [f"test loss {result['test_loss']:.4f}  test accuracy {result['test_accuracy']:.4f}"]
    figures = [
        f"{name.replace('_', ' ')} {documented[name]:.4f}"
        for name in ("test_loss", "test_accuracy", "val_accuracy")
        if documented[name] is not None
    ]
    if documented.source:
        lines.append(f"documented: {', '.join(figures) or 'no final figure survives'} ({documented.source})")
    if result["validation_is_test"]:
        lines.append(VALIDATED_ON_TEST)
    names = ("result.json", "metrics.jsonl", "config.json", "checkpoints", "tensorboard")
    lines.append(f"{files.path}: {', '.join(name for name in names if (files.path / name).exists())}")
    memory = [
        f"{result[key] / 2**20:,.0f} MiB {where}"
        for key, where in (("peak_memory_bytes", "of the process"), ("device_peak_memory_bytes", "on the device"))
        if result.get(key)
    ]
    if memory:
        lines.append(f"peak memory: {', '.join(memory)}")
    return "\n".join(lines)
