"""docs/notebooks.md, its table of what the notebooks do: every call in it is made, and every field can be trained with.

tests/documentation_test.py tries the commands.
"""

import re
import shlex

import pytest

from configs import dense_32_32, simple_cnn
from digits.config.values import convert, with_values
from digits.training import train
from experiments.studies import records
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "notebooks.md").read_text()
_, _, *ROWS = TEXT.split("<!-- notebooks -->\n")[1].split("<!-- /notebooks -->")[0].strip().splitlines()
SPANS = [span for row in ROWS for span in re.findall(r"`([^`]+)`", row.split(" | ")[1])]
SETUP = TEXT.split("The calls follow on")[1].split("```")[1].removeprefix("python\n")


EXPERIMENTS = re.findall(r"^\| 00\d .*\| (.*) \|$", TEXT, re.MULTILINE)


def is_flags(span):
    return span.startswith("--")


def is_command(span):
    return span.startswith("python -m ")


def test_every_experiment_of_the_notebooks_is_named():
    named = {name for cell in EXPERIMENTS for name in re.findall(r"`(\w+)`", cell)} - {"kernel_size_search"}
    configs = {path.stem for path in (ROOT / "configs").glob("[a-z]*.py")} - {"base", "quickstart"}
    configs -= {arm.config for arm in records.STUDY.arms}
    dense_as_written = {name for name in configs if re.fullmatch(r"dense_\w+_as_written", name)}
    assert len(EXPERIMENTS) == 5 and named == configs - dense_as_written


def test_every_row_has_an_answer():
    assert len(ROWS) >= 20 and all(row.count(" | ") == 1 for row in ROWS)
    assert sum(map(is_flags, SPANS)) >= 15 and sum(map(is_command, SPANS)) >= 3


@pytest.mark.parametrize("span", list(filter(is_flags, SPANS)))
def test_every_flag_gives_a_config_that_can_be_trained(span):
    config = simple_cnn.get_config()
    given = dict(flag.removeprefix("--config.").split("=", 1) for flag in shlex.split(span))
    values = {field: convert(field, text) for field, text in given.items()}
    train.check(with_values(config, values))


@pytest.mark.mnist
def test_every_call_can_be_made(tmp_path, monkeypatch):
    config = dense_32_32.get_config()  # Of the same interface, and quickly compiled.
    config.data.name, config.data.validation = "optdigits", "random(0.15, 0)"
    config.epochs, config.tensorboard = 1, False
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    train.train_and_evaluate(config, "runs/simple_cnn")
    names = {}
    exec(SETUP, names)
    calls = [span for span in SPANS if not is_flags(span) and not is_command(span)]
    assert len(calls) >= 20
    for span in calls:
        assert eval(span, names) is not None or span.startswith(("print(", "run.plot().savefig(")), span
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
