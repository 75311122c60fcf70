"""`python -m experiments.reproduce`: trains what is missing, keeps it, and renders a page from what was kept."""

import dataclasses
import json
import pathlib
import re
import shlex

import pytest

from digits.errors import UserError
from digits.models.ops import native
from digits.runtime import signals
from digits.sweeps import population
from experiments import reproduce
from experiments.collecting import collected, reproduction
from experiments.collecting.reproduction import Reproduction
from experiments.judging.study import TEST_ACCURACY, Arm, Claim, Difference, Level, Study, Undecidable
from experiments.rendering import pages
from experiments.studies import ALL
from tests.result_pages import notes_of, row_of

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
            assert {"test_accuracy", "seconds", "device", "versions", "commit", "dirty"} <= set(member["result"])
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


def test_an_arm_that_trains_one_at_a_time_is_not_expected_to_take_twice_as_long(trained, tmp_path, monkeypatch):
    """Two members at a time took 100 s each; two, one after the other, take 50 s each."""
    found = Reproduction((STUDY,), trained / "experiments", tmp_path)
    for member in found.entries["tiny"]["members"]:
        member["result"]["seconds"] = 100.0
    found.entries["tiny,wide"]["members"].clear()
    monkeypatch.setattr(reproduction, "_work", lambda config: 1.0)
    monkeypatch.setattr(population, "workers", lambda config: 1 if config.model.hidden == (64, 64) else 2)
    assert found._expected(["tiny,wide"]) == ", about 1.7 min"


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


def test_results_of_another_folder_are_merged_member_by_member(trained, tmp_path, capsys):
    """Each side has members that the other lacks, and the other is of a version before some fields."""
    here, there = (json.loads(json.dumps(kept(trained))) for _ in range(2))
    here["tiny"]["members"].pop(0)
    del here["tiny,wide"]
    there["tiny"]["members"].pop(1)
    for arm in there.values():
        assert arm["config"].pop("label_smoothing") == 0.0 and arm["config"].pop("ema.decay", None) is None
        for member in arm["members"]:
            del member["result"]["dirty"], member["result"]["diff_sha256"]
    there["tiny,wide"]["diverged"] = [7]
    there["gone"] = there["tiny"]
    collected.save(STUDY, tmp_path / "experiments", here)
    collected.save(STUDY, tmp_path / "other", there)
    assert run(tmp_path, (STUDY,), f"--merge={tmp_path / 'other'}") == 0
    assert f"{tmp_path / 'other'}: 3 members added" in capsys.readouterr().out
    merged = kept(tmp_path)
    assert list(merged) == ["tiny", "tiny,wide"]
    assert merged["tiny"]["members"] == [there["tiny"]["members"][0], here["tiny"]["members"][0]]
    assert merged["tiny,wide"]["members"] == there["tiny,wide"]["members"] and merged["tiny,wide"]["diverged"] == [7]
    assert merged["tiny,wide"]["config"] == kept(trained)["tiny,wide"]["config"]
    before = collected.path(STUDY, tmp_path / "experiments").read_bytes()
    assert run(tmp_path, (STUDY,), f"--merge={tmp_path / 'other'}") == 0
    assert "other: 0 members added" in capsys.readouterr().out
    there["tiny"]["config"]["batch_size"] = 32
    collected.save(STUDY, tmp_path / "other", there)
    with pytest.raises(UserError, match="other.*batch_size was 32, is 64.: leave it out of --merge"):
        run(tmp_path, (STUDY,), f"--merge={tmp_path / 'other'}")
    assert collected.path(STUDY, tmp_path / "experiments").read_bytes() == before
    assert not (tmp_path / "runs").exists()


def test_the_committed_results_are_of_the_present_configs(tmp_path):
    """All of them can be merged into an empty folder, whatever version of digits trained them."""
    work = Reproduction(ALL, tmp_path, tmp_path / "runs")
    named = {arm.name for study in ALL for arm in study.arms}
    arms = {
        name: arm for study in ALL for name, arm in collected.read(study, collected.FOLDER).items() if name in named
    }
    count = sum(len(arm["members"]) for arm in arms.values())
    assert work.merge(collected.FOLDER) == f"{collected.FOLDER}: {count} members added" and count > 500
    for study in ALL:
        assert collected.read(study, tmp_path).keys() == {arm.name for arm in study.arms} & arms.keys()


