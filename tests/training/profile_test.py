"""The profile: a trace that opens, holds the phases by name, and shares that add up; and a profiler that fails."""

import gzip
import json

import jax
import pytest

from digits.training import profile, train
from tests.conftest import slow


def names_in(directory):
    (path,) = directory.glob("plugins/profile/*/perfetto_trace.json.gz")
    with gzip.open(path) as file:
        return [event.get("name") for event in json.load(file)["traceEvents"]]


@pytest.mark.parametrize("epochs", [4, *slow(1)])
def test_a_profiled_run_leaves_a_trace_with_every_phase_and_their_shares(tiny, tmp_path, capsys, epochs):
    tiny.epochs = epochs
    train.train_and_evaluate(tiny, tmp_path / "run", profile=True)
    names = names_in(tmp_path / "run" / "profile")
    assert set(profile.PHASES) <= set(names)
    # The second and the third epoch, or the only one: an evaluation each, and not those of the others.
    assert names.count("evaluate") == min(2, epochs)
    summary = json.loads((tmp_path / "run" / "profile" / "summary.json").read_text())
    assert [epoch["epoch"] for epoch in summary["epochs"]] == list(range(1, epochs + 1))
    assert set(summary["shares"]) == set(profile.PHASES) and 0.5 < sum(summary["shares"].values()) <= 1
    out = capsys.readouterr().out
    (trace,) = (tmp_path / "run").rglob("perfetto_trace.json.gz")
    assert "profile: train" in out and f"trace, which opens at https://ui.perfetto.dev:\n  {trace}\n" in out


def test_a_profiler_that_fails_is_told_of_and_changes_nothing(tiny, tmp_path, monkeypatch, capsys):
    plain = train.train_and_evaluate(tiny, tmp_path / "plain")

    def fail(*_, **__):
        raise RuntimeError("no profiler here")

    monkeypatch.setattr(jax.profiler, "start_trace", fail)
    profiled = train.train_and_evaluate(tiny, tmp_path / "profiled", profile=True)
    assert "no profiler here); training goes on" in capsys.readouterr().out
    assert profiled["test_loss"] == plain["test_loss"]


def test_the_trace_begins_near_the_end_of_a_long_epoch_and_ends_soon_after_it(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *_, **__: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    traced = profile.Profile(tmp_path)
    for epoch, begun, left, expected in (
        (1, 9, 1, []), (2, 0, 60, []), (2, 57, 3, []), (2, 59, 1, ["start"]), (3, 1, 59, ["start"]),
        (3, 3, 57, ["start", "stop"]), (4, 59, 1, ["start", "stop"]),
    ):  # fmt: skip
        traced.look(epoch, 5, begun, left)
        assert calls == expected
