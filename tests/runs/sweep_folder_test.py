"""A sweep's directory as members and points: numbers by hand, what failed, damaged files."""

import json

import pytest

from digits import errors
from digits.runs import sweep_folder
from tests.made_sweeps import RATE, THREE, finish, rates


def test_points_carry_mean_deviation_and_interval(make_sweep):
    best = sweep_folder.read_sweep(make_sweep(THREE)).points[0]
    accuracy = best.summary("val_accuracy")
    assert best.values == {RATE: 0.001} and best.count("finished") == accuracy.n == 3
    assert (accuracy.mean, accuracy.std) == (pytest.approx(0.98), pytest.approx(0.01))
    # By hand in tests/analysis/statistics_test.py.
    assert accuracy.interval() == (pytest.approx(0.932416, abs=1e-6), pytest.approx(0.994287, abs=1e-6))
    assert 0 < best.summary("val_loss").interval()[0] < 0.02
    assert best.summary("val_loss").mean == pytest.approx(0.02)
    assert best.summary("test_accuracy").mean == pytest.approx(0.88)
    assert best.summary("test_loss").mean == pytest.approx(0.12)


def test_failures_and_unfinished_members_are_told_apart(make_sweep):
    sweep = sweep_folder.read_sweep(make_sweep(THREE))
    assert [point.values[RATE] for point in sweep.points] == [0.001, 0.01, 0.1]
    assert [point.rest() for point in sweep.points] == ["", "1 out of memory, 1 unfinished", "2 diverged"]
    failed = sweep.members[0]
    assert (failed.state, failed.message, failed.figures["test_loss"]) == ("diverged", "It diverged.", None)


@pytest.mark.parametrize("chooses", sweep_folder.FIGURES)
def test_high_accuracies_and_low_losses_come_first(make_sweep, chooses):
    folder = make_sweep(rates({4: ["error"], 3: [0.7], 1: [0.95], 2: [0.8, 0.99]}), chooses)
    assert [point.values[RATE] for point in sweep_folder.read_sweep(folder).points] == [1, 2, 3, 4]


def test_a_figure_that_is_no_number_comes_after_all_others(make_sweep):
    folder = make_sweep(rates({1: [float("nan")], 2: [0.1], 3: [None]}))
    assert [point.values[RATE] for point in sweep_folder.read_sweep(folder).points] == [2, 1, 3]


def test_a_member_that_failed_and_then_finished_has_finished(make_sweep):
    folder = make_sweep(rates({0.1: ["diverged"]}))
    finish(folder / f"{RATE}=0.1,seed=0", 0.9, {RATE: 0.1, "seed": 0})
    assert sweep_folder.read_sweep(folder).members[0].figures["val_accuracy"] == 0.9


def test_lists_stand_for_tuples(make_sweep):
    folder = make_sweep([({"model.blocks": [[32], [64]]}, 0.9), ({"model.blocks": [[32, 32]]}, 0.8)])
    points = sweep_folder.read_sweep(folder).points
    assert [point.values["model.blocks"] for point in points] == [((32,), (64,)), ((32, 32),)]


def test_a_torn_last_line_is_ignored(make_sweep):
    folder = make_sweep(rates({0.1: [0.9, None]}))
    with open(folder / f"{RATE}=0.1,seed=0" / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "va')
    (folder / f"{RATE}=0.1,seed=1").mkdir()
    (folder / f"{RATE}=0.1,seed=1" / "config.json").write_text(json.dumps({"config": {RATE: 0.1, "seed": 1}}))
    (folder / f"{RATE}=0.1,seed=1" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}')
    assert [member.trained_epochs for member in sweep_folder.read_sweep(folder).members] == [3, 1]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("sweep.json", None, "is no sweep, for it holds no sweep.json"),
        ("sweep.json", "{", r"sweep.json cannot be read as JSON"),
        ("sweep.json", "[]", r"sweep.json is damaged: it has no valid 'config_file'"),
        (
            "sweep.json",
            ("chooses", "seconds"),
            "sweep.json says that 'seconds' chooses, .* one of val_accuracy, val_loss",
        ),
        ("sweep.json", ("members", []), "sweep.json is damaged: it names no members"),
        ("sweep.json", ("members", [{"name": "a", "values": {}}]), "sweep.json has a member without .*'name': 'a'"),
        ("*=0.9,*/result.json", "{}", "result.json is damaged: it has no valid 'epochs'"),
        ("*=0.9,*/config.json", ("config", {RATE: 0.8, "seed": 0}), "0.9,seed=0 is not the run that sweep.json names"),
        ("*=0.9,*/metrics.jsonl", '{"epoch": 1}\nx\n{"epoch": 2}\n', "metrics.jsonl is damaged: line 2 is not"),
        ("*=0.9,*/metrics.jsonl", '{"epoch": 1}\n', "metrics.jsonl is damaged: it has 1 of the 3 epochs"),
        ("*=0.8,*/failure.json", '"diverged"', "failure.json is damaged: it has no valid 'kind'"),
    ],
)
def test_a_damaged_file_is_named(make_sweep, name, content, message):
    folder = make_sweep(rates({0.9: [0.9], 0.8: ["diverged"]}))
    (path,) = folder.glob(name)
    if content is None:
        path.unlink()
    elif isinstance(content, tuple):
        path.write_text(json.dumps(json.loads(path.read_text()) | {content[0]: content[1]}))
    else:
        path.write_text(content)
    with pytest.raises(errors.UserError, match=message):
        sweep_folder.read_sweep(folder)
