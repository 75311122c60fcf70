"""The studies as they are declared: every arm trains, every claim can be traced and judged."""

import importlib
import json
import pathlib
import re
import statistics

import pytest

from digits.config.values import convert, with_values
from digits.data import splits
from digits.runs.documented import reported
from digits.training import train
from experiments.collecting import collected
from experiments.judging import metrics, study
from experiments.rendering import findings
from experiments.studies import ALL, dense, kernel_sizes, optimizer, records
from experiments.studies.kernel_sizes import KERNEL_SIZES, searched

ARMS = {arm.name: arm for one in ALL for arm in one.arms}
CLAIMS = {claim.name: claim for one in ALL for claim in one.claims}
JUDGED = {name: claim for name, claim in CLAIMS.items() if not isinstance(claim.test, study.Undecidable)}
# Lines of each notebook, and findings on what it says and what it ran, a letter a notebook.
LINES = {"000": 278, "001": 1532, "002": 165, "003": 613, "004": 2146}
FINDINGS = {"000": ("A", 9), "001": ("B", 24), "002": ("C", 7), "003": ("D", 15), "004": ("E", 9)}


def resolved(arm):
    config = importlib.import_module(f"configs.{arm.config}").get_config()
    for field, value in arm.overrides.items():
        assert convert(field, value) == value  # It is a field, and the value is of its type.
    return with_values(config, arm.values(0))


def validation(arm):
    return resolved(arm).data.validation


def test_names_are_unique_in_the_project():
    assert len(ARMS) == sum(len(one.arms) for one in ALL)
    assert len(CLAIMS) == sum(len(one.claims) for one in ALL)
    assert len({one.name for one in ALL}) == len(ALL)
    assert not any("/" in name for name in ARMS)  # Each has a folder.


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_can_be_trained(name):
    arm = ARMS[name]
    config = resolved(arm)
    train.check(config)
    assert arm.seeds >= 3
    if arm.repeats == "data.fold":
        assert config.data.validation == f"folds({arm.seeds})"


def test_no_two_arms_train_the_same_unless_the_notebook_did():
    same = {}
    for arm in ARMS.values():
        config = resolved(arm).to_dict()
        del config["documented"]
        same.setdefault(json.dumps(config, sort_keys=True), set()).add(arm.name)
    assert {frozenset(names) for names in same.values() if len(names) > 1} == {
        frozenset({"dense_32_32", "dense_sgd_momentum"}),
        frozenset({"dense_batch_32", "dense_lr_009"}),
        frozenset({"simple_cnn", "adam,learning_rate=0.001"}),
    }


def test_every_documented_training_is_reproduced_by_one_arm_as_it_ran():
    arms = [arm for arm in ARMS.values() if arm.documented]
    assert sorted(arm.documented for arm in arms) == sorted(reported()) and len(arms) == 19
    assert all(arm.kind == "as run" and arm.config == arm.documented and not arm.overrides for arm in arms)


def test_arms_of_a_kind_are_what_it_says():
    for arm in ARMS.values():
        if arm.kind == "honest":
            assert validation(arm) == ("random(0.1666666, 0)" if arm.resplits else "last(10000)")
            assert not resolved(arm).early_stopping.restore_best
        elif arm.kind == "as written":
            assert arm.config.endswith("_as_written")
        elif arm.kind == "as run":
            assert arm.documented or arm.name in map(searched, KERNEL_SIZES)


def test_beside_every_arm_that_validates_on_the_test_set_stands_an_honest_one():
    on_test = [name for name, arm in ARMS.items() if validation(arm) == "test"]
    assert len(on_test) == 6
    for name in on_test:
        honest = ARMS[f"{name},honest"]
        assert honest.kind == "honest" and honest.config == ARMS[name].config
        assert set(honest.overrides) == {"data.validation"}


def test_splits_of_their_own_stand_beside_one_split_of_the_same_size():
    resplit = [arm for arm in ARMS.values() if arm.resplits]
    assert {arm.config for arm in resplit} == {"dense_32_32", "dense_batch_32", "five_conv", "simple_cnn"}
    for arm in resplit:
        fixed, own = ARMS[arm.resplits], [arm.values(seed)["data.validation"] for seed in range(arm.seeds)]
        assert fixed.config == arm.config and validation(fixed) == "last(10000)"
        held_out = [splits.split_indices(split, 0, 60_000)[1] for split in own]
        assert [len(indices) for indices in held_out] == [10_000] * arm.seeds
        assert len({indices.tobytes() for indices in held_out}) == arm.seeds


def test_the_search_is_printed_as_the_notebook_does():
    """The table stands beside the notebook's output, and names the sizes that were not run."""
    found = {
        searched(size): [member(0, val_accuracy=[0.5]), member(1, val_accuracy=[0.25 + size / 100])]
        for size in KERNEL_SIZES
    }
    text = kernel_sizes.search_table(found)
    assert "| best | lost; a comment in a later cell names 7 | `Best: 0.430000 using {'n_kernel': 11}` |" in text
    assert "| kernel size 2 | lost | `0.385000 (0.115000) with: {'n_kernel': 2}` |" in text
    text = kernel_sizes.search_table({searched(2): found[searched(2)]})
    assert "0.385000 (0.115000)" in text and text.count("not run: `python -m experiments.reproduce") == 5