def test_every_member_can_have_a_split_of_its_own(tmp_path):
    arm = Arm("own", "dense_32_32", "ours", ON_OPTDIGITS | {"data.validation": "random(0.25, {seed})"}, seeds=2)
    assert run(tmp_path, (Study("own_study", "Own", "?", (arm,), (), ()),)) == 0
    found = kept(tmp_path, "own_study")["own"]
    assert found["config"]["data.validation"] == "random(0.25, {seed})"
    for seed, member in enumerate(found["members"]):
        assert f"'--config.data.validation=random(0.25, {seed})' --config.seed={seed}" in member["command"]
        config = json.loads((tmp_path / "runs" / "own" / f"seed={seed}" / "config.json").read_text())
        assert config["config"]["data"]["validation"] == f"random(0.25, {seed})"
    # The same members are there for the same command again.
    assert run(tmp_path, (Study("own_study", "Own", "?", (arm,), (), ()),)) == 0
    assert kept(tmp_path, "own_study")["own"] == found


def test_one_that_diverges_is_said_and_not_tried_again(tmp_path, capsys):
    wild = Arm("wild", "dense_32_32", "ours", ON_OPTDIGITS | {"optimizer.learning_rate": 1e30}, seeds=1)
    studies = (Study("wild_study", "Wild", "?", (wild,), (), ()),)
    assert run(tmp_path, studies) == 0
    assert kept(tmp_path, "wild_study")["wild"]["diverged"] == [0]
    capsys.readouterr()
    assert run(tmp_path, studies) == 0
    assert "to train" not in capsys.readouterr().out
    assert "Diverged: seed 0" in (tmp_path / "experiments" / "results" / "wild_study.md").read_text()


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


def test_the_page_is_the_same_from_the_same_files(trained, tmp_path):
    collected.save(STUDY, tmp_path, kept(trained))
    pages.write((STUDY,), tmp_path)
    texts = {name: (tmp_path / name).read_text() for name in ("RESULTS.md", "results/tiny_study.md")}
    assert texts == {name: (trained / "experiments" / name).read_text() for name in texts}
    pictures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert pictures == ["claims.png", "curves.png", "documented.png", "tiny_study.png"]
    assert all(f"figures/{name})" in "".join(texts.values()) for name in pictures)


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


def test_rows_say_what_the_members_did(trained):
    page = (trained / "experiments" / "results" / "tiny_study.md").read_text()
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
        '`wider-higher`<a id="wider-higher"></a>: Width helps ¦ hurts. *Notebook 999, line 1*<br>`tiny,wide` − `tiny`, '
        "test accuracy (fraction): claimed higher"
    )
    assert row_of(page, "`lost`")["verdict"] == "**undecidable**"
    assert notes_of(page, "lost") == ["no times were printed"]
    verdict = claim["verdict"].strip("*")
    assert f"- Look: `wider-higher` ({verdict})." in page and "- All.\n" in page


# The project's own studies


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["dens_study"], "'dens_study' is no study, which must be one of"),
        (["five_conv,honst"], "no arm that RESULTS.md names; did you mean 'five_conv,honest'?"),
        (["--render", "dense_study"], "--render renders all studies"),
        (["--merge=/nowhere", "dense_study"], "--merge merges all studies"),
        (["--merge=/nowhere"], "--merge is /nowhere, which has no results/STUDY.json"),
        (["--seeds=0"], "seeds"),
        (["--sedes=1"], "seeds"),
    ],
)
def test_mistakes_give_one_sentence(arguments, words, capsys):
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
        pages.write((STUDY,), tmp_path)
    assert list(tmp_path.iterdir()) == [path.parent]


def test_parameters_are_counted_without_compiled_convolutions(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "problem", lambda: pytest.fail("they are built"))
    arm = Arm("cnn", "fast_99", "ours", {"model.blocks": ((5,), (7,))}, seeds=1)
    known = Reproduction([Study("one", "One", "?", (arm,), (), ())], tmp_path, tmp_path)
    convolutions = (6 * 6 * 5 + 5) + (3 * 3 * 5 * 7 + 7)
    assert known.entries["cnn"]["parameters"] == convolutions + 2 * (5 + 7) + (4 * 4 * 7 + 1) * 10
