"""`python -m experiments.reproduce`: trains what is missing, keeps it, and renders a page from what was kept."""

import dataclasses
import json
import math
import pathlib
import re
import shlex

import pytest

from digits import population, signals
from digits.errors import UserError
from experiments import charts, collected, documented, judging, rendering, reproduce
from experiments.study import TEST_ACCURACY, TEST_LOSS, Arm, Claim, Difference, Level, Member, Study, Undecidable, at
from tests.conftest import ROOT

ON_OPTDIGITS = {"data.name": "optdigits", "epochs": 1, "tensorboard": False}
AS_RUN = Arm("tiny", "dense_32_32", overrides=ON_OPTDIGITS, documented="dense_32_32", seeds=2)
OURS = Arm("tiny,wide", "dense_32_32", "ours", ON_OPTDIGITS | {"model.hidden": (64, 64)}, seeds=2, note="A note.")
HIGHER = Difference("tiny", "tiny,wide", TEST_ACCURACY, "higher")
CLAIMS = (
    Claim("wider-higher", "notebook 999, line 1", "Width helps | hurts.", HIGHER),
    Claim("level", "notebook 999, line 2", "It reaches 0.1.", Level("tiny", TEST_ACCURACY, "higher", 0.1)),
    Claim("lost", "notebook 999, line 3", "It was fast.", Undecidable("no times were printed")),
)
STUDY = Study(
    "tiny_study", "A tiny study", "Does width help?", (AS_RUN, OURS), CLAIMS, ("Look: `wider-higher`.", "All.")
)


def run(folder, studies=(STUDY,), *arguments):
    """The command line on studies of the test's own: the exit code."""
    flags = [f"--workdir={folder / 'runs'}", f"--results={folder / 'experiments'}", *arguments]
    names = [argument for argument in flags if not argument.startswith("--")]
    reproduce._FLAGS.unparse_flags()
    reproduce._FLAGS(["reproduce", *(flag for flag in flags if flag.startswith("--"))])
    return reproduce.reproduce(studies, names, flags)


