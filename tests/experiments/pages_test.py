"""The pages of results: rows, notes, verdicts and sentences."""

import re

import pytest

from digits.runs.documented import reported
from experiments.collecting import collected
from experiments.judging.comparison import compare
from experiments.judging.study import (
    TEST_ACCURACY,
    TEST_LOSS,
    Arm,
    Claim,
    Difference,
    Finding,
    Level,
    Study,
    at,
    epochs_to,
    with_own_splits,
)
from experiments.rendering import pages, results, rows
from experiments.rendering.results import Results
from experiments.studies import ALL
from tests.conftest import ROOT
from tests.result_pages import made_up, notes_of, row_of, study_page


def test_documented_figures_fall_back_on_what_was_printed_last():
    assert compare(Arm("a", "a", documented="dense_sgd_momentum"), []).metric is TEST_ACCURACY
    for name, column, epoch, value in (
        ("deep_cnn", "val_accuracy", 50, 0.9961),
        ("six_conv", "val_accuracy", 20, 0.9938),
        ("dense_batch_32", "accuracy", 18, 0.9525),
    ):
        found = compare(Arm(name, name, documented=name), [])
        assert (found.metric.name, found.documented) == (at(column, epoch).name, value)


def test_all_documented_trainings_can_be_compared():
    assert len([compare(Arm(name, name, documented=name), []) for name in reported()]) == 19


@pytest.mark.parametrize("shift, word", [(0.0, "yes"), (0.0015, "yes"), (0.01, "**no**")])
def test_inside_is_the_interval_of_a_single_run(shift, word):
    """Five members 0.001 apart: s = 0.00158, and the interval reaches 2.776 x s x sqrt(6/5) = 0.0048 from the mean."""
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum", seeds=9)
    study = Study("s", "S", "?", (arm,), (), ())
    members = Results({arm.name: made_up(5, shift=shift)}, {arm.name: [7]})
    front, page = pages.render([study], members).values()
    row = row_of(page, "`dense_sgd_momentum`")
    assert row["inside"] == word and row["n"] == "5 of 9" and row == row_of(front, "`dense_sgd_momentum`")
    outside = "" if word == "yes" else "; outside: `dense_sgd_momentum` (0.9354 documented, 0.9454 ± 0.0016 reproduced)"
    assert f"{int(word == 'yes')} of these lie where chance alone can put a single run**{outside}.\n" in front
    goes_on = "The others: `python -m experiments.reproduce dense_sgd_momentum`."
    assert notes_of(page, "dense_sgd_momentum") == [f"Diverged: seed 7. {goes_on}"]


def test_the_short_table_has_a_command_and_its_accuracy():
    arms = tuple(Arm(name, name, documented=name) for name in ("simple_cnn", "dense_32_32", "dense_64_64"))
    members = {arm.name: made_up(3) for arm in arms}
    _, _, *lines = rows.readme_table([Study("s", "S", "?", arms, (), ())], Results(members, {})).splitlines()
    assert [line.split(" | ")[0] for line in lines] == [
        f"| `python -m digits.main --config={name}`" for name in ("dense_32_32", "simple_cnn")
    ]
    assert lines[0].split(" | ")[1:4] == ["0.9354 ± 0.0010", "3", "0.9370"]


@pytest.mark.parametrize(
    "shift, word, short", [(0.0, "yes", "and 1 of 1 documented test"), (0.05, "**no**", "and 0 of 1 documented test")]
)
def test_documented_test_losses_are_compared_too(shift, word, short):
    """Three members 0.01 apart around the documented 0.2154: the interval reaches 4.303 x 0.01 x sqrt(4/3) = 0.0497."""
    arms = [Arm(name, name, documented=name) for name in ("dense_sgd_momentum", "dense_32_32")]
    members = {arm.name: made_up(3) for arm in arms}
    for member in members["dense_sgd_momentum"]:
        member.result["test_loss"] = 0.2154 + shift + 0.01 * (member.seed - 1)
    found = Results(members, dict.fromkeys(members, []))
    front, page = pages.render([Study("s", "S", "?", tuple(arms), (), ())], found).values()
    rest = page.split("### Their test losses")[1]
    row, lost = (row_of(rest, f"`{arm.name}`") for arm in arms)
    assert (
        row["documented"] == "0.2154" and row["test loss"] == f"{0.2154 + shift:.4f} ± 0.0100" and row["inside"] == word
    )
    assert row["95% of single runs"] == f"{0.1657 + shift:.4f}–{0.2651 + shift:.4f}"
    assert lost["test accuracy"] and lost["documented"] == lost["inside"] == ""  # The notebook's is lost.
    assert short in front


