"""The terminal output of a run: a bar over the whole run, a row for every epoch, the first lines and the last ones.

No line is longer than 79 characters, unless a path is. Everything is said above the bar, if there is one.
"""

from collections.abc import Iterable
import os
import shlex
import sys
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from digits.runs.documented import differing_fields
from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import METRICS, Workdir
from digits.runtime import environment
from digits.runtime.screen import near, pasted, wrap

_BAR = "{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left"
_SHORT = {"accuracy": "acc", "val_accuracy": "val_acc"}
_BOLD_GREEN, _PLAIN = "\x1b[1;32m", "\x1b[0m"
_OPEN = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")


def say(text: str) -> None:
    """Prints a line at once, above a bar if one stands, also into a file or a pipe."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def watched() -> bool:
    """Whether somebody can see a bar."""
    return sys.stderr.isatty()


def coloured() -> bool:
    """Whether stdout shows colours, and its owner has not switched them off (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bar(images: int, done: int) -> tqdm:
    """A bar over all images of a run, `done` of them before, with images/s and the time left; on a terminal only."""
    # tqdm writes to stderr and, with disable=None, only if that is a terminal. Without smoothing, the time left counts
    # the validations too.
    shown = tqdm(
        total=images, initial=done, unit=" images", unit_scale=True, smoothing=0, bar_format=_BAR, dynamic_ncols=True,
        leave=False, disable=None,
    )  # fmt: skip
    shown.dynamic_ncols = _room
    return shown


def _room(file: Any) -> tuple[int, int]:
    """The columns and lines for a bar: the terminal's, but three columns, so that "^C" does not begin a new line."""
    columns, lines = os.get_terminal_size(file.fileno())
    return columns - 3, lines


def bar_title(epoch: int, epochs: int, loss: float | None) -> str:
    """The text before the bar: the epoch under way, and its loss so far."""
    return f"epoch {epoch}/{epochs}" + ("" if loss is None else f"  loss {_figure(loss)}")


def opening_lines(config: ConfigDict, counts: dict[str, int], steps_per_epoch: int) -> str:
    """The lines before the first epoch: the number of examples and steps, and the device."""
    itself = " (the test set itself)" if config.data.validation == "test" else ""
    lines = [
        f"{config.data.name}: {counts['train']:,} training, {counts['validation']:,} validation{itself}, "
        f"{counts['test']:,} test images",
        f"{config.epochs:,} {'epoch' if config.epochs == 1 else 'epochs'} of {steps_per_epoch:,} steps",
        f"device: {environment.device()}",
    ]
    return "\n".join(map(wrap, lines))


def heading(config: ConfigDict) -> str:
    """The heading of the epochs' rows: the columns that the run has, and what the mark of the best epoch goes by."""
    columns = _columns(config)
    names = "".join(f"{_SHORT.get(name, name):>{width}}" for name, width in columns.items())
    mark = f"  * best {_SHORT.get(config.monitor, config.monitor)}" if config.monitor in columns else ""
    return f"{'epoch':>{_epoch_width(config)}}{names}{'lr':>10}{'s':>8}{mark}"


def epoch_row(config: ConfigDict, line: dict[str, float], best: bool = False) -> str:
    """The row of an epoch, from its record in metrics.jsonl; with a mark if the epoch is the best so far."""
    epoch = f"{line['epoch']}/{config.epochs}"
    figures = "".join(f"{_figure(line[name]):>{width}}" for name, width in _columns(config).items())
    row = f"{epoch:>{_epoch_width(config)}}{figures}{line['learning_rate']:>10.2e}{line['seconds']:>8.1f}"
    if not best:
        return row
    return f"{_BOLD_GREEN}{row}  *{_PLAIN}" if coloured() else f"{row}  *"


def _epoch_width(config: ConfigDict) -> int:
    return max(len("epoch"), 2 * len(str(config.epochs)) + 1)


def _columns(config: ConfigDict) -> dict[str, int]:
    """The names and widths of a run's metrics: without validation there are two."""
    names = METRICS[: 2 if config.data.validation == "none" else 4]
    return {name: 2 + max(6, len(_SHORT.get(name, name))) for name in names}


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def closing_lines(config: ConfigDict, result: dict[str, Any], files: Workdir, overrides: Iterable[str] = ()) -> str:
    """The last lines of a run: test figures, the documented ones if they are of such a run, speed, and the files.

    `overrides` are the fields that the command line changed.
    """
    lines = [f"test loss {result['test_loss']:.4f}  test accuracy {result['test_accuracy']:.4f}"]
    lines += _documented(config, overrides)
    if result["validation_is_test"]:
        lines.append(VALIDATED_ON_TEST)
    spent = [f"trained in {result['seconds']:,.1f} s"] if result.get("seconds") else []
    spent += [f"{result['images_per_second']:,.0f} images/s"] if result.get("images_per_second") else []
    memory = [
        f"{result[key] / 2**20:,.0f} MiB {where}"
        for key, where in (("peak_memory_bytes", "of the process"), ("device_peak_memory_bytes", "on the device"))
        if result.get(key)
    ]
    if memory:
        spent.append(f"peak memory: {', '.join(memory)}")
    if spent:
        lines.append("; ".join(spent))
    names = ("result.json", "metrics.jsonl", "config.json", "checkpoints", "tensorboard")
    lines.append(f"{pasted(files.path)}: {', '.join(name for name in names if (files.path / name).exists())}")
    return "\n".join(map(wrap, lines))


def _documented(config: ConfigDict, overrides: Iterable[str]) -> list[str]:
    """The line of the documented figures, if there is one. It says in which fields the run differs from them."""
    theirs = config.documented
    if not theirs.source:
        return []
    figures = [
        f"{name.replace('_', ' ')} {theirs[name]:.4f}"
        for name in ("test_loss", "test_accuracy", "val_accuracy")
        if theirs[name] is not None
    ]
    differing = differing_fields(config, overrides)
    if not differing:
        return [f"documented: {', '.join(figures) or 'no final figure survives'} ({theirs.source})"]
    if not figures:
        return []
    verb = "differs" if len(differing) == 1 else "differ"
    here = f"here {', '.join(differing)} {verb}"
    return [f"documented for the experiment as it is ({here}): {', '.join(figures)} ({theirs.source})"]


def next_lines(workdir: str | os.PathLike, more: Iterable[str] = ()) -> str:
    """The commands that show the finished run in a folder, to paste; and more of them."""
    files = Workdir(workdir)
    commands = [["python", "-m", f"digits.{name}", f"--workdir={near(files.path)}"] for name in ("demo", "evaluate")]
    report = files.path / "report.html"
    if report.exists():
        commands.insert(0, [_OPEN, near(report)])
    return "\n".join(["next:", *(f"  {line}" for line in (*map(shlex.join, commands), *more))])
