"""Lines that a terminal does not wrap, and paths to paste."""

import os
import shlex
import sys

import pytest

from digits.runtime import screen


@pytest.mark.parametrize(("columns", "room"), [(80, 79), (132, 131), (10, 40)])
def test_the_width_is_that_of_the_terminal_and_a_pipe_has_none(monkeypatch, columns, room):
    monkeypatch.setattr(screen.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert screen.width() is None and screen.width(sys.stderr) == room


def test_long_lines_break_between_words_and_commands_stay_whole():
    command, path = f"  python -m digits.main {'--config.epochs=3 ' * 9}", "runs/" + "a" * 90
    text = f"Broken: {'some words ' * 9}\nshort\n{command}\n{path}"
    lines = screen.wrap(text).split("\n")
    assert max(map(len, lines[:2])) <= 79 and lines[1].startswith("  words") and lines[2:] == ["short", command, path]
    assert screen.wrap(text, None) == text
    assert screen.wrap("  a list  of words", 12, commands=False) == "  a list  of\n  words"


def test_a_cut_line_says_so():
    assert screen.cut("a" * 60, 59) == "a" * 58 + "…"
    assert screen.cut("a" * 60, 60) == screen.cut("a" * 60, None) == "a" * 60


def test_a_path_is_short_and_can_be_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert screen.near(tmp_path / "runs" / "a") == screen.pasted(tmp_path / "runs" / "a") == "runs/a"
    assert screen.near(tmp_path) == str(tmp_path) and screen.near("/elsewhere") == "/elsewhere"
    assert shlex.split(screen.pasted(tmp_path / "a run (1)")) == ["a run (1)"]