def test_validation_on_the_test_set_is_said():
    arm = Arm("five_conv", "five_conv", documented="five_conv", seeds=2, note="Last epoch.")
    members = made_up(2)
    for member in members:
        member.result["validation_is_test"] = True
    found = Results({"five_conv": members}, {"five_conv": []})
    front, page = pages.render([Study("s", "S", "?", (arm,), (), ())], found).values()
    for text in (front, page):
        assert "\n- Validation was the test set: `five_conv`.\n" in text
    assert notes_of(page, "five_conv") == ["Last epoch."]


def test_losses_with_a_penalty_are_marked():
    arms = [Arm(name, name, documented=name, note="A note.") for name in ("dense_sgd_momentum", "dense_32_32")]
    members = {arm.name: made_up(3) for arm in arms}
    found = Results(members, dict.fromkeys(members, []), {"dense_32_32"})
    first, losses = study_page(Study("s", "S", "?", tuple(arms), (), ()), found).split("### Their test losses")
    assert "\n- Losses include the L2 penalty: `dense_32_32`.\n" in first
    assert " `dense_32_32`: with the L2 penalty, as Keras has it" in losses


def test_not_supported_is_told_from_refuted():
    """Of three undecided claims of "same", two have intervals of 0.0078 where the margins allow 0.002."""
    margins = {"at": (0.9354, 0.001), "near": (0.9358, 0.001), "far": (0.9384, 0.005)}
    claims = tuple(
        Claim(name, "notebook 999, line 4", "S.", Level("a", TEST_ACCURACY, "same", value, margin))
        for name, (value, margin) in margins.items()
    )
    study = Study("s", "S", "?", (Arm("a", "x"),), claims, ())
    page = pages.render([study], Results({"a": made_up(5)}, {"a": []}))["RESULTS.md"]
    assert "judge 3 of the notebooks' claims: 3 not supported." in page
    assert (
        "for 1 of these 3, p is below 0.05" in page and "of the 3 that claim to be the same, 2 have an interval" in page
    )


@pytest.mark.parametrize(
    "test, seeds, words",
    [
        (
            Difference("a", "b", TEST_ACCURACY, "higher"),
            4,
            "**1.00 percentage points higher** (95% interval +1.00 to +1.00, 4 seeds); claim [`c, as run`]"
            "(results/s.md#c-as-run): supported.",
        ),
        (Difference("b", "a", TEST_ACCURACY, "higher"), 4, "**1.00 percentage points lower** (95%"),
        (
            Difference("a", "b", TEST_LOSS, "lower"),
            4,
            "**0.0000 nats higher**, which 4 seeds do not tell from chance (95% interval +0.0000 to +0.0000); claim",
        ),
        (
            Difference("a", "b", epochs_to(0.9), "same", 0.5),
            4,
            "**0.0 epochs more**, which 4 seeds do not tell from a difference of 0.5 epochs (95% interval -0.6 to "
            "+0.6); claim",
        ),
        (
            Difference("a", "b", TEST_ACCURACY, "higher"),
            1,
            "higher or lower by a number that is not known yet: `python -m experiments.reproduce s` trains the runs "
            "(claim [`c, as run`](results/s.md#c-as-run)).",
        ),
    ],
)
def test_a_finding_is_a_sentence_whatever_the_members_tell(test, seeds, words):
    claim = Claim("c, as run", "notebook 999, line 1", "S.", test)
    study = Study("s", "S", "?", (Arm("a", "x"), Arm("b", "x")), (claim,), (), (Finding(claim.name, "It is"),))
    found = Results({"a": made_up(seeds), "b": made_up(seeds, shift=0.01)}, {"a": [], "b": []})
    front, page = pages.render([study], found).values()
    assert f"\n1. It is {words}" in front
    assert '`c, as run`<a id="c-as-run"></a>: S.' in page


