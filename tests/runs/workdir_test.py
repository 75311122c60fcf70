"""The run directory's files: torn and superfluous lines."""

import json
import shutil

import pytest

from configs import base
from digits import errors
from digits.runs.workdir import Workdir


def opened(folder):
    workdir = Workdir(folder)
    workdir.create(base.get_config(), {"data": {"digest": "0" * 64}})
    return workdir


def test_a_torn_last_line_is_dropped_and_later_epochs_are_cut(tmp_path):
    files = opened(tmp_path)
    for epoch in (1, 2, 3):
        files.append({"epoch": epoch, "loss": 1 / epoch})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in files.history()] == [1, 2, 3]
    files.truncate(2)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    assert files.history()[1] == {"epoch": 2, "loss": 0.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json", "metrics.jsonl"]


def test_a_folder_with_what_a_kill_or_a_failure_left_is_free(tmp_path):
    files, config = Workdir(tmp_path), base.get_config()
    (tmp_path / ".config.json.123").write_text("{")
    files.write_failure("out of memory", "It was too large.")
    files.check(config)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(errors.UserError, match="which holds files but no run"):
        files.check(config)


def test_unreadable_json_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.UserError, match="config.json cannot be read as JSON"):
        Workdir(tmp_path).check(base.get_config())


@pytest.mark.parametrize("content", ["{}", "[1, 2]", '{"config": 3}', '{"config": {}, "run": 5}'])
def test_a_config_json_of_something_else_is_damaged(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(errors.UserError, match="config.json is damaged: it has no valid '(config|run)'"):
        Workdir(tmp_path).check(base.get_config())


RESULT = {"epochs": 2, "tested_epoch": 2, "test_loss": 0.1, "test_accuracy": 0.9}


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
def test_a_file_of_another_run_of_the_same_config_is_found(name, tmp_path):
    for run in ("one", "other"):
        workdir = opened(tmp_path / run)
        for epoch in (1, 2):
            workdir.append({"epoch": epoch, "loss": 0.5})
        workdir.write_result(RESULT)
        workdir.release()
        assert workdir.read() == ([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.5}], workdir.result())
    shutil.copy(tmp_path / "other" / name, tmp_path / "one" / name)
    with pytest.raises(errors.UserError, match="of another run"):
        Workdir(tmp_path / "one").read()


def test_a_failure_of_another_run_is_found(tmp_path):
    for run in ("one", "other"):
        opened(tmp_path / run).write_failure("diverged", f"The loss of {run} is nan.")
    assert Workdir(tmp_path / "one").failure()["message"] == "The loss of one is nan."
    shutil.copy(tmp_path / "other" / "failure.json", tmp_path / "one")
    with pytest.raises(errors.UserError, match="failure.json is of another run than .*one/config.json"):
        Workdir(tmp_path / "one").failure()


def test_a_result_needs_its_records_and_its_config(tmp_path):
    workdir = opened(tmp_path)
    workdir.append({"epoch": 1})
    workdir.write_result(RESULT)
    with pytest.raises(errors.UserError, match="metrics.jsonl is damaged: it has 1 of the 2 epochs of result.json"):
        workdir.read()
    (tmp_path / "config.json").unlink()
    with pytest.raises(errors.UserError, match="is only a part of a run, without config.json"):
        workdir.read()


def test_a_run_of_an_earlier_version_goes_on_without_an_identity(tmp_path):
    workdir, about = opened(tmp_path), {"data": {"digest": "0" * 64}}
    about_before = {key: value for key, value in workdir.about().items() if key != "run"}
    (tmp_path / "config.json").write_text(json.dumps(about_before))
    workdir.create(base.get_config(), about)
    for epoch in (1, 2):
        workdir.append({"epoch": epoch})
    workdir.write_result(RESULT)
    assert workdir.identity is None and Workdir(tmp_path).read()[0] == [{"epoch": 1}, {"epoch": 2}]
