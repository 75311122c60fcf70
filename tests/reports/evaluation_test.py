"""`python -m digits.evaluate`: the recorded figures again, ensembles by plain NumPy, and one sentence for mistakes."""

import dataclasses
import json
import shutil
import statistics
import sys

import numpy as np
import pytest

import digits
from digits import data, errors, evaluate
from digits.analysis import classification, robustness
from digits.config.values import with_values
from digits.reports import evaluation
from digits.reports.evaluation_text import text as text_of
from digits.reports.judged_run import JudgedRun, SharedByRuns
from digits.runs import loading
from digits.runs.workdir import Workdir
from digits.runtime import screen
from digits.sweeps import population
from tests.conftest import is_one_mistake, tiny_config

RATE, FOLD = "optimizer.learning_rate", "data.fold"
NAMES = ("good_0", "good_1", "fold_0", "fold_1", "unfinished", "diverged")
VALUES = (
    {RATE: 0.01, FOLD: 0, "seed": 0},
    {RATE: 0.01, FOLD: 0, "seed": 1},
    {RATE: 0.0003, FOLD: 0, "seed": 0},
    {RATE: 0.0003, FOLD: 1, "seed": 0},
    {RATE: 0.01, FOLD: 0, "seed": 1},
    {RATE: 1e30, FOLD: 0, "seed": 0},
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three points: two seeds (and a third that is not finished), two folds, and one that diverged."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("sweeps") / "rates"
    config.augment.rotation = 0.0  # It takes longest to compile.
    config.data.validation = "folds(3)"  # Of 1,437: three of 479.
    config.model.hidden_l2 = 1e-3
    config.early_stopping.restore_best = True
    members = [population.Member(with_values(config, v), folder / n) for n, v in list(zip(NAMES, VALUES))[:4]]
    population.train_members(members)
    shutil.copytree(folder / "good_1", folder / "unfinished")
    (folder / "unfinished" / "result.json").unlink()
    (folder / "diverged").mkdir()
    (folder / "diverged" / "failure.json").write_text(json.dumps({"kind": "diverged", "message": "It did."}))
    return write_about(folder, range(6))


def write_about(folder, members, fields=(RATE, FOLD, "seed")):
    members = [{"name": NAMES[i], "values": {field: VALUES[i][field] for field in fields}} for i in members]
    about = {"config_file": "configs/mine.py", "fields": list(fields), "members": members}
    (folder / "sweep.json").write_text(json.dumps(about | {"chooses": "val_accuracy", "validation_is_test": False}))
    return folder


def test_a_run_gets_the_recorded_figures_to_the_last_digit(sweep):
    files = Workdir(sweep / "good_0")
    result, history = files.result(), files.history()
    test = evaluation.evaluate(files.path)
    assert (test["kind"], test["split"], test["data"], test["notes"]) == ("run", "test", ["optdigits"], [])
    assert (test["loss"], test["accuracy"]) == (result["test_loss"], result["test_accuracy"])
    assert (test["n"], test["epoch"]) == (360, result["tested_epoch"])
    low, high = test["accuracy_interval"]
    assert 0 < low < test["accuracy"] < high < 1
    validation, tested = evaluation.evaluate(files.path, "validation"), history[result["tested_epoch"] - 1]
    assert (validation["loss"], validation["accuracy"]) == (tested["val_loss"], tested["val_accuracy"])
    assert validation["n"] == 479 and evaluation.evaluate(files.path, "train")["n"] == 958
    line = f"accuracy {test['accuracy']:.4f} (95% interval {low:.4f} to {high:.4f}, n = 360)  loss {test['loss']:.4f}"
    assert line in text_of(test)


def test_a_run_gets_its_measures_robustness_and_pictures(sweep, tmp_path):
    run, dataset = digits.load(sweep / "good_0"), data.load("optdigits")
    folder = tmp_path / "pictures"
    found = evaluation.evaluate(sweep / "good_0", figures=folder, robustness_images=50)
    measured = classification.measure(run.logits(dataset.test_images), dataset.test_labels, dataset.class_names)
    assert {key: found[key] for key in measured} == measured
    assert np.trace(found["confusion"]) == round(360 * found["accuracy"]) and sum(map(sum, found["confusion"])) == 360
    assert found["writers"] is None and found["notes"] == []  # Nobody knows optdigits' writers.
    assert len(found["robustness"]) == robustness.COUNT
    some = robustness.spread(360, 50)
    blurred = robustness.blur(dataset.test_images[some], 2.0)
    expected = np.mean(run.logits(blurred).argmax(-1) == dataset.test_labels[some])
    (row,) = [row for row in found["robustness"] if (row["change"], row["amount"]) == ("Gaussian blur", 2.0)]
    assert (row["accuracy"], row["n"]) == (expected, 50)
    names = ("confusion", "reliability", "mistakes", "doubtful", "robustness")
    assert found["pictures"] == [str(folder / f"{name}.png") for name in names]
    text = text_of(found)
    assert "confusion matrix" in text and f"expected calibration error {found['calibration']['ece']:.4f}" in text
    assert "accuracy on 50 images" in text
    assert f"pictures in {folder}: confusion.png, reliability.png" in " ".join(text.split())
    assert all(len(line) <= screen.COLUMNS or str(tmp_path) in line for line in text.splitlines()[1:])
    plain = evaluation.evaluate(sweep / "good_0")
    assert plain["robustness"] is None and plain["pictures"] == [] and "robustness" not in text_of(plain)


@pytest.mark.slow
def test_pictures_lie_in_the_runs_folder_unless_it_cannot_hold_them(sweep, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(sweep / "good_0", run)

    def pictures():
        return sorted(str(path.relative_to(run)) for path in run.glob("figures/**/*.png"))

    assert evaluate.main(["evaluate", f"--workdir={run}", "--figures=none"]) == 0 and pictures() == []
    capsys.readouterr()
    assert evaluate.main(["evaluate", f"--workdir={run}", "--split=validation", "--json"]) == 0
    names = ("confusion", "reliability", "mistakes", "doubtful")
    paths = [f"figures/validation/{name}.png" for name in names]
    assert json.loads(capsys.readouterr().out)["pictures"] == [str(run / path) for path in paths]
    assert evaluate.main(["evaluate", f"--workdir={run}"]) == 0
    assert pictures() == sorted([*paths, *(f"figures/{name}.png" for name in names)])
    shutil.rmtree(run / "figures")
    (run / "figures").write_text("")
    (note,) = evaluation.evaluate(run, figures=True)["notes"]
    assert note.startswith("there are no pictures: ") and "confusion.png cannot be written" in note
    with pytest.raises(errors.UserError, match="confusion.png cannot be written"):
        evaluation.evaluate(run, figures=run / "figures" / "below")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert evaluation.evaluate(run, figures=True)["notes"] == [
        "there are no pictures, for matplotlib is not installed: pip install matplotlib"
    ]


@pytest.mark.mnist
def test_errors_by_writer_are_of_the_splits_images(sweep, tmp_path, monkeypatch):
    dataset = data.load("mnist")
    monkeypatch.setattr(data, "load", lambda name, data_dir, digest=None: dataset)
    for split, validation, part, rows in (
        ("test", "last(10000)", "test", slice(None)),
        ("validation", "test", "test", slice(None)),
        ("train", "test", "train", slice(None)),
        ("train", "last(10000)", "train", slice(50_000)),
        ("validation", "last(10000)", "train", slice(50_000, None)),
    ):
        run = changed(sweep, tmp_path / f"{split}, {validation}", name="mnist", validation=validation, fold=0)
        judged = JudgedRun(run, SharedByRuns(), split)
        np.testing.assert_array_equal(judged.examples.images, getattr(dataset, f"{part}_images")[rows])
        np.testing.assert_array_equal(judged.writers, data.writers_of(dataset, part)[rows])
    found = evaluation.evaluate(run)
    wrong = sum(group["n"] - round(group["n"] * group["accuracy"]) for group in found["writers"]["groups"])
    assert found["writers"]["n"] == 297 and wrong == 10_000 - np.trace(found["confusion"])
    text = text_of(found)
    assert (
        "high-school students (SD-1)" in text
        and f"worst writers, errors/images: {found['writers']['worst'][0]['writer']} " in text
    )
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path))
    dataset = dataclasses.replace(dataset, data_dir=str(tmp_path))
    without = evaluation.evaluate(run)
    assert without["writers"] is None and "high-school" not in text_of(without)
    (note,) = set(without["notes"]) - set(found["notes"])
    assert note.startswith("errors by writer are left out: qmnist-test-labels") and "\n" not in note