def test_the_spread_over_splits_stands_beside_that_over_seeds():
    """s = 0.001 of three members; the points of chi-squared with 2 degrees of freedom are 0.050636 and 7.377759."""
    arms = Arm("simple_cnn", "simple_cnn", "ours", seeds=3), with_own_splits("simple_cnn", "simple_cnn")
    found = Results({"simple_cnn": made_up(3), "simple_cnn,splits": []}, dict.fromkeys((arm.name for arm in arms), []))
    study = Study("s", "S", "?", arms, (), ())
    row = row_of(study_page(study, found), "`simple_cnn`, `simple_cnn,splits` | test accuracy")
    assert row["seeds alone"] == "0.9354 ± 0.0010 (n = 3)" and row["splits and seeds"] == "not run"
    assert row["95% interval of the deviation, seeds alone"] == "0.0005–0.0063"
    found.members["simple_cnn,splits"].extend(made_up(2))
    row = row_of(study_page(study, found), "`simple_cnn`, `simple_cnn,splits` | test accuracy")
    assert row["splits and seeds"] == "0.9354 ± 0.0007 (n = 2)"


def test_members_of_a_changed_checkout_are_marked():
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum", seeds=3)
    members = made_up(3)
    members[0].result["dirty"], members[2].result["dirty"] = False, True
    texts = pages.render([Study("s", "S", "?", (arm,), (), ())], Results({arm.name: members}, {arm.name: []}))
    assert all(
        "\n- From a checkout with uncommitted changes: `dense_sgd_momentum` (seed 2).\n" in t for t in texts.values()
    )


def test_without_any_run_there_is_a_page():
    nothing = {arm.name: [] for study in ALL for arm in study.arms}
    texts = pages.render(ALL, Results(nothing, nothing))
    assert texts["RESULTS.md"].count("not known yet") == 9 and "Run one" not in texts["RESULTS.md"]


# The project's own pages


def test_the_committed_pages_are_the_rendered_ones():
    for name, text in pages.render(ALL, results.read(ALL, collected.FOLDER)).items():
        assert (collected.FOLDER / name).read_text() == text, name


def test_the_first_screen_has_results_and_a_command():
    first = (collected.FOLDER / "RESULTS.md").read_text().partition("\n## ")[0]
    assert sum(line.split(".")[0].isdigit() for line in first.splitlines()) == 10
    assert first.count("**") >= 20 and "`python -m digits.main --config=configs/" in first and len(first) < 4500


def test_the_results_in_the_readme_are_the_rendered_ones():
    shown = (ROOT / "README.md").read_text().split("<!-- results -->")[1].split("<!-- /results -->")[0]
    found = results.read(ALL, collected.FOLDER)
    assert shown.strip() == rows.readme(ALL, found)
    front = pages.render(ALL, found)["RESULTS.md"]
    inside, claims = re.search(r"(\d+ of \d+) documented figures .* and (\d+) claims", shown).groups()
    assert f"{inside} documented figures are inside" in front and f"judge {claims} of the notebooks' claims" in front


def test_arms_and_claims_are_unique_in_the_project():
    arms = [arm for study in ALL for arm in study.arms]
    for arm in arms:
        assert all(other == arm for other in arms if other.name == arm.name)
        assert (ROOT / "configs" / f"{arm.config}.py").exists()
        assert arm.documented is None or arm.documented in reported()
    claims = [claim.name for study in ALL for claim in study.claims]
    assert len(set(claims)) == len(claims)
    assert len({rows.anchor(name) for name in claims}) == len(claims)
