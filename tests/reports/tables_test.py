"""A sweep's tables: what chose, what is written, and what is not."""

import csv
import sys

import pytest

from digits import errors
from digits.reports import tables
from digits.runs import sweep_folder
from tests.made_sweeps import RATE, THREE, rates


def test_seeds_and_folds_belong_to_one_point(make_sweep):
    runs = [({"seed": s, "data.fold": f}, 0.9 + s / 100 + f / 1000) for s in range(2) for f in range(3)]
    sweep = sweep_folder.read_sweep(make_sweep(runs))
    (point,) = sweep.points
    assert point.values == {} and point.summary("val_accuracy").n == 6
    lines = tables.sweep_markdown(sweep).splitlines()
    assert lines[0] == "nothing is chosen: only seeds and folds differ" and "interval" not in lines[4]
    # From the mean, the six lie 4, 5 and 6 thousandths to either side: sqrt(2 * 77e-6 / 5).
    assert lines[6].startswith("| 6 | 0.9060 ± 0.0055 |")


def test_the_table_says_what_chose(make_sweep):
    lines = tables.sweep_markdown(sweep_folder.read_sweep(make_sweep(THREE))).splitlines()
    assert lines[0] == "chosen by val_accuracy, reported on the test set"
    assert lines[4].split(" | ")[1:3] == ["n", "val_accuracy"] and lines[4].endswith("| not finished |")
    assert lines[6] == (
        "| 0.001 | 3 | 0.9800 ± 0.0100 | 0.0200 ± 0.0100 | 0.8800 ± 0.0100 | 0.1200 ± 0.0100 | 0.9324 to 0.9943 |  |"
    )
    assert lines[7] == "| 0.01 | 1 | 0.9500 | 0.0500 | 0.8500 | 0.1500 |  | 1 out of memory, 1 unfinished |"
    assert lines[8] == "| 0.1 | 0 |  |  |  |  |  | 2 diverged |"
    assert lines[9:] == ["", "no interval below 3 finished runs, or where all are equal"]


def test_two_members_a_point_have_no_interval_and_a_line_says_so(make_sweep):
    lines = tables.sweep_markdown(
        sweep_folder.read_sweep(make_sweep(rates({1: [0.9, 0.8], 2: [0.1, 0.3]})))
    ).splitlines()
    assert "interval" not in lines[4] and lines[-1] == "no interval below 3 finished runs, or where all are equal"
    assert tables.text(sweep_folder.read_sweep(make_sweep(rates({1: [0.9, 0.8], 2: [0.1, 0.3]}))), 79)[-1] == lines[-1]
    once = tables.sweep_markdown(sweep_folder.read_sweep(make_sweep([({RATE: 1}, 0.9), ({RATE: 2}, 0.8)])))
    assert "interval" not in once


def test_the_terminal_has_an_aligned_table_that_fits(make_sweep):
    sweep = sweep_folder.read_sweep(make_sweep(THREE))
    note = "no interval below 3 finished runs, or where all are equal"
    assert tables.text(sweep, None) == [
        "learning_rate  n  val accuracy     95% interval      test accuracy    not finished",
        "0.001          3  0.9800 ± 0.0100  0.9324 to 0.9943  0.8800 ± 0.0100",
        "0.01           1  0.9500                             0.8500           1 out of memory, 1 unfinished",
        "0.1            0                                                      2 diverged",
        note,
    ]
    assert tables.text(sweep, 79) == [
        "learning_rate  n  val accuracy     95% interval      test accuracy",
        "0.001          3  0.9800 ± 0.0100  0.9324 to 0.9943  0.8800 ± 0.0100",
        "0.01           1  0.9500                             0.8500",
        "0.1            0",
        "sweep.md also has: not finished",
        note,
    ]
    narrow = tables.text(sweep, 40)
    assert narrow[:2] == ["learning_rate  n  val accuracy", "0.001          3  0.9800 ± 0.0100"]
    assert narrow[-2] == "sweep.md also has: not finished, 95% interval, test accuracy"
    assert tables.text(sweep, 20)[1] == "0.001          3  0…"


def test_only_the_best_points_stand_on_the_terminal(make_sweep):
    sweep = sweep_folder.read_sweep(make_sweep(rates({rate: [0.5 + rate / 100] for rate in range(1, 31)})))
    lines = tables.text(sweep, 79)
    assert len(lines) == 1 + 12 + 2 and lines[1].startswith("30 ") and "of 30 points" in lines[-2]


def test_the_best_point_is_a_sentence(make_sweep):
    assert tables.result(sweep_folder.read_sweep(make_sweep(THREE))) == (
        f"best: {RATE}=0.001, val accuracy 0.9800 ± 0.0100 (n 3), test accuracy 0.8800 ± 0.0100"
    )
    seeds = make_sweep([({"seed": seed}, 0.9) for seed in range(2)], "test_accuracy")
    assert tables.result(sweep_folder.read_sweep(seeds)) == "result: test accuracy 0.8000 ± 0.0000 (n 2)"
    lost = make_sweep(rates({1: ["diverged"], 2: [None]}))
    assert tables.result(sweep_folder.read_sweep(lost)) == "no run has finished"


