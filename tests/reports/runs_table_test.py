"""The table of runs: its rows, of damaged runs too; sorted, chosen, cut for a terminal, as CSV and as JSON."""

import csv
import io
import json
import os

import pytest

from configs import simple_cnn
from digits.config.values import config_to_json, with_values
from digits.errors import UserError
from digits.reports import runs_table
from digits.runs import __main__ as command
from digits.runs import files, locks


def make(folder, age=0, epochs=2, overrides=None, accuracy=0.99, finished=True, **values):
    """The small files of a run of simple_cnn with changes."""
    overrides = {"epochs": 2} if overrides is None else overrides
    config = with_values(simple_cnn.get_config(), overrides | values)
    folder.mkdir(parents=True)
    about = {"config_file": "configs/simple_cnn.py", "overrides": overrides}
    files.write_json(folder / "config.json", {"config": config_to_json(config), **about})
    records = [{"epoch": epoch, "loss": 0.1, "val_accuracy": 0.9 + epoch / 1000} for epoch in range(1, epochs + 1)]
    files.write_records(folder / "metrics.jsonl", records, None)
    if finished:
        result = {
            "test_accuracy": accuracy,
            "test_loss": 0.1,
            "tested_epoch": epochs,
            "epochs": epochs,
            "seconds": 12.5,
        }
        files.write_json(folder / "result.json", result)
    for path in folder.iterdir():
        os.utime(path, (10**9 - age, 10**9 - age))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs in each state, and a sweep with a member that has not begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    make(tmp_path / "runs" / "cut", age=1)
    make(tmp_path / "runs" / "whole", age=2, epochs=20, overrides={"seed": 3}, accuracy=0.98)
    make(tmp_path / "runs" / "stopped", age=3, epochs=1, finished=False)
    failed = make(tmp_path / "runs" / "failed", age=4, epochs=0, finished=False)
    files.write_json(failed / "failure.json", {"kind": "diverged", "message": "The loss is nan."})
    os.utime(failed / "failure.json", (10**9 - 4,) * 2)
    (make(tmp_path / "runs" / "damaged", age=5) / "result.json").write_text("{")
    sweep = tmp_path / "runs" / "sweep"
    members = []
    for rate in (0.1, 0.2, 0.3):
        if rate < 0.3:
            overrides = {"epochs": 2, "optimizer.learning_rate": rate}
            make(sweep / f"rate={rate}", age=6, epochs=2, overrides=overrides, accuracy=0.9 + rate / 10)
        members.append({"name": f"rate={rate}", "values": {"optimizer.learning_rate": rate}})
    about = {"config_file": "c.py", "fields": ["optimizer.learning_rate"], "chooses": "test_accuracy"}
    files.write_json(sweep / "sweep.json", about | {"validation_is_test": False, "members": members})
    os.utime(sweep / "sweep.json", (10**9 - 6,) * 2)
    return {pathlib_name(row): row for row in runs_table.rows(["runs"], members=True)}


def pathlib_name(row):
    return row.name.removeprefix("runs/")


def test_each_state_is_said_newest_first(runs):
    states = {name: row.state for name, row in runs.items()}
    assert list(states.items()) == [
        ("damaged", "damaged"), ("cut", "finished"), ("whole", "finished"), ("stopped", "interrupted"),
        ("failed", "diverged"), ("sweep", "2 of 3"), ("sweep/rate=0.1", "finished"), ("sweep/rate=0.2", "finished"),
        ("sweep/rate=0.3", "unfinished"),
    ]  # fmt: skip
    assert runs["failed"].message == "The loss is nan." and "result.json cannot be read" in runs["damaged"].message
    assert (runs["stopped"].epochs, runs["stopped"].of, runs["stopped"].val_accuracy) == (1, 2, 0.901)
    best = runs["sweep"]
    assert best.changed == {"optimizer.learning_rate": 0.2} and best.seconds == 25 and best.epochs == 4
    assert best.test_accuracy == pytest.approx(0.92) and [row.kind for row in runs.values()].count("member") == 3
    assert [row.name for row in runs_table.rows(["runs/cut", "runs/sweep"])] == ["runs/cut", "runs/sweep"]


def test_the_documented_figure_stands_beside_the_experiment_as_it_is(runs):
    assert runs["whole"].documented == simple_cnn.get_config().documented.test_accuracy
    assert runs["cut"].documented is None and runs["stopped"].documented is None


def test_a_run_in_use_is_said_and_its_lock_left_alone(runs, tmp_path):
    folder = tmp_path / "runs" / "stopped"
    lock = locks.Lock(folder)
    lock.acquire()
    holder = (folder / ".lock").read_text()
    assert runs_table.rows([str(folder)])[0].state == "in use" and locks.in_use(folder)
    lock.release()
    assert runs_table.rows([str(folder)])[0].state == "interrupted" and (folder / ".lock").read_text() == holder != ""
    assert not locks.in_use(tmp_path) and not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
@pytest.mark.parametrize("content", ["", "[1]", '{"epoch": 2, "val_accuracy": "x"}\n', "[" * 10**5 + "\n", None])
def test_a_damaged_file_makes_a_damaged_row(runs, tmp_path, name, content):
    path = tmp_path / "runs" / "cut" / name
    path.unlink()
    if content is None:
        (tmp_path / "elsewhere").write_text("{}")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(content)
    [row] = runs_table.rows([str(path.parent)])
    assert row.state == "damaged" and name in row.message
    assert runs_table.text([row], 80)


