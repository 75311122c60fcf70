"""The progress of several runs: a line for each that ends, and once an estimate of the rest."""

import pytest

from digits.config.values import with_values
from digits.sweeps import progress
from digits.sweeps.members import Member
from tests.conftest import tiny_config


def population(folder, count, **values):
    config = with_values(tiny_config(), values)
    return [Member(config, folder / f"seed={seed}") for seed in range(count)]


def test_a_run_that_ends_is_a_line_with_its_figure_or_its_failure(tmp_path, capsys):
    members = population(tmp_path, 10)
    runs = progress.Runs(members, [100] * 10)
    runs.finished(members[3], {"test_accuracy": 0.98765}, None)
    runs.finished(members[4], None, {"kind": "diverged", "message": "The loss became nan."})
    runs.close()
    assert capsys.readouterr().out.splitlines() == [
        " 1/10  test accuracy 0.9877  seed=3",
        " 2/10  diverged              seed=4",
    ]


@pytest.mark.parametrize(("patience", "words"), [(0, ""), (3, "at most ")])
def test_the_rest_is_said_once(tmp_path, monkeypatch, capsys, patience, words):
    members = population(tmp_path, 1, epochs=30, **{"early_stopping.patience": patience})
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    runs = progress.Runs(members, [100])
    for _ in range(5):
        runs.images(members[0], 100)
    runs.close()
    assert capsys.readouterr().out.splitlines() == [f"expected to take {words}4.7 min more"]


@pytest.mark.parametrize(("seconds", "text"), [(7560, "2.1 h"), (3600, "1.0 h"), (180, "3.0 min"), (40.4, "40 s")])
def test_a_duration_is_in_the_largest_unit_that_it_fills(seconds, text):
    assert progress.duration(seconds) == text