@pytest.mark.parametrize("chooses, validation_is_test", [("test_accuracy", False), ("val_loss", True)])
def test_a_choice_by_the_test_set_is_marked(make_sweep, chooses, validation_is_test):
    def first(runs):
        sweep = sweep_folder.read_sweep(make_sweep(runs, chooses, validation_is_test))
        return tables.sweep_markdown(sweep).splitlines()[0]

    assert first(rates({1: [0.9]})).startswith("nothing is chosen: there is only one point")
    assert first(rates({1: [0.9], 2: [0.8]})) == (
        "chosen by the test set: its figures are too good; "
        '`--config.data.validation="last(10000)"` holds out a validation set'
    )


def test_no_validation_leaves_its_columns_out(make_sweep):
    folder = make_sweep(rates({1: [0.9], 2: [0.8]}), "test_accuracy")
    for path in folder.glob("*/metrics.jsonl"):
        path.write_text("".join(f'{{"epoch": {epoch}, "val_loss": null}}\n' for epoch in (1, 2, 3)))
    sweep = tables.write_sweep(folder)
    assert sweep.members[0].figures["val_loss"] is None
    assert tables.sweep_markdown(sweep).splitlines()[4] == f"| {RATE} | n | test_accuracy | test_loss |"


def test_all_files_are_written_and_nothing_else(make_sweep):
    folder = make_sweep(THREE)
    before = {path.name for path in folder.rglob("*")}
    tables.write_sweep(str(folder))
    tables.write_sweep(folder)
    after = {path.name for path in folder.rglob("*")}
    assert after - before == {"sweep.csv", "members.csv", "sweep.md", "figures", "sweep.png"}
    assert (folder / "figures" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "sweep.md").read_text().endswith("(figures/sweep.png)\n")
    with open(folder / "sweep.csv") as file:
        best, second, worst = csv.DictReader(file)
    assert (best[RATE], best["n"], best["failed"], best["unfinished"]) == ("0.001", "3", "0", "0")
    assert float(best["val_accuracy_low"]) == pytest.approx(0.932416, abs=1e-6)
    assert float(best["val_accuracy_high"]) == pytest.approx(0.994287, abs=1e-6)
    assert float(best["test_loss_mean"]) == pytest.approx(0.12)
    assert float(best["test_loss_std"]) == pytest.approx(0.01)
    assert (second["failed"], second["unfinished"], second["val_loss_std"]) == ("1", "1", "")
    assert (worst["n"], worst["failed"], worst["val_accuracy_mean"]) == ("0", "2", "")
    with open(folder / "members.csv") as file:
        members = list(csv.DictReader(file))
    assert [member["state"] for member in members] == (
        ["diverged"] * 2 + ["finished", "unfinished", "out of memory"] + ["finished"] * 3
    )
    assert members[0]["message"] == "It diverged." and members[0]["val_loss"] == ""
    last = members[-1]
    assert (last[RATE], last["seed"], last["val_accuracy"], last["tested_epoch"]) == ("0.001", "2", "0.97", "2")
    assert (last["trained_epochs"], last["seconds"], last["validation_is_test"]) == ("3", "12.5", "False")


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(make_sweep, monkeypatch):
    folder = make_sweep(THREE)
    (folder / "sweep.csv").write_text("old")
    before = sorted(folder.iterdir())

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.os, "replace", full)
    with pytest.raises(errors.UserError, match=r"sweep.csv cannot be written \(No space left on device\)"):
        tables.write_sweep(folder)
    assert sorted(folder.iterdir()) == before and (folder / "sweep.csv").read_text() == "old"


def test_without_matplotlib_the_tables_are_written(make_sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = make_sweep(THREE)
    tables.write_sweep(folder)
    assert (folder / "sweep.csv").exists() and not (folder / "figures").exists()
    assert "matplotlib is not installed" in (folder / "sweep.md").read_text().splitlines()[-1]


def test_neither_jax_nor_matplotlib_is_imported(make_sweep, tmp_path, run_module):
    folder = make_sweep(THREE)
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "probe.py").write_text(
        "import sys\nfrom digits.runs import sweep_folder; from digits.reports import tables\n"
        f"tables.sweep_markdown(sweep_folder.read_sweep({str(folder)!r}))\nprint('matplotlib' in sys.modules)\n"
        f"tables.write_sweep({str(folder)!r})\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules, 'jax' in sys.modules)\n"
    )
    process = run_module("probe", env={"PYTHONPATH": f"{modules}:."})
    assert process.stdout.split() == ["False", "True", "False", "False"], process.stderr
