"""Points of a sweep, made from the texts of a command line: lists, ranges, draws and their combinations."""

import math

import numpy as np
import pytest

from digits.errors import UserError
from digits.sweeps import points


@pytest.mark.parametrize(
    "text, values",
    [
        ("1e-3,3e-3", ["1e-3", "3e-3"]),
        ("0:4", ["0", "1", "2", "3"]),
        ("2:9:3", ["2", "5", "8"]),
        ("(32, 16),(64,)", ["(32, 16)", "(64,)"]),
        ("random(0.1, 0),last(5)", ["random(0.1, 0)", "last(5)"]),
        ("true,false", ["true", "false"]),
    ],
)
def test_lists_and_ranges(text, values):
    assert points.parse("f", text) == values


@pytest.mark.parametrize("text", ["", ",", "1,,2", "5:5", "3:1", "0:5:0"])
def test_empty_lists_are_refused(text):
    with pytest.raises(UserError, match=r"^--sweep\.seed is .* but it must be a list"):
        points.parse("seed", text)


@pytest.mark.parametrize("text", ["log(1e-1,1e-4)", "log(0,1)", "uniform(2,2)"])
def test_ranges_must_have_a_length(text):
    with pytest.raises(UserError, match="its first number must be below its second"):
        points.parse("f", text)


@pytest.mark.parametrize("text", ["int(0,1e30)", "uniform(0,1e400)", "uniform(-1e300,1e308)"])
def test_ranges_must_end_somewhere(text):
    with pytest.raises(UserError, match=r"numbers must be finite, below 1e\+18"):
        points.parse("f", text)


def test_more_runs_than_anybody_wants_are_refused_at_once():
    with pytest.raises(UserError, match="'0:1000000000000', which has 1,000,000,000,000 values"):
        points.parse("seed", "0:1000000000000")
    with pytest.raises(UserError, match="which has 100,000,000,000,000,000,000 values"):
        points.parse("seed", "0:100000000000000000000")
    assert points.parse("seed", "3:10:4") == ["3", "7"]
    fields = {"seed": points.parse("seed", "0:1000"), "epochs": points.parse("epochs", "1:1000")}
    with pytest.raises(UserError, match="The sweep has 999,000 points: a sweep may have at most 10,000 runs"):
        points.combine(fields)


def test_a_value_twice_is_refused():
    with pytest.raises(UserError, match="has a value twice"):
        points.parse("seed", "1,2,1")


def test_draws_lie_in_their_range_and_log_spreads_over_orders():
    rng = np.random.default_rng(0)
    log = [points.parse("f", "log(1e-4, 1e-1)").draw(rng) for _ in range(600)]
    assert min(log) >= 1e-4 and max(log) <= 1e-1
    # A third of the draws in each of the three orders of magnitude; five standard deviations.
    for low in (1e-4, 1e-3, 1e-2):
        assert abs(sum(low <= v < 10 * low for v in log) - 200) < 5 * math.sqrt(600 / 3 * 2 / 3)
    assert {points.parse("f", "int(1,3)").draw(rng) for _ in range(50)} == {1, 2, 3}
    assert all(0.5 <= points.parse("f", "uniform(0.5,0.7)").draw(rng) <= 0.7 for _ in range(50))
    # Four digits round some of these to 1.
    assert all(0.999 <= points.parse("f", "uniform(0.999,0.99999)").draw(rng) <= 0.99999 for _ in range(200))
    assert {points.parse("f", "int(1.5,2.5)").draw(rng) for _ in range(20)} == {2}
    with pytest.raises(UserError, match=r"is 'int\(1.2,1.8\)', but there must be a whole number between its two"):
        points.parse("f", "int(1.2,1.8)")


def test_points_are_every_combination_and_a_listed_point_has_them_all():
    fields = {"seed": ["0", "1"], "optimizer.learning_rate": ["0.1", "0.2", "0.3"]}
    found = points.combine(fields)
    assert len(found) == 6 and {(p["seed"], p["optimizer.learning_rate"]) for p in found} == {
        (seed, rate) for seed in (0, 1) for rate in (0.1, 0.2, 0.3)
    }
    listed = [{"model.hidden": (8,)}, {"model.hidden": (16,)}]
    assert len(points.combine(fields, listed)) == 12


def test_draws_are_repeated_for_every_seed_and_are_the_same_every_time():
    fields = {
        "seed": ["0", "1"],
        "optimizer.learning_rate": points.Range("log", 1e-4, 1e-1),
        "batch_size": ["32", "64"],
    }
    found = points.combine(fields, sample=5)
    assert len(found) == 10 and len({p["optimizer.learning_rate"] for p in found}) == 5
    assert {p["batch_size"] for p in found} <= {32, 64}
    assert found == points.combine(fields, sample=5)
    assert found != points.combine(fields, sample=5, sample_seed=1)


@pytest.mark.parametrize(
    "fields, sample, message",
    [
        ({"optimizer.learning_rate": points.Range("log", 1e-4, 1e-1)}, None, "say how many points with --sample=50"),
        ({"seed": ["0", "1"]}, 3, "nothing is drawn"),
        ({"seed": points.Range("uniform", 0.1, 0.9)}, 2, "a whole number"),
    ],
)
def test_draws_and_lists_that_do_not_go_together_are_refused(fields, sample, message):
    with pytest.raises(UserError, match=message):
        points.combine(fields, sample=sample)


def test_points_must_all_give_the_same_fields():
    with pytest.raises(UserError, match="gives no value for seed"):
        points.combine({}, [{"seed": 1, "epochs": 2}, {"epochs": 3}])
