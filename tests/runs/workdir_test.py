"""The run directory's files: torn and superfluous lines."""

import pytest

from configs import base
from digits import errors
from digits.runs.workdir import Workdir


def test_a_torn_last_line_is_dropped_and_later_epochs_are_cut(tmp_path):
    files = Workdir(tmp_path)
    for epoch in (1, 2, 3):
        files.append({"epoch": epoch, "loss": 1 / epoch})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in files.history()] == [1, 2, 3]
    files.truncate(2)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    assert files.history()[1] == {"epoch": 2, "loss": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


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


@pytest.mark.parametrize("content", ["{}", "[1, 2]", '{"config": 3}'])
def test_a_config_json_of_something_else_is_damaged(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(errors.UserError, match="config.json is damaged: it has no valid 'config'"):
        Workdir(tmp_path).check(base.get_config())