def ensemble_by_numpy(runs, images, labels):
    """Accuracy, and loss in nats without the penalty."""
    mean = np.mean([np.float64(run.predict(images)) for run in runs], axis=0)
    return np.mean(mean.argmax(-1) == labels), np.mean(-np.log(mean[np.arange(len(labels)), labels]))


def test_points_of_a_sweep_with_mean_deviation_and_ensemble(sweep):
    found = evaluation.evaluate(sweep)
    assert [point["values"] for point in found["points"]] == [{RATE: 0.01}, {RATE: 0.0003}, {RATE: 1e30}]
    dataset = data.load("optdigits")
    for point, names in zip(found["points"], (NAMES[:2], NAMES[2:4]), strict=False):
        results = [Workdir(sweep / name).result() for name in names]
        finished = [member for member in point["members"] if member["state"] == "finished"]
        assert [member["name"] for member in finished] == list(names)
        for figure in ("accuracy", "loss"):
            recorded = [result[f"test_{figure}"] for result in results]
            assert [member[figure] for member in finished] == recorded
            assert point[figure] == {
                "n": 2,
                "mean": pytest.approx(statistics.mean(recorded)),
                "std": pytest.approx(statistics.stdev(recorded)),
            }
        expected = ensemble_by_numpy(
            digits.load([sweep / n for n in names]).runs, dataset.test_images, dataset.test_labels
        )
        ensemble = point["ensemble"]
        assert ensemble["accuracy"] == expected[0] and ensemble["loss"] == pytest.approx(expected[1], rel=1e-5)
        assert ensemble["n"] == 360
    assert found["points"][0]["members"][2] == {"name": "unfinished", "state": "unfinished"}
    assert found["points"][2]["ensemble"] is None and found["points"][2]["no_ensemble"] == "no member is finished"
    text = text_of(found)
    assert "4 of 6 runs are finished, on 360 test images of optdigits" in " ".join(text.split())
    assert "best point by val_accuracy first; each has an ensemble of its own" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["learning_rate", "n", "accuracy", "loss", "not", "finished"] in lines
    assert ["learning_rate", "n", "accuracy", "95%", "interval", "loss"] in lines
    assert ["unfinished", "unfinished"] in lines and ["diverged", "diverged"] in lines
    assert max(map(len, text.splitlines()[1:])) <= screen.COLUMNS
    assert "a run's loss includes its L2 penalty, an ensemble's does not" in text


