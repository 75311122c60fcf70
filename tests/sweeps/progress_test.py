"""The progress of several runs: a line for each that ends, and once an estimate of the rest."""

import types

import pytest

from digits.sweeps import progress


def test_a_run_that_ends_is_a_line_with_its_figure_or_its_failure(capsys):
    runs = progress.Runs([100] * 10, 100)
    member = types.SimpleNamespace(workdir="somewhere/seed=3")
    runs.finished(member, {"test_accuracy": 0.98765}, None)
    runs.finished(member, None, {"kind": "diverged", "message": "The loss became nan."})
    runs.close()
    assert capsys.readouterr().out.splitlines() == [
        " 1/10  seed=3  test accuracy 0.9877",
        " 2/10  seed=3  failed: The loss became nan.",
    ]


def test_the_rest_is_estimated_once_from_the_second_half_of_the_first_epochs(monkeypatch, capsys):
    clock = iter([0, 100, 110, 120, 130])  # The first half takes 100 s, and is not counted.
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    runs = progress.Runs([1000, 1000, 1000], 100)
    for count in (50, 50, 100, 100, 100):
        runs.images(count)
    runs.close()
    # 100 images took 10 s, and 2,800 are left.
    assert capsys.readouterr().out.splitlines() == ["expected to take 4.7 min more"]


@pytest.mark.parametrize(("seconds", "text"), [(7560, "2.1 h"), (3600, "1.0 h"), (180, "3.0 min"), (40.4, "40 s")])
def test_a_duration_is_in_the_largest_unit_that_it_fills(seconds, text):
    assert progress.duration(seconds) == text
