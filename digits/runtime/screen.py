"""What a terminal shows: lines that it does not wrap, and paths that can be pasted into a shell. Needs no JAX."""

import os
import pathlib
import shlex
import shutil
import sys
import textwrap
from typing import TextIO

COLUMNS = 79  # Of a line that every terminal shows.
_LEAST = 40  # Narrower lines are wrapped by the terminal.


def width(stream: TextIO | None = None) -> int | None:
    """The characters of a line that the terminal of a stream, stdout by default, does not wrap.

    None for a file or a pipe.
    """
    shown = (stream or sys.stdout).isatty()
    return max(_LEAST, shutil.get_terminal_size().columns - 1) if shown else None


def wrap(text: str, columns: int | None = COLUMNS, commands: bool = True) -> str:
    """Breaks lines that are longer than `columns` between their words; None breaks nothing.

    A path stays whole, and with `commands` a line that begins with a space, which is one to paste.
    """
    if columns is None:
        return text
    lines = []
    for line in text.split("\n"):
        if len(line) > columns and not (commands and line.startswith(" ")):
            line = textwrap.fill(line, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        lines.append(line)
    return "\n".join(lines)


def cut(line: str, columns: int | None) -> str:
    """The line without what is behind `columns`; None cuts nothing."""
    return line if columns is None or len(line) <= columns else f"{line[: columns - 1]}…"


def near(path: str | os.PathLike) -> str:
    """A path, short if it lies below the current folder."""
    path, here = pathlib.Path(path), pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) and path != here else path)


def pasted(path: str | os.PathLike) -> str:
    """A path as a shell takes it, see `near`."""
    return shlex.quote(near(path))
