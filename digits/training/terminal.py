"""The terminal output of a run: a bar, a line for every epoch, the first lines and the last ones."""

import sys
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import METRICS, Workdir
from digits.runtime import environment


def say(text: str) -> None:
    """Prints a line at once, also into a file or a pipe."""
    print(text, flush=True)


def watched() -> bool:
    """Whether somebody can see a bar."""
    return sys.stderr.isatty()


def bar(epoch: int, epochs: int, images: int, done: int) -> tqdm:
    """A bar over the images of an epoch, `done` of them before, with images/s and the time left; on a terminal only."""
    # tqdm writes to stderr and, with disable=None, only if that is a terminal.
    name = f"epoch {epoch}/{epochs}"
    return tqdm(total=images, initial=done, desc=name, unit=" images", unit_scale=True, leave=False, disable=None)


def opening_line(config: ConfigDict, counts: dict[str, int], steps_per_epoch: int) -> str:
    """The line before the first epoch: the number of examples, and the device."""
    itself = " (the test set itself)" if config.data.validation == "test" else ""
    return (
        f"{config.data.name}: {counts['train']:,} training, {counts['validation']:,} validation{itself}, "
        f"{counts['test']:,} test images; {steps_per_epoch:,} steps an epoch; device: {environment.device()}"
    )


def epoch_line(line: dict[str, float], epochs: int) -> str:
    """The line of an epoch, from its record in metrics.jsonl."""
    parts = [f"epoch {line['epoch']:>{len(str(epochs))}}/{epochs}"]
    parts += [f"{key} {line[key]:.4f}" for key in METRICS[:4] if line[key] is not None]
    parts += [f"lr {line['learning_rate']:.2e}", f"{line['seconds']:.1f} s"]
    return "  ".join([*parts, f"{line['images_per_second']:,.0f} images/s"])


def closing_lines(config: ConfigDict, result: dict[str, Any], files: Workdir) -> str:
    """The last lines of a run: test figures beside the documented ones, the files in its folder, and peak memory.

    print(closing_lines(config, files.result(), files))
    """
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