def test_ten_findings_are_for_the_page():
    """One is about the documented figures."""
    assert sum(len(one.findings) for one in ALL) == 9
    for one in ALL:
        units = [CLAIMS[finding.claim].test.metric.unit for finding in one.findings]
        assert set(units) <= set(findings._UNITS) and not re.search(r"[+-]?\d\.\d{3}", str(one.findings))


def test_no_arm_is_trained_for_nothing():
    compared = {name for claim in CLAIMS.values() for name in claim.test.arms}
    candidates = {arm.name for study in (optimizer.STUDY, records.STUDY) for arm in study.arms}
    for name, arm in ARMS.items():
        assert arm.documented or arm.kind == "honest" or name in compared | candidates, name


def test_at_least_twenty_claims_are_judged():
    assert len(JUDGED) >= 20
    for claim in set(CLAIMS.values()) - set(JUDGED.values()):
        assert len(claim.test.reason) > 20


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_name_lines_and_findings_that_exist(name):
    match = re.fullmatch(r"notebook (00\d), lines? ([\d, -]+) \(([A-E]\d+(?:, [A-E]\d+)*)\)", CLAIMS[name].source)
    assert match, CLAIMS[name].source
    numbers = [int(number) for number in re.findall(r"\d+", match[2])]
    assert numbers == sorted(numbers) and 1 <= numbers[0] and numbers[-1] <= LINES[match[1]]
    letter, count = FINDINGS[match[1]]
    assert all(finding[0] == letter and 1 <= int(finding[1:]) <= count for finding in match[3].split(", "))


@pytest.mark.parametrize("name", JUDGED)
def test_claims_compare_what_has_the_metric(name):
    test = CLAIMS[name].test
    if test.margin:
        assert "margin" in CLAIMS[name].note  # With its reason.
    if "validation" in test.metric.name:
        assert all(validation(ARMS[arm]) != "none" for arm in test.arms)
    if isinstance(test, study.Difference):
        first, second = (ARMS[arm] for arm in test.arms)
        assert test.first != test.second and first.repeats == second.repeats
        assert first.kind == second.kind or "honest" not in (first.kind, second.kind)


@pytest.mark.parametrize(
    "claim",
    ["higher-rate-worse", "more-layers-worse", "larger-batches-worse", "small-batches-better"]
    + ["augmentation-reaches-0.9945"],
)
def test_claims_are_judged_as_run_and_as_written(claim):
    run, written = JUDGED[f"{claim}, as run"], JUDGED[f"{claim}, as written"]
    assert (run.variant, written.variant) == ("as run", "as written") and run.sentence == written.sentence
    assert run.test.expected == written.test.expected and run.test.metric.name == written.test.metric.name
    assert not any("as_written" in arm for arm in run.test.arms)
    assert any("as_written" in arm for arm in written.test.arms)


@pytest.mark.parametrize(
    "claim", ["momentum-same-accuracy", "momentum-converges-faster", "rate-0.09-better", "augmentation-improves"]
)
def test_claims_about_what_never_ran_are_judged_as_written_only(claim):
    """A training beside itself, by another name, would support any claim of "the same"."""
    run, written = CLAIMS[f"{claim}, as run"], JUDGED[f"{claim}, as written"]
    assert (run.variant, written.variant) == ("as run", "as written") and run.sentence == written.sentence
    assert isinstance(run.test, study.Undecidable) and " ran" in run.test.reason


def test_no_claim_compares_a_training_with_itself():
    for claim in JUDGED.values():
        configs = [resolved(ARMS[arm]).to_dict() | {"documented": None} for arm in claim.test.arms]
        assert len(configs) == 1 or configs[0] != configs[1], claim.name


@pytest.mark.parametrize("one", [study for study in ALL if study.claims], ids=lambda one: one.name)
def test_lessons_name_claims_of_their_study(one):
    names = {claim.name for claim in one.claims}
    named = [name for lesson in one.lessons for name in re.findall(r"`([^`]+)`", lesson)]
    assert named and set(named) <= names
    assert one.question.endswith("?") and len(one.lessons) >= 2


def test_tuned_rates_have_neighbours_on_both_sides():
    assert optimizer.TUNED.keys() == optimizer.RATES.keys()
    for name, rates in optimizer.RATES.items():
        assert list(rates) == sorted(rates) and optimizer.TUNED[name] in rates[1:-1]
    for name in optimizer.RATES:
        assert ARMS[optimizer.tuned(name)].seeds > optimizer.CANDIDATE_SEEDS


