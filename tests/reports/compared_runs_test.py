"""Comparisons of runs and sweeps that are made of their figures alone."""

import pathlib
import types

import pytest

from digits.analysis import differences
from digits.analysis.statistics import summarize
from digits.reports import compared_runs
from digits.reports.compared_runs import Entry
from tests.conftest import tiny_config

FIRST = (0.970, 0.972, 0.975, 0.971)


def run(accuracy, seed=0, name="run", digest="d", fold=0, epochs=3):
    """A finished run of 1,000 test images, or with None one that has finished two epochs."""
    config = tiny_config()
    config.seed, config.data.fold, config.epochs = seed, fold, epochs
    return types.SimpleNamespace(
        files=types.SimpleNamespace(path=pathlib.Path("/runs") / name),
        config=config,
        about={"data": {"digest": digest, "test": 1000}},
        result=None if accuracy is None else {"test_accuracy": accuracy},
        history=[{}] * 2,
        failure=None,
        other_data="changed",  # So that no network is asked.
    )


def sweep(name, *accuracies, seeds=None, folds=False, **fields):
    seeds = seeds or range(len(accuracies))
    of = [
        run(accuracy, 0 if folds else seed, f"{name}/{seed}", fold=seed if folds else 0, **fields)
        for seed, accuracy in zip(seeds, accuracies)
    ]
    states = ["unfinished" if accuracy is None else "finished" for accuracy in accuracies]
    return Entry(name, tuple(of), types.SimpleNamespace(members=[types.SimpleNamespace(state=s) for s in states]))


def single(name, accuracy, **fields):
    return Entry(name, (run(accuracy, name=name, **fields),))


def only(*entries):
    (comparison,) = compared_runs.compare(entries)
    return comparison, compared_runs.verdict(entries, [comparison])


def test_sweeps_with_the_same_seeds_are_compared_in_pairs():
    found, says = only(sweep("a", *FIRST), sweep("b", *(x + d for x, d in zip(FIRST, (0.01, 0.011, 0.009, 0.012)))))
    assert found.difference == pytest.approx(differences.paired([0.01, 0.011, 0.009, 0.012]))
    assert found.how == "4 pairs with the same seeds" and found.apart
    assert says == "b is best: 0.0105 above a, the first, by more than chance would do (p < 0.001)."


def test_sweeps_with_other_seeds_are_compared_by_welchs_test():
    second = (0.971, 0.969, 0.974)
    for seeds in ((0, 1, 2), (4, 5, 6)):
        found, says = only(sweep("a", *FIRST), sweep("b", *second, seeds=seeds))
        assert found.difference == differences.welch(summarize(second), summarize(FIRST)) and not found.apart
        assert found.how == "Welch's test of 3 and 4 runs"
    assert says.startswith("a is best: 0.0007 above b, the next; with so few runs the two cannot be told apart (p = 0.")


def test_folds_are_corrected_for_the_images_that_they_share():
    second = (0.980, 0.981, 0.986, 0.982)
    pairs = [b - a for a, b in zip(FIRST, second)]
    found, _ = only(sweep("a", *FIRST, folds=True), sweep("b", *second, folds=True))
    assert found.difference == pytest.approx(differences.paired(pairs, folds=True))
    assert found.how == "4 pairs with the same folds"
    found, _ = only(sweep("a", *FIRST, folds=True), sweep("b", *second[:3]))
    wide = differences.of_folds(summarize(FIRST))
    assert found.difference == differences.welch(summarize(second[:3]), wide)


@pytest.mark.parametrize("accuracy, where, words", [(0.974, "inside", "unusual"), (0.99, "outside", "chance would do")])
def test_a_run_is_compared_with_a_sweep_as_one_more_of_its_runs(accuracy, where, words):
    low, high = differences.prediction_interval(summarize(FIRST))
    how = f"the run lies {where} {low:.4f} to {high:.4f}, where one more run of s would lie with 95% probability"
    found, says = only(sweep("s", *FIRST), single("r", accuracy))
    assert found.how == how and found.difference == differences.of_one_more(accuracy, summarize(FIRST))
    assert says.startswith(f"r is best: {accuracy - 0.972:.4f} above s") and words in says
    turned, says = only(single("r", accuracy), sweep("s", *FIRST))
    value, least, greatest, p = found.difference
    assert turned.how == how and turned.difference == (-value, -greatest, -least, p) and turned.p == found.p
    assert says.startswith(f"r is best: {accuracy - 0.972:.4f} above s, the next")


def test_a_prediction_above_one_is_shown_as_one():
    found, _ = only(sweep("s", 0.97, 0.98, 0.999), single("r", 0.99))
    assert " to 1.0000, where" in found.how


@pytest.mark.parametrize(
    "entry, reason",
    [
        (sweep("s", 0.97, 0.98), "s has 2 finished runs, but the spread of at least 3 is needed"),
        (sweep("s", 0.97, None, None, None), "s has 1 finished run, but the spread of at least 3 is needed"),
        (sweep("s", *FIRST, digest="other"), "the two have different data"),
        (sweep("s", 0.97, 0.97, 0.97), "all runs of a sweep have the same accuracy, so that their spread is not known"),
    ],
)
def test_where_there_is_no_interval_the_row_says_why(entry, reason):
    found, says = only(single("r", 0.98), entry)
    assert found.how == f"no interval: {reason}" and found.difference is found.p is None and not found.apart
    assert found.value == pytest.approx(entry.accuracy.mean - 0.98)
    assert says.endswith(f"the next; whether by more than chance is not known ({reason}).")


def test_a_run_is_not_compared_with_the_sweep_that_it_is_of():
    found, _ = only(sweep("s", *FIRST), single("s/2", 0.975))
    assert found.how == "no interval: the run is one of those of s"


def test_nothing_that_is_not_finished_drops_out():
    entries = [single("begun", None), single("r", 0.98), sweep("s", None, None), single("other", 0.98)]
    comparisons = compared_runs.compare(entries)
    assert compared_runs.first_finished(entries).name == "r"
    begun, unfinished, other = comparisons
    assert begun.how == "not finished: 2 of 3 epochs" and unfinished.how == "of 2 runs 2 unfinished"
    assert begun.value is unfinished.value is None and other.how == "two runs on different test images"
    says = compared_runs.verdict(entries, comparisons)
    assert says.startswith("r and other are best, with the same test accuracy: 0.9800; with these test images")
    assert compared_runs.verdict(entries[:1], []) == "Nothing is finished yet."
    assert compared_runs.verdict(entries[:2], comparisons[:1]).startswith("r alone is finished")
    failed = run(None)
    failed.failure = "It diverged."
    assert Entry("f", (failed,)).state == "failed: It diverged."


def test_p_values_are_corrected_for_all_comparisons():
    others = [single(f"r{i}", accuracy) for i, accuracy in enumerate((0.96, 0.95, 0.975))]
    found = compared_runs.compare([single("first", 0.98), *others])
    assert [one.p for one in found] == differences.holm([one.difference.p for one in found])
    assert found[0].difference.p < 0.05 and found[0].p == pytest.approx(2 * found[0].difference.p)


def test_the_mean_accuracy_of_a_sweep_has_an_interval_of_fractions_from_three_runs_on():
    low, high = sweep("a", 0.999, 0.99, 0.97).accuracy.interval()
    assert 0.8 < low < 0.97 and 0.999 < high < 1
    assert sweep("a", 0.99, 0.97).accuracy.interval() is None