def kept(folder, study="tiny_study"):
    return json.loads((folder / "experiments" / "results" / f"{study}.json").read_text())["arms"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the tiny study, reproduced: two arms, two seeds each."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(folder) == 0
    return folder


def test_every_member_is_kept(trained):
    arms = kept(trained)
    assert list(arms) == ["tiny", "tiny,wide"]
    for name, arm in arms.items():
        assert [member["seed"] for member in arm["members"]] == [0, 1]
        assert arm["config"]["data.name"] == "optdigits" and "seed" not in arm["config"]
        for member in arm["members"]:
            workdir = trained / "runs" / name / f"seed={member['seed']}"
            result = json.loads((workdir / "result.json").read_text())
            line = json.loads((workdir / "metrics.jsonl").read_text())
            assert {key: result[key] for key in member["result"]} == member["result"]
            assert {"test_accuracy", "seconds", "device", "versions", "commit"} <= set(member["result"])
            assert member["history"]["loss"] == [pytest.approx(line["loss"], rel=1e-5)]
            assert "val_loss" not in member["history"]  # There is no validation.
    assert (
        arms["tiny"]["members"][0]["result"]["test_accuracy"] != arms["tiny"]["members"][1]["result"]["test_accuracy"]
    )


def test_the_command_of_a_member_is_its_run(trained, tmp_path, run_module):
    """What a reader copies from the page gives the figures that are kept."""
    member = kept(trained)["tiny,wide"]["members"][1]
    words = shlex.split(member["command"])
    assert words[:3] == ["python", "-m", "digits.main"]
    done = run_module("digits.main", *words[3:], f"--workdir={tmp_path / 'alone'}", "--noreport")
    assert done.returncode == 0, done.stderr
    alone = json.loads((tmp_path / "alone" / "result.json").read_text())
    assert {key: alone[key] for key in ("test_loss", "test_accuracy")} == {
        key: member["result"][key] for key in ("test_loss", "test_accuracy")
    }


def test_only_what_is_missing_is_trained(trained, tmp_path, monkeypatch, capsys):
    """Members that the file has need no folder, those that a folder has are not trained, and none is lost."""
    before = kept(trained)
    fewer = json.loads(json.dumps(before))
    del fewer["tiny"]["members"][1]
    fewer["gone"] = fewer["tiny"]  # An arm that the study once had.
    collected.save(STUDY, trained_copy(trained, tmp_path), fewer)
    trainings = []
    real = population.train_members
    monkeypatch.setattr(
        population, "train_members", lambda members, **how: trainings.extend(members) or real(members, **how)
    )
    (tmp_path / "runs" / "tiny").symlink_to(trained / "runs" / "tiny")
    assert run(tmp_path) == 0
    assert [pathlib.Path(member.workdir).name for member in trainings] == ["seed=1"]
    after = kept(tmp_path)
    assert after.pop("gone") == fewer["gone"] and after == before
    # Another seed is added to those that are there.
    assert run(tmp_path, (dataclasses.replace(STUDY, arms=(AS_RUN, OURS)),), "--seeds=3") == 0
    assert [path.workdir.name for path in trainings[1:]] == ["seed=2", "seed=2"]
    assert [member["seed"] for member in kept(tmp_path)["tiny"]["members"]] == [0, 1, 2]
    assert kept(tmp_path)["tiny"]["members"][:2] == before["tiny"]["members"]
    assert "[1/2] tiny: 1 to train, about" in capsys.readouterr().out


def test_arms_are_trained_by_name_for_every_study_that_has_them(trained, tmp_path, capsys):
    other = dataclasses.replace(STUDY, name="other_study", arms=(OURS,), claims=(), lessons=())
    (tmp_path / "runs").symlink_to(trained / "runs")
    assert run(tmp_path, (STUDY, other), "tiny,wide") == 0
    assert "[1/1] tiny,wide: 2 to train" in capsys.readouterr().out
    assert kept(tmp_path) == kept(tmp_path, "other_study") == {"tiny,wide": kept(trained)["tiny,wide"]}
    with pytest.raises(UserError, match="'tiny,narrow' is no study"):
        run(tmp_path, (STUDY, other), "tiny,narrow")


def test_documented_arms_come_first_and_then_the_cheapest(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(
        population, "train_members", lambda members, **how: order.append(members[0].workdir.parent.name)
    )
    wide = {"model.hidden": (64, 64)}
    arms = [
        Arm("ours,wide", "dense_32_32", "ours", ON_OPTDIGITS | wide, seeds=1),
        Arm("ours", "dense_32_32", "ours", ON_OPTDIGITS, seeds=1),
        Arm("documented,wide", "dense_32_32", "as run", ON_OPTDIGITS | wide, "dense_32_32", seeds=1),
        Arm("documented", "dense_32_32", "as run", ON_OPTDIGITS, "dense_32_32", seeds=1),
    ]
    run(tmp_path, (Study("ordered", "Ordered", "?", tuple(arms), (), ()),))
    assert order == ["documented", "documented,wide", "ours", "ours,wide"]


def trained_copy(trained, tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "experiments"


def test_an_arm_of_two_studies_is_trained_once(trained, tmp_path, capsys):
    collected.save(STUDY, trained_copy(trained, tmp_path), kept(trained))
    other = Study("other", "Another", "?", (OURS,), (), ())
    assert run(tmp_path, (STUDY, other), "other", "tiny_study") == 0
    assert kept(tmp_path, "other")["tiny,wide"] == kept(trained)["tiny,wide"]
    assert "to train" not in capsys.readouterr().out


def test_data_that_cannot_be_read_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.delenv("DIGITS_DATA_DIR", raising=False)
    mnist = Arm("dense", "dense_32_32", "ours", seeds=1)
    with pytest.raises(UserError, match="/nowhere has no file"):
        run(tmp_path, (Study("s", "S", "?", (mnist,), (), ()),), "--data_dir=/nowhere")
    assert list(tmp_path.iterdir()) == []


def test_members_of_another_config_are_not_mixed(trained, tmp_path):
    collected.save(STUDY, trained_copy(trained, tmp_path), kept(trained))
    before = collected.path(STUDY, tmp_path / "experiments").read_bytes()
    changed = dataclasses.replace(AS_RUN, overrides=ON_OPTDIGITS | {"batch_size": 32})
    with pytest.raises(UserError, match=r"tiny with another config \(batch_size was 64, is 32\)"):
        run(tmp_path, (dataclasses.replace(STUDY, arms=(changed, OURS)),))
    assert collected.path(STUDY, tmp_path / "experiments").read_bytes() == before


def test_a_field_that_is_new_has_had_its_default():
    now = collected.entry(AS_RUN, {"seed": 1, "epochs": 3, "new": 1, "documented.source": "s"})
    before = collected.entry(AS_RUN, {"epochs": 3})
    assert collected.differing(before, now, {"new": 1}) == []
    assert collected.differing(before, now, {"new": 2}) == ["new was 2, is 1"]
    assert collected.differing(now, before, {}) == ["new was 1, is 'absent'"]


def test_one_that_diverges_is_said_and_not_tried_again(tmp_path, capsys):
    wild = Arm("wild", "dense_32_32", "ours", ON_OPTDIGITS | {"optimizer.learning_rate": 1e30}, seeds=1)
    studies = (Study("wild_study", "Wild", "?", (wild,), (), ()),)
    assert run(tmp_path, studies) == 0
    assert kept(tmp_path, "wild_study")["wild"]["diverged"] == [0]
    capsys.readouterr()
    assert run(tmp_path, studies) == 0
    assert "to train" not in capsys.readouterr().out
    assert "Diverged: seed 0" in (tmp_path / "experiments" / "RESULTS.md").read_text()


def test_what_was_finished_is_kept_when_it_is_interrupted(trained, tmp_path, monkeypatch, capsys):
    """The first arm is complete, the second has one member of two."""
    (tmp_path / "runs").mkdir()
    for name in ("tiny", "tiny,wide"):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "seed=0").symlink_to(trained / "runs" / name / "seed=0")
    (tmp_path / "runs" / "tiny" / "seed=1").symlink_to(trained / "runs" / "tiny" / "seed=1")
    real = population.train_members

    def stop_at_the_second(members, **how):
        if "wide" in str(members[0].workdir):
            raise signals.Interrupted(2, how["command"])
        return real(members, **how)

    monkeypatch.setattr(population, "train_members", stop_at_the_second)
    assert run(tmp_path, (STUDY,), "--seeds=2") == 130
    assert f"python -m experiments.reproduce --workdir={tmp_path}" in capsys.readouterr().out
    assert {name: len(arm["members"]) for name, arm in kept(tmp_path).items()} == {"tiny": 2, "tiny,wide": 1}


# Rendering


def made_up(seeds, documented_as="dense_sgd_momentum", shift=0.0):
    """Members whose figures lie around the documented ones."""
    history = documented.reported()[documented_as]["history"]["accuracy"]
    result = {"test_loss": 0.2, "validation_is_test": False, "seconds": 5.0, "device": "cpu (2 cores)"}
    return [
        Member(
            seed,
            result | {"test_accuracy": 0.9354 + shift + 0.001 * (seed - (seeds - 1) / 2)},
            [
                {"epoch": e, "accuracy": a + 0.01 * seed / e, "loss": 1 / e}
                for e, a in enumerate(history, start=1)
                if a is not None
            ],
        )
        for seed in range(seeds)
    ]


def test_the_page_is_the_same_from_the_same_files(trained, tmp_path):
    page = (trained / "experiments" / "RESULTS.md").read_bytes()
    collected.save(STUDY, tmp_path, kept(trained))
    rendering.write((STUDY,), tmp_path)
    assert (tmp_path / "RESULTS.md").read_bytes() == page
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert pictures == ["claims.png", "documented.png", "tiny_study.png"]
    assert all(f"(figures/{name})" in page.decode() for name in pictures)


def test_rendering_alone_trains_nothing_and_needs_no_jax(trained, tmp_path, run_module):
    """In a process in which JAX cannot be imported; also of the studies of this project, before any was run."""
    collected.save(STUDY, tmp_path, kept(trained))
    stand_in = tmp_path / "without"
    stand_in.mkdir()
    (stand_in / "jax.py").write_text("raise ImportError('no JAX here')\n")
    done = run_module("experiments.reproduce", "--render", f"--results={tmp_path}",
                      env={"PYTHONPATH": str(stand_in), "DIGITS_DATA_DIR": "/nowhere"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not run" in (tmp_path / "RESULTS.md").read_text()


def row_of(page, start):
    """The cells of the row of a table that starts so, by heading."""
    lines = page.splitlines()
    index = next(i for i, line in enumerate(lines) if line.startswith(f"| {start}"))
    head = max(i for i in range(index) if lines[i].startswith("| ---")) - 1
    split = lambda line: [cell.strip() for cell in line.replace(r"\|", "¦").strip("|").split("|")]
    return dict(zip(split(lines[head]), split(lines[index]), strict=True))


def notes_of(page, name):
    """What the list below a table of the page says of an arm or a claim."""
    return [line.removeprefix(f"- `{name}`: ") for line in page.splitlines() if line.startswith(f"- `{name}`: ")]


def test_rows_say_what_the_members_did(trained):
    page = (trained / "experiments" / "RESULTS.md").read_text()
    arms = kept(trained)
    a, b = ([member["result"]["test_accuracy"] for member in arms[name]["members"]] for name in ("tiny", "tiny,wide"))
    row = row_of(page, "`tiny`")
    assert row["documented"] == "0.9370" and row["n"] == "2"
    assert row["reproduced"].startswith(f"{sum(a) / 2:.4f} ± ")
    for name in ("tiny", "tiny,wide"):
        member = arms[name]["members"][0]
        assert f"\n# {name}\n{member['command']}\n" in page
        assert re.search(f"^- On {re.escape(member['result']['device'])}: `{name}`.$", page, re.MULTILINE)
    assert notes_of(page, "tiny,wide") == ["A note."] and notes_of(page, "tiny") == []
    claim = row_of(page, "`wider-higher`")
    assert claim["difference (95% interval)"].startswith(f"{(sum(b) - sum(a)) / 2:+.4f} (") and claim["n"] == "2"
    assert claim["claim"] == (
        "`wider-higher`: Width helps ¦ hurts. *Notebook 999, line 1*<br>`tiny,wide` − `tiny`, test accuracy (fraction): "
        "claimed higher"
    )
    assert row_of(page, "`lost`")["verdict"] == "**undecidable**"
    assert notes_of(page, "lost") == ["no times were printed"]
    verdict = claim["verdict"].strip("*")
    assert f"- Look: `wider-higher` ({verdict})." in page and "- All.\n" in page


def test_documented_figures_fall_back_on_what_was_printed_last():
    compare = lambda name: documented.compare(Arm(name, name, documented=name), [])
    assert compare("dense_sgd_momentum").metric is TEST_ACCURACY
    for name, column, epoch, value in (
        ("deep_cnn", "val_accuracy", 50, 0.9961),
        ("six_conv", "val_accuracy", 20, 0.9938),
        ("dense_batch_32", "accuracy", 18, 0.9525),
    ):
        found = compare(name)
        assert (found.metric.name, found.documented) == (at(column, epoch).name, value)


def test_all_documented_trainings_can_be_compared():
    assert len([documented.compare(Arm(name, name, documented=name), []) for name in documented.reported()]) == 19


@pytest.mark.parametrize("shift, word", [(0.0, "yes"), (0.0015, "yes"), (0.01, "**no**")])
def test_inside_is_the_interval_of_a_single_run(shift, word):
    """Five members 0.001 apart: s = 0.00158, and the interval reaches 2.776 x s x sqrt(6/5) = 0.0048 from the mean."""
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum", seeds=9)
    study = Study("s", "S", "?", (arm,), (), ())
    members = rendering.Results({arm.name: made_up(5, shift=shift)}, {arm.name: [7]})
    page = rendering.render([study], members)
    row = row_of(page, "`dense_sgd_momentum`")
    assert row["inside"] == word and row["n"] == "5 of 9"
    goes_on = "The others: `python -m experiments.reproduce dense_sgd_momentum`."
    assert notes_of(page, "dense_sgd_momentum") == [f"Diverged: seed 7. {goes_on}"]
    short = row_of(rendering.readme_table([study], members), "`dense_sgd_momentum`")
    assert short["documented"] == "0.9354" and short["inside 95% of single runs"] == word


@pytest.mark.parametrize("shift, word, short", [(0.0, "yes", "so are 1 of 1"), (0.05, "**no**", "so are 0 of 1")])
def test_documented_test_losses_are_compared_too(shift, word, short):
    """Three members 0.01 apart around the documented 0.2154: the interval reaches 4.303 x 0.01 x sqrt(4/3) = 0.0497."""
    arms = [Arm(name, name, documented=name) for name in ("dense_sgd_momentum", "dense_32_32")]
    members = {arm.name: made_up(3) for arm in arms}
    for member in members["dense_sgd_momentum"]:
        member.result["test_loss"] = 0.2154 + shift + 0.01 * (member.seed - 1)
    page = rendering.render(
        [Study("s", "S", "?", tuple(arms), (), ())], rendering.Results(members, dict.fromkeys(members, []))
    )
    first, rest = page.split("### Their test losses")
    row, lost = (row_of(rest, f"`{arm.name}`") for arm in arms)
    assert (
        row["documented"] == "0.2154" and row["test loss"] == f"{0.2154 + shift:.4f} ± 0.0100" and row["inside"] == word
    )
    assert row["95% of single runs"] == f"{0.1657 + shift:.4f}–{0.2651 + shift:.4f}"
    assert lost["test accuracy"] and lost["documented"] == lost["inside"] == ""  # The notebook's is lost.
    assert short in first


def test_validation_on_the_test_set_is_said():
    arm = Arm("five_conv", "five_conv", documented="five_conv", seeds=2, note="Last epoch.")
    members = made_up(2)
    for member in members:
        member.result["validation_is_test"] = True
    found = rendering.Results({"five_conv": members}, {"five_conv": []})
    page = rendering.render([Study("s", "S", "?", (arm,), (), ())], found)
    assert "\n- Validation was the test set: `five_conv`.\n" in page
    assert notes_of(page, "five_conv") == ["Last epoch."]


def test_losses_with_a_penalty_are_marked():
    arms = [Arm(name, name, documented=name, note="A note.") for name in ("dense_sgd_momentum", "dense_32_32")]
    members = {arm.name: made_up(3) for arm in arms}
    found = rendering.Results(members, dict.fromkeys(members, []), {"dense_32_32"})
    first, losses = rendering.render([Study("s", "S", "?", tuple(arms), (), ())], found).split("### Their test losses")
    assert "\n- Losses include the L2 penalty: `dense_32_32`.\n" in first
    assert " `dense_32_32`: with the L2 penalty, as Keras has it" in losses


def test_not_supported_is_told_from_refuted():
    """Of three claims to be the same that nothing decides, two have intervals of 0.0078 where the margins allow 0.002."""
    same = lambda name, value, margin: Claim(
        name, "notebook 999, line 4", "S.", Level("a", TEST_ACCURACY, "same", value, margin)
    )
    claims = same("at", 0.9354, 0.001), same("near", 0.9358, 0.001), same("far", 0.9384, 0.005)
    study = Study("s", "S", "?", (Arm("a", "x"),), claims, ())
    page = rendering.render([study], rendering.Results({"a": made_up(5)}, {"a": []}))
    assert "0 supported, 3 not supported" in page
    assert (
        "for 1 of these 3, p is below 0.05" in page and "of the 3 that claim to be the same, 2 have an interval" in page
    )


def test_figures_draw_the_documented_marks_and_the_band():
    arm = Arm("dense_sgd_momentum", "dense_sgd_momentum", documented="dense_sgd_momentum")
    few, one = (documented.compare(arm, made_up(n)) for n in (4, 1))
    for picture in (charts.curves([few, one]), charts.deviations([few])):
        assert picture.startswith(b"\x89PNG")
    assert charts.curves([few]) != charts.curves([dataclasses.replace(few, members=made_up(4, shift=0.1)[:3])])


def test_the_figure_of_claims_has_what_accuracies_decide():
    """Neither a level nor a loss nor what nothing decides; a verdict shows."""
    loss = Claim("loss", "notebook 999, line 4", "Width lowers the loss.", Difference("a", "b", TEST_LOSS, "lower"))
    claims = tuple(dataclasses.replace(claim, test=on_a_and_b(claim)) for claim in CLAIMS)
    study = Study("s", "S", "?", (Arm("a", "x"), Arm("b", "x")), (*claims, loss), ())
    members = {"a": made_up(4), "b": made_up(4, shift=0.1)}
    drawn = charts.about_accuracy(judging.judge(study, members))
    assert [judgement.claim.name for judgement in drawn] == ["wider-higher"] and drawn[0].verdict == judging.SUPPORTED
    picture = charts.claims(drawn)
    assert picture.startswith(b"\x89PNG")
    assert picture != charts.claims([dataclasses.replace(drawn[0], verdict=judging.CONTRADICTED)])
    assert charts.about_accuracy(judging.judge(study, {"a": members["a"]})) == []


def on_a_and_b(claim):
    """The test of a claim of the tiny study on the arms a and b; members of `made_up` are not all alike."""
    if isinstance(claim.test, Difference):
        return Difference("a", "b", claim.test.metric, claim.test.expected)
    return dataclasses.replace(claim.test, arm="a") if isinstance(claim.test, Level) else claim.test


def test_bands_are_of_logarithms_and_skip_a_zero():
    """Losses of 1 and 4 have the geometric mean 2, and their interval is as wide a factor below it as above."""
    members = [
        Member(seed, {}, [{"epoch": 1, "loss": loss}, {"epoch": 2, "loss": seed}])
        for seed, loss in [(0, 1.0), (1, 4.0)]
    ]
    bands = list(charts._bands(members, "loss", lambda loss: loss))
    ((epoch, (low, middle, high)),) = bands
    assert epoch == 1 and middle == pytest.approx(2) and 0 < low
    # t(0.975; 1) = 12.706, the deviation of the logarithms is ln 4 / sqrt 2.
    factor = math.exp(12.706 * math.log(4) / math.sqrt(2) * math.sqrt(1.5))
    assert high / middle == pytest.approx(factor, rel=1e-3) and middle / low == pytest.approx(factor, rel=1e-3)
    assert list(charts._bands(members[1:], "loss", lambda loss: loss))[0] == (1, pytest.approx((4, 4, 4)))


# The project's own studies


def test_the_committed_page_is_the_rendered_one():
    studies = pytest.importorskip("experiments.studies").ALL
    page = collected.FOLDER / "RESULTS.md"
    if not page.exists():
        pytest.skip("no results have been committed")
    assert page.read_text() == rendering.render(studies, rendering.read(studies, collected.FOLDER))


def test_arms_and_claims_are_unique_in_the_project():
    studies = pytest.importorskip("experiments.studies").ALL
    arms = [arm for study in studies for arm in study.arms]
    for arm in arms:
        assert all(other == arm for other in arms if other.name == arm.name)
        assert (ROOT / "configs" / f"{arm.config}.py").exists()
        assert arm.documented is None or arm.documented in documented.reported()
    claims = [claim.name for study in studies for claim in study.claims]
    assert len(set(claims)) == len(claims)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["dens_study"], "'dens_study' is no study, which must be one of"),
        (["five_conv,honst"], "no arm that RESULTS.md names; did you mean 'five_conv,honest'?"),
        (["--render", "dense_study"], "--render renders all studies"),
        (["--seeds=0"], "seeds"),
        (["--sedes=1"], "seeds"),
    ],
)
def test_mistakes_give_one_sentence(arguments, words, capsys):
    pytest.importorskip("experiments.studies")
    assert reproduce.main(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("place", ["runs", "experiments"])
def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path, place):
    (tmp_path / place).write_text("a file")
    with pytest.raises(UserError, match=f"--(workdir|results) needs the folder {tmp_path / place}"):
        run(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.json")] == []


@pytest.mark.parametrize("content", ["{", "[]", '{"arms": {"a": {}}}', '{"arms": {"a": []}}', '{"study": "x"}'])
def test_a_damaged_file_gives_one_sentence(tmp_path, content):
    path = collected.path(STUDY, tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match="tiny_study.json is no file of collected results"):
        rendering.write((STUDY,), tmp_path)
    assert list(tmp_path.iterdir()) == [path.parent]


def test_the_table_of_the_readme_is_the_rendered_one():
    studies = pytest.importorskip("experiments.studies").ALL
    if not (collected.FOLDER / "RESULTS.md").exists():
        pytest.skip("no results have been committed")
    shown = (ROOT / "README.md").read_text().split("<!-- results -->")[1].split("<!-- /results -->")[0]
    assert shown.strip() == rendering.readme_table(studies, rendering.read(studies, collected.FOLDER))