def test_the_ensemble_of_a_single_point_is_that_of_digits_load(sweep, tmp_path):
    folder = tmp_path / "seeds"
    shutil.copytree(sweep, folder)
    write_about(folder, [0, 1, 4], fields=("seed",))
    (point,) = evaluation.evaluate(folder)["points"]
    probabilities, labels = (
        digits.load(folder).predict(data.load("optdigits").test_images),
        data.load("optdigits").test_labels,
    )
    assert point["ensemble"]["accuracy"] == np.mean(probabilities.argmax(-1) == labels)
    assert point["values"] == {} and "ensemble of its own" not in text_of(evaluation.evaluate(folder))


def test_folds_make_no_ensemble_but_on_the_test_set(sweep):
    for split, images in (("validation", "validation"), ("train", "training")):
        found = evaluation.evaluate(sweep, split)
        same, folds, _ = found["points"]
        assert same["ensemble"]["n"] == same["members"][0]["n"] == {"validation": 479, "train": 958}[split]
        assert folds["ensemble"] is None
        assert folds["no_ensemble"] == f"members of different folds have different {images} images"
        assert folds["accuracy"]["n"] == 2 and folds["members"][0]["loss"] != folds["members"][1]["loss"]
        text = text_of(found)
        assert f"no ensemble, for {folds['no_ensemble']}" in text and "  fold_1" in text
        chosen = "the best point was chosen on these images, by val_accuracy: its figures are too good"
        assert (chosen in found["notes"]) == (split == "validation")


def changed(sweep, folder, digest=None, **fields):
    """A copy of a run in a folder, with other fields of its config.data, or another digest of its data."""
    shutil.copytree(sweep / "good_0", folder)
    about = json.loads((folder / "config.json").read_text())
    del about["check"]  # As written by hand.
    about["config"]["data"] |= fields
    about["data"]["digest"] = digest or about["data"]["digest"]
    (folder / "config.json").write_text(json.dumps(about))
    return folder


def test_figures_that_need_an_explanation_get_a_note(sweep, tmp_path, monkeypatch):
    def notes(run, split="test"):
        return evaluation.evaluate(run, split)["notes"]

    unseen = "validation was the test set: no figure here is of unseen images"
    on_test = changed(sweep, tmp_path / "on_test", validation="test", fold=0)
    assert notes(on_test) == notes(on_test, "validation") == [unseen] and notes(on_test, "train") == []
    assert notes(sweep / "unfinished") == ["the run is not finished"]
    (digest,) = notes(changed(sweep, tmp_path / "other_data", digest="0"))
    assert "SHA-256" in digest
    with pytest.raises(errors.UserError, match="validation was 'none', so .* --split must be test or train"):
        notes(changed(sweep, tmp_path / "none", validation="none", fold=0), "validation")
    of_two = dataclasses.replace(digits.load(sweep / "good_0"), class_names=("cat", "dog"))
    monkeypatch.setattr(loading, "load", lambda path: of_two)
    with pytest.raises(errors.UserError, match="optdigits has 10 classes here, but the run was trained on 2"):
        notes(sweep / "good_0")


def test_the_command_prints_json_or_text(sweep, run_module, capsys):
    done = run_module("digits.evaluate", f"--workdir={sweep}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(evaluation.evaluate(sweep)))
    assert evaluate.main(["evaluate", f"--workdir={sweep}/good_0", "--split=train", "--figures=none"]) == 0
    assert "on 958 training images of optdigits" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["--workdir is missing"]),
        (["--workdir={sweep}", "--split=tset"], ["--split is 'tset'", "test, validation, train"]),
        (["--wrkdir=x"], ["'wrkdir'", "workdir"]),
        (["--workdir={sweep}", "here"], ["'here'"]),
        (["--workdir={sweep}/.."], ["no run with checkpoints", "rates (a sweep)"]),
    ],
)
def test_mistakes_give_one_sentence_and_exit_code_2(args, words, sweep, run_module):
    done = run_module("digits.evaluate", *(argument.format(sweep=sweep) for argument in args))
    assert done.returncode == 2 and done.stdout == ""
    assert is_one_mistake(done.stderr)
    for word in words:
        assert word in done.stderr
