"""Runs are found wherever they lie below a folder, newest first, and their members are left to the sweep."""

import os
import pathlib

import pytest

from digits.errors import UserError
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


def make_run(folder, name="config.json", age=0):
    folder.mkdir(parents=True)
    (folder / name).write_text("{}")
    os.utime(folder / name, (10**9 - age, 10**9 - age))
    return folder


def test_a_run_is_named_with_its_flag_or_without(tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    assert found.one_run("runs/a", []) == found.one_run(None, ["runs/a"]) == "runs/a"
    assert found.one_run(None, ["nowhere/of/that/kind"]) == "nowhere/of/that/kind"  # Loading it says more.
    with pytest.raises(UserError, match="'runs/b' is given besides 'runs/a', but the command takes one run"):
        found.one_run("runs/a", ["runs/b"])


@pytest.mark.parametrize(
    "given, meant",
    [
        ("simple_cnn", "runs/simple_cnn"),
        ("simple_cn", "runs/simple_cnn"),
        ("runs/simpel_cnn", "runs/simple_cnn"),
        ("runs/monday/denze", "runs/monday/dense"),
        ("monday/dense", "runs/monday/dense"),
        ("rates", "'runs/rates,data.validation=last(10)'"),
    ],
)
def test_a_run_that_is_not_there_is_asked_about(given, meant, tmp_path, monkeypatch):
    for name in ("simple_cnn", "monday/dense", "rates,data.validation=last(10)"):
        make_run(tmp_path / "runs" / name, "sweep.json" if "rates" in name else "config.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        found.one_run(None, [given])
    assert str(error.value) == f"there is no folder {given!r}; did you mean {meant}?"


def test_several_that_may_be_meant_have_a_line_each_to_paste(tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "cnn,epochs=2")
    make_run(tmp_path / "runs" / "cnn,validation=last(10)", "sweep.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        found.existing("runs/cnn,")
    assert str(error.value) == (
        "there is no folder 'runs/cnn,'; did you mean one of these?\n  runs/cnn,epochs=2\n"
        "  'runs/cnn,validation=last(10)' (a sweep)"
    )


def test_without_a_run_the_newest_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^--workdir is missing: name a run .* --workdir=runs/simple_cnn\.$"):
        found.one_run(None, [])
    for age, name in enumerate(["new", "a(b)", "lesson/old"]):
        make_run(tmp_path / "runs" / name, age=age)
    with pytest.raises(UserError) as error:
        found.one_run(None, [])
    assert str(error.value).splitlines()[1:] == ["The newest are:", "  runs/new", "  'runs/a(b)'", "  runs/lesson/old"]
