"""Standard streams that are closed or full: a training goes on to its end, a command that prints its result says why.

At a pipe that its reader has closed, a command ends without a word.
"""

import contextlib
import io
import os
import subprocess
import sys

import pytest

import digits
from digits.errors import UserError
from digits.runtime import streams
from tests.conftest import ROOT, slow


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
    assert run(tmp_path, *arguments) == (streams.CLOSED, "")


def in_shell(folder, words, *arguments):
    """(exit code, stderr) of a command whose streams a shell redirects."""
    command = ["sh", "-c", f'exec "$@" {words}', "sh", sys.executable, "-m", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True, timeout=200, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words, why", [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
@pytest.mark.parametrize("arguments", [["digits.runs"], ["digits"], ["digits.predict", "--help"]], ids=" ".join)
def test_a_result_that_cannot_be_printed_is_one_sentence(arguments, words, why, tmp_path):
    sentence = f"error: The standard output cannot be written: {why}.\n"
    assert in_shell(tmp_path, words, *arguments) == (2, sentence)


@pytest.mark.parametrize("words", [">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_a_mistake_that_cannot_be_printed_has_its_exit_code(words, tmp_path):
    assert in_shell(tmp_path, words, "digits.runs", "--mistyped") == (2, "")


TRAINING = (
    "--config=dense_32_32", "--config.data.name=optdigits", "--config.data.validation=none", "--noreport",
    "--config.epochs=1", "--config.monitor=loss", "--config.tensorboard=False", "--workdir=run",
)  # fmt: skip


def test_a_training_that_nobody_reads_comes_to_its_end(tmp_path):
    assert run(tmp_path, "digits.main", *TRAINING) == (0, "")
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("words", ["> /dev/full 2> /dev/full", *slow("<&- >&- 2>&-")])
def test_a_training_without_its_streams_comes_to_its_end_and_its_files_are_whole(words, tmp_path):
    assert in_shell(tmp_path, words, "digits.main", *TRAINING) == (0, "")
    loaded = digits.load(tmp_path / "run")
    assert loaded.result["epochs"] == 1 and len(loaded.records) == 1


def test_files_do_not_get_the_numbers_of_closed_streams(tmp_path):
    code = "import os; from digits.runtime import streams; streams.open_missing(); x = open('file'); print(x.fileno())"
    code += "; os.mkdir(str(x.fileno()))"
    (tmp_path / "file").touch()
    command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "3"}


def test_what_is_needed_and_cannot_be_written_is_refused_and_what_is_not_needed_is_dropped():
    for needed in (True, False):
        with open("/dev/full", "w") as full, streams.guarded(needed=False):
            stream = streams.Output(full, needed)
            stream.write("x")
            with pytest.raises(UserError, match="No space left") if needed else contextlib.nullcontext():
                stream.flush()
            stream.write("y")  # The reason was given once.
            stream.flush()


def test_a_pipe_that_is_closed_midway_takes_the_rest_and_what_is_open_is_written():
    read, write = os.pipe()
    with open(write, "w") as stream, contextlib.redirect_stdout(streams.Output(stream)):
        print("first", flush=True)
        assert os.read(read, 100) == b"first\n"
        os.close(read)
        for _ in range(3):
            print("x" * 10**5)
            print("more", flush=True)
        assert sys.stdout.fileno() == stream.fileno()
    text = io.StringIO()
    with contextlib.redirect_stdout(streams.Output(text)):
        print("whole")
    assert text.getvalue() == "whole\n"
