"""`digits.train`: the checks, folders and results of the command, from Python and in notebooks."""

import json
import os
import signal

from IPython.core.interactiveshell import InteractiveShell
import pytest

import digits
from digits import errors
from digits.config.experiment_files import default_workdir
from digits.runs.workdir import Workdir
from tests.conftest import tiny_config

EXPERIMENT = """
from tests.conftest import tiny_config

def get_config():
    config = tiny_config()
    config.augment.rotation = 0.0
    return config
"""


@pytest.fixture
def tiny_file(tmp_path, monkeypatch):
    """The name of a small experiment in a folder configs/ here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "little.py").write_text(EXPERIMENT)
    return "little"


def test_an_experiment_is_trained_in_the_folder_of_the_command_and_once(tiny_file, capsys):
    changes = {"model.hidden": (8,), "optimizer.learning_rate": "2e-3"}
    run = digits.train(tiny_file, changes, epochs=1)
    about = json.loads((run.path / "config.json").read_text())
    overrides = {"model.hidden": (8,), "optimizer.learning_rate": 0.002, "epochs": 1}
    assert os.path.relpath(run.path) == default_workdir({"config_file": "configs/little.py", "overrides": overrides})
    assert about["config_file"] == "configs/little.py" and about["config"]["optimizer"]["learning_rate"] == 0.002
    assert run.name == "little" and run.accuracy == run.result["test_accuracy"] and run.config.model.hidden == (8,)
    capsys.readouterr()
    again = digits.train(tiny_file, changes, epochs=1)
    assert capsys.readouterr().out.startswith(f"This run is finished: {run.path}.")
    assert again.result == run.result


def test_a_config_is_trained_in_a_folder_that_is_named(tmp_path):
    config = tiny_config()
    config.augment.rotation, before = 0.0, config.epochs
    run = digits.train(config, epochs=1, workdir=tmp_path / "run")
    assert run.path == tmp_path / "run" and run.name == "run" and len(run.records) == 1
    assert config.epochs == before
    with pytest.raises(errors.UserError, match="workdir is missing"):
        digits.train(config)


@pytest.mark.parametrize(
    "arguments, fields, words",
    [
        (["quickstrt"], {}, "did you mean quickstart?"),
        (["quickstart"], {"epoch": 3}, "there is no field 'epoch'; did you mean epochs?"),
        (["quickstart"], {"model": 3}, "'model' is a section; name one of its fields"),
        (["quickstart", {"epochs": 0}], {}, "config.epochs is 0, but it must be a whole number from 1"),
        (["quickstart", "runs/here"], {}, "changes are 'runs/here', but must be a dict"),
        ([5], {}, "experiment is 5, but it must be a name, a file or a config"),
    ],
)
def test_mistakes_are_a_sentence_each_before_anything_is_written(arguments, fields, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UserError) as error:
        digits.train(*arguments, **fields)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    assert error.value._render_traceback_() == [f"error: {error.value}"]


def test_an_interrupted_cell_saves_and_the_same_cell_goes_on(tiny_file, monkeypatch, capsys):
    append = Workdir.append

    def then_interrupt(files, record):
        append(files, record)
        os.kill(os.getpid(), signal.SIGINT)

    shell = InteractiveShell()
    cell = f"import digits\nrun = digits.train({tiny_file!r})"
    with monkeypatch.context() as patch:
        patch.setattr(Workdir, "append", then_interrupt)
        stopped = shell.run_cell(cell).error_in_exec
    assert isinstance(stopped, KeyboardInterrupt)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == str(stopped) == "Stopped by SIGINT and saved. The same call goes on."
    assert repr(digits.load("runs/little")).endswith("1 of 3 epochs, unfinished)")
    assert shell.run_cell(cell).success and len(shell.user_ns["run"].records) == 3
