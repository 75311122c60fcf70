"""What the commands share: exit codes, one sentence for a mistake, flags that do not linger, changes of a config."""

import os
import re
import subprocess
import sys

from absl import flags
import pytest

import digits
from digits import command_line
from digits.config.experiment_files import default_workdir
from digits.errors import UserError
from digits.runtime import screen
from tests.conftest import ROOT

OWN = flags.FlagValues()
COUNT = flags.DEFINE_integer("count", 1, "How many.", flag_values=OWN)


def call(*arguments, files=""):
    seen = []

    def body(rest):
        seen.append((COUNT.value, rest))
        return 0

    return command_line.run(["program", *arguments], __name__, OWN, body, files), seen


def test_flags_are_parsed_anew_and_may_stand_behind_files():
    assert call("--count=3") == (0, [(3, [])])
    assert call() == (0, [(1, [])])
    assert call("a.png", "--count=2", "b.png", files="pictures") == (0, [(2, ["a.png", "b.png"])])


@pytest.mark.parametrize(
    "argument, words",
    [("--cuont=3", "'cuont'"), ("--count=x", "x"), ("a.png", "'a.png' is no flag: flags start with --.")],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(argument, words, capsys):
    assert call(argument) == (2, [])
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_a_path_that_the_system_refuses_is_a_mistake(capsys, tmp_path):
    long = tmp_path / ("x" * 300)
    assert command_line.run(["program"], __name__, OWN, lambda _: long.stat()) == 2
    assert capsys.readouterr().err == f"error: {long} cannot be used (File name too long).\n"
    with pytest.raises(FileNotFoundError):  # A file of the program's own that is gone is no mistake of the user's.
        command_line.run(["program"], __name__, OWN, lambda _: (tmp_path / "gone").stat())


def test_what_the_work_refuses_is_a_mistake_too(capsys):
    def body(_):
        raise UserError("--workdir is wrong.")

    assert command_line.run(["program"], __name__, OWN, body) == 2
    assert capsys.readouterr().err == "error: --workdir is wrong.\n"


def test_a_terminal_breaks_a_mistake_between_words_and_leaves_commands_whole(monkeypatch, capsys):
    command = f"  python -m digits.main {'--config.epochs=3 ' * 9}"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(screen.shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    assert command_line.refuse(f"{'some words ' * 9}:\n{command}") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and max(map(len, lines[:2])) <= 79 and lines[2] == command


def test_help_is_the_docstring_and_the_flags(capsys):
    assert call("--help", "--cuont") == (0, [])
    out = capsys.readouterr().out
    assert out == f"{__doc__}\nFlags:\n  --count=VALUE\n      How many. (default: 1)\n  --help\n  --version\n"
    assert call("--version", "--cuont") == (0, [])
    assert capsys.readouterr().out == f"digits {digits.__version__}\n"


@pytest.mark.parametrize(
    "given, sentence",
    [
        ("--epochs=3", "there is no flag 'epochs'; did you mean --config.epochs=3?"),
        ("--seed=1", "there is no flag 'seed'; did you mean --config.seed=1?"),
        ("--seed=0:3", "there is no flag 'seed'; did you mean --sweep.seed=0:3?"),
        ("--lr=3e-4", "there is no flag 'lr'; did you mean --config.optimizer.learning_rate=3e-4?"),
        ("--validation=last(10)", "there is no flag 'validation'; did you mean --config.data.validation='last(10)'?"),
        ("--wrkdir=x", "there is no flag 'wrkdir'; did you mean --workdir?"),
        ("--learning_rat=1", "there is no flag 'learning_rat'; did you mean --config.optimizer.learning_rate=1?"),
        ("--nothing_like_it", "there is no flag 'nothing_like_it'."),
        ("here", "'here' is no flag: flags start with --, fields with --config."),
    ],
)
def test_a_flag_that_is_a_field_is_asked_about(given, sentence):
    with pytest.raises(UserError) as error:
        read(given)
    assert str(error.value) == sentence


def test_a_name_alone_may_be_an_experiment():
    with pytest.raises(UserError, match="'simple_cnn' is no flag; did you mean --config=simple_cnn?"):
        command_line.read(["main", "simple_cnn"])


def test_fields_and_sweeps_are_refused_where_they_mean_nothing(capsys):
    assert call("--config.epochs=3") == (2, [])
    assert "--config.epochs=3 is for digits.main and digits.sweep alone" in capsys.readouterr().err
    argv = ["main", "--config=quickstart", "--sweep.data.validation=none,folds(5)"]
    assert command_line.train(argv, str, len, sweeps=False) == 2
    line = "  python -m digits.sweep --config=quickstart '--sweep.data.validation=none,folds(5)'"
    assert capsys.readouterr().err.endswith(f"digits.main trains one run; to sweep:\n{line}\n")
    assert command_line.train(argv, str, lambda given: len(given.swept)) == 1


def read(*arguments):
    return command_line.read(["main", "--config=configs/quickstart.py", *arguments])


@pytest.mark.parametrize(
    "arguments, changed",
    [
        (["--config.epochs=3", "--config.model.hidden=128,64"], {"epochs": 3, "model.hidden": (128, 64)}),
        (["--config.epochs", "3", "-config.seed=1"], {"epochs": 3, "seed": 1}),
        (["--config.schedule.decay", "-1"], {"schedule.decay": -1.0}),
        (["--config.tensorboard", "--noconfig.deterministic"], {"tensorboard": True, "deterministic": False}),
        (["--config.seed=1", "--config.epochs=2", "--config.seed=3"], {"epochs": 2, "seed": 3}),
        (["--config.data.name=a=b"], {"data.name": "a=b"}),
        ([], {}),
    ],
)
def test_fields_are_changed_in_every_form(arguments, changed):
    given = read(*arguments, "--workdir=runs/a")
    assert given.origin == {"config_file": "configs/quickstart.py", "overrides": changed}
    assert list(given.origin["overrides"]) == list(changed)
    assert all(given.config[field] == value for field, value in changed.items()) and given.config.is_locked
    assert command_line.WORKDIR.value == "runs/a"


NOTEBOOK = """
import importlib, runpy, sys
from absl import flags
for name in ("config", "workdir", "sample", "data_dir", "metric"):
    flags.DEFINE_string(name, "mine", "The program's own.")
flags.FLAGS(["notebook", "--config=still mine"])
import digits
from digits import command_line, main, sweep
for again in (command_line, main, sweep):
    importlib.reload(again)
for module in ("digits.main", "digits.sweep", "digits.evaluate", "digits.runs", "digits") * 2:
    sys.argv = [module, "--help"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code
given = [main.main(["digits.main", "--config=quickstart", "--fields"]) for _ in range(2)]
assert given == [0, 0] and flags.FLAGS.config == "still mine" and flags.FLAGS.workdir == "mine"
"""


def test_a_notebook_with_flags_of_its_own_runs_the_same_cells_twice():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOTEBOOK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--sample=VALUE") == 2


def test_flags_may_stand_in_a_file(tmp_path):
    (tmp_path / "flags").write_text("--config.epochs=3\n--workdir=runs/b\n")
    given = read(f"--flagfile={tmp_path / 'flags'}")
    assert given.config.epochs == 3 and command_line.WORKDIR.value == "runs/b"
    with pytest.raises(UserError, match="nowhere"):
        read(f"--flagfile={tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--config.epochs"], "--config.epochs has no value: --config.epochs=VALUE."),
        (["--noconfig.epochs"], "--noconfig.epochs switches off a field that is true or false"),
        (["--noconfig.tensorboard=1"], "--noconfig.tensorboard switches off"),
        (["--noconfig.tensorbord"], "did you mean --config.tensorboard?"),
        (["--config.tensorboard=1"], "--config.tensorboard has the value '1', but it must be true or false."),
        (["--sweep.seed"], "--sweep.seed has no values"),
        (["--num_processes=x"], "flag --num_processes=x: invalid literal for int() with base 10: 'x'."),
    ],
)
def test_a_change_that_cannot_be_made_gets_a_sentence(arguments, sentence):
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert sentence in str(error.value)


