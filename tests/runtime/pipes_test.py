"""A pipe that its reader has closed: commands end without a word, a training goes on to its end."""

import contextlib
import io
import os
import subprocess
import sys

import pytest

from digits.runtime import pipes
from tests.conftest import ROOT


def run(folder, *arguments):
    """(exit code, stderr) of a command whose output nobody reads: the other end of the pipe is closed before."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as closed:
        command = [sys.executable, "-m", *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=folder, env=env, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=200, check=False
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["digits"],
        ["digits.main"],
        ["digits.evaluate", "--version"],
        ["digits", "runs"],
        ["digits.runs", "--json"],
    ],
    ids=" ".join,
)
def test_a_command_that_nobody_reads_ends_as_by_the_signal(arguments, tmp_path):
    assert run(tmp_path, *arguments) == (pipes.CLOSED, "")


def test_a_training_that_nobody_reads_comes_to_its_end(tmp_path):
    arguments = ["--config=dense_32_32", "--config.data.name=optdigits", "--config.data.validation=none", "--noreport"]
    arguments += ["--config.epochs=1", "--config.monitor=loss", "--config.tensorboard=False", "--workdir=run"]
    assert run(tmp_path, "digits.main", *arguments) == (0, "")
    assert (tmp_path / "run" / "result.json").exists()


def test_a_pipe_that_is_closed_midway_takes_the_rest_and_what_is_open_is_written():
    read, write = os.pipe()
    with open(write, "w") as stream, contextlib.redirect_stdout(pipes.Unread(stream)):
        print("first", flush=True)
        assert os.read(read, 100) == b"first\n"
        os.close(read)
        for _ in range(3):
            print("x" * 10**5)
            print("more", flush=True)
        assert sys.stdout.fileno() == stream.fileno()
    text = io.StringIO()
    with contextlib.redirect_stdout(pipes.Unread(text)):
        print("whole")
    assert text.getvalue() == "whole\n"