def test_tuned_rates_are_those_with_the_best_validation_accuracy():
    found = collected.members(collected.read(optimizer.STUDY, collected.FOLDER))
    if missing := optimizer.untried(found):
        pytest.skip(f"experiments/results has too few members of {', '.join(missing)}")
    assert optimizer.best_rates(found) == optimizer.TUNED


def test_figures_in_notes_are_those_of_the_results():
    found = {}
    for one in ALL:
        found |= collected.members(collected.read(one, collected.FOLDER))
    accuracies = [record["val_accuracy"] for each in found["two_conv"] for record in each.history]
    note = f"none of our {len(accuracies)} epochs is above {max(accuracies):.4f}"
    assert note in ARMS["two_conv"].note
    late = [statistics.variance(each.history[e]["val_accuracy"] for each in found["two_conv"]) for e in range(10, 20)]
    assert f"over epochs 11 to 20 is {statistics.mean(late) ** 0.5:.4f}" in ARMS["two_conv"].note
    stuck = [each.seed for each in found["plateau_cnn"] if each.history[-1]["learning_rate"] == 0.001]
    assert stuck == [0] and "The rate of seed 0 was never reduced" in ARMS["plateau_cnn"].note
    fast = {
        rate: study.Difference(f"adam,learning_rate={rate}", "sgd,learning_rate=0.01", study.epochs_to(0.99), "lower")
        for rate in ("0.0003", "0.001")
    }
    own, other = (statistics.mean(difference.differences(found)) for difference in fast.values())
    lesson = next(lesson for lesson in optimizer.STUDY.lessons if "Beside that one" in lesson)
    assert f"takes {other:.1f} epochs more" in lesson and f"in place of {-own:.1f} fewer" in lesson


def test_random_splits_lower_the_validation_accuracy_alone():
    """As a lesson says, for both networks."""
    found = collected.members(collected.read(dense.STUDY, collected.FOLDER))
    assert any("over five random splits it is lower" in lesson for lesson in dense.STUDY.lessons)
    for name in ("dense_32_32", "dense_batch_32"):
        for metric, lower in ((study.VALIDATION_ACCURACY, True), (study.TEST_ACCURACY, False)):
            fixed, drawn = ([metric.of(one) for one in found[f"{name},{kind}"]] for kind in ("honest", "splits"))
            assert len(drawn) == 5
            assert (statistics.mean(fixed) - statistics.mean(drawn) > statistics.stdev(fixed)) == lower


def member(seed=0, **columns):
    count = max(map(len, columns.values()))
    return study.Member(seed, {}, [{name: values[e] for name, values in columns.items()} for e in range(count)])


def test_best_rates_are_chosen_by_the_candidates_seeds_in_the_last_epoch():
    found = {}
    for name, rates in optimizer.RATES.items():
        for place, rate in enumerate(rates):
            last = [0.9, 0.97, 0.95, 0.2][place]
            arm = optimizer.arm(name, rate).name
            found[arm] = [member(seed, val_accuracy=[0.99, last + seed / 1000]) for seed in range(3)]
    first = optimizer.arm("adam", optimizer.RATES["adam"][0]).name
    found[first].append(member(3, val_accuracy=[1.0, 1.0]))  # Seeds that not all rates have do not count.
    assert optimizer.untried(found) == []
    assert optimizer.best_rates(found) == {name: rates[1] for name, rates in optimizer.RATES.items()}
    found[first] = found[first][1:]
    assert optimizer.untried(found) == [first]


def test_metrics_of_curves_by_hand():
    one = member(
        loss=[0.5, 0.25, 0.15], val_loss=[0.4, 0.1, 0.3], accuracy=[0.8, 0.9, 0.95], val_accuracy=[0.7, 0.9, 0.97]
    )
    assert metrics.EPOCHS_TRAINED.of(one) == 3
    assert metrics.fluctuation(1).of(one) == pytest.approx(0.2)
    assert metrics.fluctuation(2).of(one) == pytest.approx(0.25)
    assert metrics.largest_rise(2, 3).of(one) == pytest.approx(0.2)
    assert metrics.largest_rise(2, 2).of(one) == pytest.approx(-0.3)
    assert metrics.VALIDATION_LEAD.of(one) == pytest.approx(0.02)
    assert metrics.LOSS_GAP.of(one) == pytest.approx(0.15)


def test_metrics_of_validation_are_none_without_it():
    one = member(loss=[0.5, 0.25], accuracy=[0.8, 0.9])
    lacking = (metrics.fluctuation(1), metrics.largest_rise(2, 2), metrics.VALIDATION_LEAD, metrics.LOSS_GAP)
    assert [metric.of(one) for metric in lacking] == [None] * 4


def test_all_studies_are_listed():
    folder = pathlib.Path(optimizer.__file__).parent
    modules = {f"{path.stem}_study" for path in folder.glob("*.py")} - {"__init___study", "kernel_sizes_study"}
    assert {one.name for one in ALL} == modules