def test_values_of_sweeps_are_kept_as_text():
    assert read("--sweep.seed=0:10", "--sweep.model.hidden", "(8,),(16,)").swept == {
        "seed": "0:10",
        "model.hidden": "(8,),(16,)",
    }


def test_a_field_that_follows_another_is_changed_with_it(tmp_path):
    path = tmp_path / "follows.py"
    path.write_text(
        "from configs import base\n"
        "def get_config():\n"
        "    config = base.get_config().unlock()\n"
        "    config.eval_batch_size = config.get_ref('batch_size') * 2\n"
        "    return config\n"
    )
    config = command_line.read(["main", f"--config={path}", "--config.batch_size=7"]).config
    assert config.eval_batch_size == 14 and config.is_locked


def test_default_workdir_is_a_folder_on_every_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file, name in (("aux.py", r"aux~[0-9a-f]{8}"), ("a b.py", "a b"), ("why?.py", r"why-~[0-9a-f]{8}")):
        assert re.fullmatch(f"runs/{name}", default_workdir({"config_file": file, "overrides": {}}))
    (tmp_path / "runs" / "aux").mkdir(parents=True)  # Of an earlier version.
    assert default_workdir({"config_file": "aux.py", "overrides": {}}) == "runs/aux"


def test_default_workdir_is_named_after_config_and_changes():
    def folder(file, **changes):
        return default_workdir({"config_file": file, "overrides": changes})

    assert folder("configs/two_conv.py") == "runs/two_conv"
    changes = {"model.kernel_size": 5, "epochs": 3, "data.validation": "last(37)"}
    assert folder("x/two_conv.py", **changes) == ("runs/two_conv,data.validation=last-37,epochs=3,model.kernel_size=5")
    assert folder("x/mine.py:wide") == "runs/mine,wide"
    assert re.fullmatch(r"runs/mine,c~[0-9a-f]{8}", folder("x/mine.py:a b/*$(c)"))
    origin = {"config_file": "x/mine.py:wide", "overrides": {"epochs": 3}}
    assert default_workdir(origin, "_sweep", {"seed": "0:3"}) == "runs/mine_sweep,wide,seed=0..3,epochs=3"


def test_the_folder_of_an_earlier_version_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    origin = {"config_file": "x/mine.py", "overrides": {"data.validation": "last(37)", "data.name": "a/b.npz"}}
    for ending, more, before in (
        ("", None, "runs/mine,data.name=a_b.npz,data.validation=last(37)"),
        ("_sweep", {"seed": "0:3"}, "runs/mine_sweep,data.name=a_b.npz,data.validation=last(37),seed=0:3"),
    ):
        assert default_workdir(origin, ending, more) != before
        (tmp_path / before).mkdir(parents=True)
        assert default_workdir(origin, ending, more) == before


def test_reading_a_command_line_imports_neither_jax_nor_numpy(run_module):
    done = run_module("digits.main", "--config=simple_cnn", "--fields", python=("-X", "importtime"))
    assert done.returncode == 0 and "`model.kernel_size` = `3`" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "digits.command_line" in imported and not {"jax", "flax", "numpy", "optax"} & imported
