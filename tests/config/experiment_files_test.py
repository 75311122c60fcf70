"""Files of experiments: how they are named, found, executed and listed, and where one of them is wrong."""

import os
import re
import subprocess
import sys

import pytest

from digits.config.experiment_files import listing, load
from digits.errors import UserError
from tests.conftest import ROOT

TAKES = """
from configs import base

def get_config(width="4"):
    config = base.get_config()
    config.model.hidden = (int(width),)
    return config
"""


def run(folder, *arguments, module="digits.main"):
    """Runs a command in another folder than the checkout, whose code it takes."""
    command = [sys.executable, "-m", module, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_a_name_a_file_and_an_argument(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(TAKES)
    file, config, module = load(f"{path}:16")
    assert module.base and file == f"{path}:16" and config.model.hidden == (16,)
    assert load(str(path))[1].model.hidden == (4,)
    assert load("simple_cnn")[0] == "configs/simple_cnn.py"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "simple_cnn.py").write_text(TAKES)
    monkeypatch.chdir(tmp_path)
    assert load("simple_cnn:8")[1].model.hidden == (8,)
    assert load("quickstart")[0] == str(ROOT / "configs" / "quickstart.py")


def test_a_file_is_executed_once(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TAKES + f"open({str(tmp_path / 'count')!r}, 'a').write('x')\n")
    load(str(path))
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(
    "given, sentence",
    [
        ("quickstat", "there is no experiment of that name; did you mean quickstart?"),
        ("zzz", "there is no experiment of that name; digits.main without arguments lists the experiments."),
        ("configs/simple_cn.py", "there is no such file; did you mean simple_cnn"),
        ("quickstart:wide", "get_config() of configs/quickstart.py takes no argument: write --config=quickstart."),
        ("configs", "there is no experiment of that name"),
    ],
)
def test_what_cannot_be_loaded_gets_a_sentence(given, sentence):
    with pytest.raises(UserError) as error:
        load(given)
    assert f"--config is {given!r}, but " in str(error.value) and sentence in str(error.value)


def test_the_argument_s_own_mistake_names_the_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TAKES)
    with pytest.raises(UserError, match=r"mine.py, line 6: ValueError: invalid literal for int.*'wide'\.$"):
        load(f"{path}:wide")


def test_a_lacking_field_deep_in_the_config_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TAKES.replace("    return", "    config.unlock()\n    del config.model.pool\n    return"))
    with pytest.raises(UserError, match=r"The config of .*mine.py has no field 'model.pool': begin with base"):
        load(str(path))


def test_a_field_that_is_not_there_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TAKES.replace("config.model.hidden = ", "config.model.hiden = "))
    with pytest.raises(UserError, match=r"mine.py, line 6: there is no field 'hiden'; did you mean 'hidden'\?$"):
        load(str(path))


def test_without_arguments_the_experiments_are_listed(run_module):
    done = run_module("digits.main")
    assert done.returncode == 0 and done.stderr == ""
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    names = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"base", "__init__"}
    assert set(lines) == names
    simple = r"  simple_cnn +0\.9\d{3}  +\d+ s  Two convolutions without regularisation \(notebook 004\)\."
    assert re.fullmatch(simple, lines["simple_cnn"])
    assert "python -m digits.main --config=NAME" in done.stdout


def test_a_terminal_shows_an_experiment_in_lines_that_fit():
    lines = listing(79).splitlines()
    assert max(map(len, lines)) <= 79
    place = next(i for i, line in enumerate(lines) if line.startswith("  simple_cnn "))
    assert lines[place + 1] == "      Two convolutions without regularisation (notebook 004)."
    assert listing(1000) == listing()


def test_the_checkout_s_experiments_are_found_elsewhere_and_a_foreign_package_configs_does_not_matter(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise SystemExit('foreign')\n")
    (tmp_path / "configs" / "settings.py").write_text("import nothing_of_that_name\n")
    assert run(tmp_path, "--help").returncode == 0
    listed = run(tmp_path)
    assert "  simple_cnn " in listed.stdout and "settings" not in listed.stdout
    done = run(tmp_path, "--config=simple_cnn", "--fields")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith(f"# The fields of {ROOT}/configs/simple_cnn.py\n")


def test_an_argument_works_in_a_sweep_too(tmp_path):
    (tmp_path / "mine.py").write_text(TAKES)
    arguments = ["--config=mine.py:8", "--config.epochs=0", "--config.data.name=optdigits", "--sweep.seed=0:2"]
    done = run(tmp_path, *arguments, module="digits.sweep")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "The point seed=0 cannot be trained: config.epochs is 0" in done.stderr
