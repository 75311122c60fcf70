"""Runs are found wherever they lie below a folder, newest first, and their members are left to the sweep."""

import os
import pathlib

import pytest

from digits.runs import found


@pytest.fixture
def runs(tmp_path, monkeypatch):
    for age, file in enumerate(
        ["runs/b/config.json", "runs/monday/s/sweep.json", "runs/monday/s/member/config.json", "runs/a/config.json"]
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
        os.utime(tmp_path / file, (10**9 - age, 10**9 - age))
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_runs_and_sweeps_are_found_newest_first(runs):
    assert list(map(str, found.find())) == ["runs/b", "runs/monday/s", "runs/a"]
    (runs / "a" / "result.json").write_text("{}")
    assert found.find()[0] == pathlib.Path("runs/a") and found.find(runs / "monday") == [runs / "monday" / "s"]
    assert found.find("nowhere") == [] and found.find("runs/a") == []


def test_a_finished_run_is_as_old_as_its_result(runs):
    (runs / "b" / "result.json").write_text("{}")
    os.utime(runs / "b" / "result.json", (1, 1))
    assert found.written(runs / "b") == 1 and found.written(runs / "notes") == 0


def test_names_that_may_be_meant(runs):
    assert found.like("a") == [pathlib.Path("runs/a")] and found.like("monday/s") == [pathlib.Path("runs/monday/s")]
    (runs / "a").rename(runs / "simple_cnn")
    assert found.like("runs/simpel_cnn") == found.like("simple") == [pathlib.Path("runs/simple_cnn")]
    assert found.like("nothing_like_it") == []
