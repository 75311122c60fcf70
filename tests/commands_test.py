"""`digits COMMAND` and `python -m digits COMMAND`: the list of commands, each with its help and version."""

import os
import subprocess
import sys
import tomllib

import pytest

import digits
from digits import __main__ as commands
from digits.runtime import screen
from tests.conftest import ROOT


def call(capsys, *words):
    code = commands.main(["digits", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_alone_and_with_help_it_lists_the_commands(capsys):
    code, out, err = call(capsys)
    assert (code, err) == (0, "") and out.startswith(commands.__doc__.rstrip())
    assert max(map(len, out.splitlines())) <= screen.COLUMNS
    assert call(capsys, "help") == call(capsys, "--help") == (0, out, "")
    modules = {path.stem for path in (ROOT / "digits").glob("*.py") if "def main(argv" in path.read_text()}
    assert {"train" if name == "main" else name for name in modules - {"__main__"}} == set(commands.COMMANDS) - {"runs"}


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_each_command_has_help_and_a_version(command, capsys):
    code, text, err = call(capsys, command, "--help")
    assert (code, err) == (0, "") and "\nFlags:\n" in text and "--version" in text
    assert "__main__" not in text and "None" not in text and max(map(len, text.splitlines())) <= screen.COLUMNS
    assert call(capsys, "help", command) == (0, text, "")
    assert call(capsys, command, "--version") == (0, f"digits {digits.__version__}\n", "")


@pytest.mark.parametrize("module", ["experiments.reproduce", "experiments.kernel_size_search", "benchmarks.peers"])
def test_other_commands_have_the_same_kind_of_help(module, run_module):
    done = run_module(module, "--help")
    about, heading, flags = done.stdout.partition("\nFlags:\n")
    assert done.returncode == 0 and heading and module in about
    assert "__main__" not in flags and "None" not in flags and "repeat this" not in flags
    assert max(map(len, flags.splitlines())) <= screen.COLUMNS


def test_the_version(capsys):
    assert call(capsys, "--version") == (0, f"digits {digits.__version__}\n", "")


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["trian"], "there is no command 'trian'; did you mean digits train?"),
        (["help", "evalute"], "there is no command 'evalute'; did you mean digits evaluate?"),
        (["xyz"], "there is no command 'xyz'; `digits` alone lists the commands."),
        (["--seed=3"], "the command is missing; `digits` alone lists the commands."),
    ],
)
def test_a_mistyped_command_is_one_sentence(words, sentence, capsys):
    assert call(capsys, *words) == (2, "", f"error: {sentence}\n")


def test_a_command_gets_its_arguments(capsys):
    code, out, err = call(capsys, "train", "--config=quickstart", "--config.epoch=3")
    assert (code, out) == (2, "") and "did you mean --config.epochs?" in err
    assert call(capsys, "main", "--help")[1] == call(capsys, "train", "--help")[1]


def test_an_installation_has_the_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"digits": "digits.__main__:main"}


@pytest.mark.parametrize(
    "start",
    [
        ["-c", "from digits.__main__ import main; main()"],  # The console script's lines.
        [str(ROOT / "digits" / "main.py")],
        ["-m", "experiments.reproduce"],
    ],
)
def test_ctrl_c_is_quiet_before_the_first_library_is_imported(start, tmp_path):
    (tmp_path / "absl.py").write_text("import os, signal\nos._exit(40 + (signal.getsignal(2) is signal.SIG_DFL))\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    assert subprocess.run([sys.executable, *start], env=env, cwd=ROOT).returncode == 41