def test_rows_are_sorted_by_a_column_or_a_field(runs):
    def names(by):
        return [pathlib_name(row) for row in runs_table.sort(list(runs.values()), by)]

    assert names("test_accuracy")[:2] == ["cut", "whole"] and names("-test_accuracy")[0] == "sweep/rate=0.1"
    assert names("name") == sorted(runs) and names("-name") == sorted(runs, reverse=True)
    assert names("optimizer.learning_rate")[0] == "sweep/rate=0.2" and names("date")[-1] == "sweep/rate=0.3"
    with pytest.raises(UserError, match=r"--sort is 'lr', but .*; did you mean optimizer.learning_rate\?$"):
        names("lr")
    with pytest.raises(UserError, match=r"; did you mean seconds\?$"):
        names("secnds")


def test_rows_are_chosen_by_fields_and_states(runs):
    def names(*filters):
        return [pathlib_name(row) for row in runs_table.choose(list(runs.values()), filters)]

    assert names("optimizer.learning_rate=2e-1") == ["sweep", "sweep/rate=0.2"]
    assert names("epochs=2", "state=finished") == ["cut", "sweep/rate=0.1", "sweep/rate=0.2"]
    assert names("model.blocks=((1,),)") == [] and len(names()) == 9
    for given, words in [
        ("lr=1", "no field 'lr'; did you mean optimizer.learning_rate?"),
        ("seed", "FIELD=VALUE"),
        ("seed=x", "a whole number"),
    ]:
        with pytest.raises(UserError) as error:
            names(given)
        assert words in str(error.value)


def test_a_terminal_gets_what_fits_and_a_pipe_everything(runs):
    rows = list(runs.values())
    whole = runs_table.text(rows)
    assert "runs/sweep/rate=0.1 " in whole and "optimizer.learning_rate=0.2" in whole and "interrupted, 1/2" in whole
    for width, count in ((79, 1 + 2 * 9), (132, 1 + 9)):
        lines = runs_table.text(rows, width).splitlines()
        assert len(lines) == count and max(map(len, lines)) <= width and "interrupted, 1/2" in "\n".join(lines)
        assert any(line.startswith("  rate=0.1") for line in lines)


def test_a_name_without_room_has_a_line_of_its_own(runs, tmp_path):
    name = f"runs/sweep (1),{'seed=0..10,' * 5}"
    make(tmp_path / name, overrides={"epochs": 2, "optimizer.learning_rate": 3e-3})
    (row,) = runs_table.rows([name])
    heading, named, figures = runs_table.text([row], 79).splitlines()
    assert heading.split() == ["state", "val", "test", "seconds", "date", "changed"] and named == f"'{name}'"
    assert figures.startswith("    finished  0.9020  0.9900") and "  epochs=2 learning_" in figures
    assert len(figures) <= 79 and figures.endswith("…") and figures.index("epochs") == heading.index("changed")


def test_validation_on_the_test_set_is_said(runs, tmp_path):
    make(tmp_path / "runs" / "tested", **{"data.validation": "test"})
    text = runs_table.text(runs_table.rows(["runs/tested", "runs/cut"]), 80)
    assert "0.9020*" in text and "0.9900*" in text and "* validation was the test set" in text.splitlines()[-1]


def call(capsys, *words):
    code = command.main(["runs", *words])
    return code, *capsys.readouterr()


def test_the_command_prints_text_csv_and_json(runs, capsys):
    code, out, err = call(capsys)
    assert (code, err) == (0, "") and out.splitlines()[1].startswith("runs/damaged") and "rate=0.1" not in out
    rows = list(csv.DictReader(io.StringIO(call(capsys, "--csv", "--sort=test_accuracy")[1])))
    assert rows[0]["name"] == "runs/cut" and float(rows[0]["test_accuracy"]) == 0.99 and len(rows) == 6
    objects = json.loads(call(capsys, "--json", "runs/sweep", "--members")[1])
    assert [one["kind"] for one in objects] == ["sweep", "member", "member", "member"]
    assert objects[1]["changed"] == {"optimizer.learning_rate": 0.1}


def test_the_command_refuses_what_makes_no_sense(runs, tmp_path, monkeypatch, capsys):
    assert call(capsys, "--csv", "--json") == (
        2, "", "error: --csv and --json are both given, but only one of them can be printed.\n",
    )  # fmt: skip
    assert "did you mean runs/sweep?" in call(capsys, "sweep")[2]
    assert "There are no such runs in runs" in call(capsys, "--filter=seed=77")[1]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert call(capsys)[:2] == (0, "There are no runs in runs; `digits train --config=quickstart` makes one.\n")


def test_the_command_imports_nothing_heavy(runs, run_module):
    done = run_module("digits.runs", "--help", python=("-X", "importtime"))
    assert done.returncode == 0 and "--sort" in done.stdout
    done = run_module("digits.runs", os.path.abspath("runs"), "--members", python=("-X", "importtime"))
    assert done.returncode == 0 and "sweep" in done.stdout
    for heavy in ("jax", "flax", "orbax", "numpy", "scipy", "tensorflow"):
        assert f" {heavy}\n" not in done.stderr
