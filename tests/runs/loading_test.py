"""A run opened elsewhere, in a fresh process without TensorFlow and without its config; several as an ensemble."""

import dataclasses
import json
import os
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest

from configs import quickstart
import digits
from digits import data, errors
from digits.config.values import config_to_json, with_values
from digits.data import transforms
from digits.models import families, inference
from digits.models.ops import native
from digits.reports import evaluation
from digits.runs import files, loading
from digits.runs.workdir import Workdir
from digits.sweeps import population
from digits.training import train
from tests import main_test
from tests.conftest import tiny_config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    config = quickstart.get_config()
    config.epochs, config.tensorboard = 2, False
    path = tmp_path_factory.mktemp("runs") / "quick"
    train.train_and_evaluate(config, path)
    return path


def test_load_reproduces_the_recorded_test_accuracy(workdir):
    run = digits.load(workdir)
    dataset = data.load("optdigits")
    probabilities = run.predict(dataset.test_images)
    assert np.mean(probabilities.argmax(-1) == dataset.test_labels) == run.result["test_accuracy"]
    assert run.config.model.blocks == ((32,), (64,)) and run.config.is_locked
    assert run.history.index.tolist() == [1, 2] and run.history.accuracy[2] == run.records[1]["accuracy"]
    assert run.class_names == tuple("0123456789")


def test_a_run_in_the_cache_of_the_hugging_face_hub_is_loaded(workdir, tmp_path):
    """Its files are links to blobs, as `snapshot_download` lays them."""
    entry = tmp_path / "models--me--digits"
    (entry / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in workdir.rglob("*") if path.is_file())):
        link = entry / "snapshots" / "0123abcd" / file.relative_to(workdir)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, entry / "blobs" / f"{number:040x}")
        link.symlink_to(os.path.relpath(entry / "blobs" / f"{number:040x}", link.parent))
    images = data.load("optdigits").test_images[:9]
    run = digits.load(entry / "snapshots" / "0123abcd")
    np.testing.assert_array_equal(run.predict(images), digits.load(workdir).predict(images))
    assert run.accuracy == digits.load(workdir).accuracy and len(run.records) == 2


def test_predict_takes_one_image_or_many_bytes_or_floats(workdir):
    run = digits.load(workdir)
    images = data.load("optdigits").test_images[:7]
    expected = run.predict(images)
    assert expected.shape == (7, 10) and expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-6)
    for same in (images[..., None], images / 255.0, (images / 255.0).astype(np.float32)[..., None], images.astype(int)):
        np.testing.assert_allclose(run.predict(same), expected, atol=1e-6)
    np.testing.assert_allclose(run.predict(images, batch_size=3), expected, atol=1e-6)
    np.testing.assert_allclose(run.predict(images[2]), expected[2], atol=1e-6)
    with pytest.raises(errors.UserError, match="shape"):
        run.predict(np.zeros((5, 27, 28)))


def test_the_module_gives_logits(workdir):
    run = digits.load(workdir)
    images = data.load("optdigits").test_images[:5]
    logits = run.model(transforms.normalize(images.astype(np.float32), run.config.data.normalization))
    np.testing.assert_allclose(jax.nn.softmax(logits), run.predict(images), atol=1e-6)


TRAIN_ON_EIGHT = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
import pathlib
from digits.config.values import with_values
from digits.sweeps import population
from tests.conftest import tiny_config
config, folder = tiny_config(), pathlib.Path(FOLDER)
config.epochs, config.augment.rotation, config.population.sharing = 1, 0.0, "batched"
members = [population.Member(with_values(config, {"seed": seed}), folder / str(seed)) for seed in range(8)]
population.train_members(members)
"""
LOAD = """
import importlib.util, json, numpy as np, digits
run = digits.load(FOLDER)
from digits import data
d = data.load("optdigits")
found = [name for name in ("tensorflow", "tensorflow_datasets", "clu", "configs") if importlib.util.find_spec(name)]
print(json.dumps([float(np.mean(run.predict(d.test_images).argmax(-1) == d.test_labels)), found]))
"""


@pytest.mark.slow
def test_a_run_of_eight_devices_loads_elsewhere_without_tensorflow_tfds_clu_and_configs(tmp_path, run_module):
    hide = main_test.HIDE.replace('"tensorboard"', '"tensorboard", "clu", "configs"').replace(', "sklearn"', "")
    for name, content, folder in (
        ("train_it", TRAIN_ON_EIGHT, tmp_path / "here"),
        ("use_it", LOAD, tmp_path / "elsewhere"),
        ("sitecustomize", hide, None),
    ):
        (tmp_path / f"{name}_modules").mkdir()
        path = tmp_path / f"{name}_modules" / f"{name}.py"
        path.write_text(content.replace("FOLDER", repr(str(folder))))
    trained = run_module("train_it", env={"PYTHONPATH": f"{tmp_path}/train_it_modules:."})
    assert trained.returncode == 0, trained.stderr
    shutil.copytree(tmp_path / "here" / "3", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "here")
    modules = f"{tmp_path}/use_it_modules:{tmp_path}/sitecustomize_modules:."
    done = run_module("use_it", env={"PYTHONPATH": modules})
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "elsewhere" / "result.json").read_text())
    assert json.loads(done.stdout) == [result["test_accuracy"], []] and result["seed"] == 3


def test_it_loads_onto_a_machine_with_another_number_of_devices(workdir, tmp_path, run_module):
    (tmp_path / "eight.py").write_text(
        "import jax\njax.config.update('jax_num_cpu_devices', 8)\nimport digits, numpy as np\n"
        f"run = digits.load({str(workdir)!r})\n"
        "print(jax.device_count(), run.predict(np.zeros((28, 28), np.uint8)).shape)\n"
    )
    done = run_module("eight", env={"PYTHONPATH": f"{tmp_path}:."})
    assert done.stdout.split() == ["8", "(10,)"], done.stderr


def test_what_is_no_run_says_what_it_is_and_names_the_runs_below(workdir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Without runs/.
    for name, words in (
        ("nowhere", "nowhere is no run with checkpoints: there is nothing of that name; it must be the --workdir"),
        ("a_file", "a_file is no run with checkpoints: it is a file;"),
        ("empty", "empty is no run with checkpoints: it is empty;"),
        ("mixed", "mixed is no run with checkpoints: it holds 0, 1, 2, 3, 4/ and 1 more; it must be"),
    ):
        if name == "a_file":
            (tmp_path / name).touch()
        elif name != "nowhere":
            (tmp_path / name).mkdir()
        if name == "mixed":
            (tmp_path / name / "4").mkdir()
            for number in "01235":
                (tmp_path / name / number).touch()
        with pytest.raises(errors.UserError, match=words):
            digits.load(tmp_path / name)
    with pytest.raises(errors.UserError, match="it holds quick/; runs below it: .*/quick$"):
        digits.load(workdir.parent)
    with pytest.raises(errors.UserError, match="'best' or 'latest'"):
        digits.load(workdir, "newest")


def test_the_tested_weights_are_loaded_or_none(workdir, tmp_path):
    """Without the checkpoint that was tested, other weights would stand beside its accuracy."""
    run = pathlib.Path(shutil.copytree(workdir, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "78")
    for make in (lambda path: None, lambda path: path.touch()):
        make(run / "checkpoints" / "78")
        with pytest.raises(errors.UserError, match="checkpoints/78 is missing, the checkpoint of the tested epoch 2"):
            digits.load(run)
    latest = digits.load(run, "latest")
    note = "the weights are of epoch 1, the test figures of epoch 2"
    assert latest.epoch == 1 and latest.notes == (note,) and note in latest._repr_html_()
    assert note in repr(latest.evaluate()) and digits.load(workdir, "latest").notes == ()


@pytest.mark.parametrize("late", [False, True])
def test_a_run_whose_training_replaces_its_checkpoints_meanwhile_is_read_again(workdir, tmp_path, monkeypatch, late):
    """It was read before the second epoch was saved, or a checkpoint is deleted after it was found."""
    run = Workdir(shutil.copytree(workdir, tmp_path / "run"))
    (run.path / "result.json").unlink()
    gone, here = [run.checkpoints / name for name in (("39", "78") if late else ("78", "39"))]
    aside = gone.rename(tmp_path / gone.name) if late else gone
    read, steps = Workdir.read, loading.Checkpoints.steps

    def train_on(*_):
        monkeypatch.undo()
        if late:
            aside.rename(gone)
        else:
            shutil.rmtree(gone)

    def records_of_the_first_epoch(files):
        records, result = read(files)
        train_on()
        return records[:1], result

    def steps_of_before(checkpoints):
        found = steps(checkpoints)
        train_on()
        return found

    if late:
        monkeypatch.setattr(Workdir, "read", records_of_the_first_epoch)
    else:
        monkeypatch.setattr(loading.Checkpoints, "steps", steps_of_before)
    loaded = digits.load(run.path, "latest")
    assert (loaded.epoch, len(loaded.records)) == ((2, 2) if late else (1, 2)) and here.is_dir()


def test_a_value_that_no_config_may_have_is_refused_in_a_recorded_one(workdir, tmp_path):
    for pattern in ("config.json", "checkpoints/78/about/metadata"):
        run = pathlib.Path(shutil.copytree(workdir, tmp_path / pattern.split("/")[0]))
        about = files.unseal(json.loads((run / pattern).read_text()))
        about["config"]["eval_batch_size"] = 0
        (run / pattern).write_text(json.dumps(files.seal(about)))
        with pytest.raises(errors.UserError, match="is damaged: its config.eval_batch_size is 0, which must be"):
            evaluation.evaluate(run)


def test_a_run_of_an_earlier_version_is_loaded_with_a_note(workdir, tmp_path):
    run = Workdir(shutil.copytree(workdir, tmp_path / "run"))
    records, result = run.read()
    for path in (run.path / "config.json", run.path / "result.json", *run.checkpoints.glob("*/about/metadata")):
        about = files.unseal(json.loads(path.read_text()))
        if "config" in about:
            del about["config"]["label_smoothing"], about["config"]["model"]["stride"]
        path.write_text(
            json.dumps(files.seal({key: value for key, value in about.items() if key not in ("run", "step")}))
        )
    files.write_records(run.path / "metrics.jsonl", records, None)
    loaded = digits.load(run.path)
    assert loaded.accuracy == result["test_accuracy"] and loaded.records == records and loaded.config.model.stride == 1
    assert "of an earlier version of digits" in loaded.notes[0] and loaded.notes[0] in loaded.evaluate().examples.notes
    assert evaluation.evaluate(run.path)["notes"] == list(loaded.notes)


@pytest.mark.slow
def test_half_a_run_is_one_sentence_or_loads_whole(workdir, tmp_path, capfd):
    """Each file in turn is cut in half, then gone: what Orbax still reads gives the same predictions."""
    images = data.load("optdigits").test_images[:3]
    whole, refused = digits.load(workdir).predict(images), 0
    copy = tmp_path / "copy"
    capfd.readouterr()
    for file in sorted(path for path in workdir.rglob("*") if path.is_file()):
        for content in (file.read_bytes()[: file.stat().st_size // 2], None):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(workdir, copy)
            damaged = copy / file.relative_to(workdir)
            damaged.unlink() if content is None else damaged.write_bytes(content)
            try:
                np.testing.assert_array_equal(digits.load(copy).predict(images), whole)
            except errors.UserError as error:
                refused += 1
                words = r"copied .*: copy|without (config|metrics)\.jsonl?: copy|cannot be read as JSON|it has \d of "
                assert re.search(words, str(error)), error
    assert refused >= 6 and "Traceback" not in capfd.readouterr().err


# Ensembles


# One program trains them all: they differ in numbers.
VALUES = {
    "a": {"seed": 0, "model.hidden_dropout": 0.2},
    "b": {"seed": 1, "model.hidden_dropout": 0.4},
    "c": {"seed": 2, "model.hidden_dropout": 0.3},
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """a, b and c are finished, d diverged, e is a run without a result, f has not begun."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("sweeps") / "dropout"
    config.epochs, config.augment.rotation = 1, 0.0  # Augmentation takes longest to compile.
    population.train_members([population.Member(with_values(config, v), folder / name) for name, v in VALUES.items()])
    (folder / "d").mkdir()
    (folder / "d" / "failure.json").write_text(json.dumps({"kind": "diverged", "message": "The loss became nan."}))
    shutil.copytree(folder / "a", folder / "e")
    (folder / "e" / "result.json").unlink()
    write_about(folder, "abcdef")
    return folder


def write_about(folder, names):
    values = VALUES | {"d": dict.fromkeys(VALUES["a"], 0), "e": VALUES["a"], "f": dict.fromkeys(VALUES["a"], 1)}
    members = [{"name": name, "values": values[name]} for name in names]
    about = {"config_file": "configs/base.py", "fields": list(VALUES["a"]), "members": members}
    about |= {"chooses": "val_accuracy", "validation_is_test": False}
    folder.mkdir(exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def images():
    return data.load("optdigits").test_images[:50]


def test_an_ensemble_of_a_sweep_predicts_the_mean_of_its_finished_members(sweep, images):
    ensemble = digits.load(sweep)
    assert [run.result["seed"] for run in ensemble.runs] == [0, 1, 2]
    assert ensemble.class_names == tuple("0123456789")
    members = [digits.load(sweep / name).predict(images) for name in "abc"]
    assert np.abs(members[0] - members[1]).max() > 0.01  # Otherwise a mean could not be told from a member.
    probabilities = ensemble.predict(images)
    assert probabilities.shape == (50, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, np.mean(np.float64(members), axis=0), atol=1e-7)
    np.testing.assert_allclose(ensemble.predict(images / 255.0, batch_size=20), probabilities, atol=1e-6)
    np.testing.assert_allclose(ensemble.predict(images[3]), probabilities[3], atol=1e-6)
    with pytest.raises(errors.UserError, match="shape"):
        ensemble.predict(np.zeros((5, 27, 28)))


@pytest.mark.parametrize(
    "wrong, words",
    [
        (np.full((2, 28, 28), 255.0), "values from 255 to 255, but floats must be from 0 to 1"),
        (np.full((28, 28), -0.5), "values from -0.5 to -0.5"),
        (np.full((28, 28), np.nan), "values from nan to nan"),
        (np.full((28, 28), 256), "whole numbers must be from 0 to 255"),
        (np.full((28, 28), -1), "whole numbers must be from 0 to 255"),
        (np.zeros((0, 28, 28)), r"shape \(0, 28, 28\)"),
        (np.full((28, 28), "a"), "type <U1"),
        ([[1], [2, 3]], "no array"),
    ],
)
def test_images_that_are_none_are_refused(wrong, words, sweep):
    with pytest.raises(errors.UserError, match=words):
        digits.load(sweep / "a").predict(wrong)


def test_images_in_black_and_white_or_with_a_rounding_error_are_images(sweep, images):
    run = digits.load(sweep / "a")
    white = images[0] > 127
    np.testing.assert_allclose(run.predict(white), run.predict(np.uint8(255) * white), atol=1e-6)
    for kind in (np.uint8, np.int64):  # As bytes they would be as good as black.
        np.testing.assert_allclose(run.predict(white.astype(kind)), run.predict(white), atol=1e-6)
    blank = np.zeros((28, 28), np.uint8)
    np.testing.assert_allclose(run.predict(blank), run.predict(blank.astype(bool)), atol=1e-6)
    np.testing.assert_allclose(run.predict(white * np.float32(1.0000001)), run.predict(white), atol=1e-5)


def test_a_list_of_runs_is_an_ensemble_without_those_that_are_not_finished(sweep):
    ensemble = digits.load([sweep / "c", str(sweep / "d"), sweep / "e", sweep / "a"], "latest")
    assert [run.result["seed"] for run in ensemble.runs] == [2, 0]
    assert len(digits.load((sweep / "b",)).runs) == 1


def test_members_that_differ_in_dropout_share_a_program_and_predict_as_their_own_networks(sweep, images):
    ensemble, before = digits.load(sweep), inference._logits._cache_size()
    count = 37  # Of no other test.
    logits = [run.logits(images[:count]) for run in ensemble.runs]
    assert inference._logits._cache_size() == before + 1
    for run, own in zip(ensemble.runs, logits, strict=True):
        expected = run.model(transforms.normalize(images[:count].astype(np.float32), "unit"))
        np.testing.assert_allclose(own, expected, atol=1e-5)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(families.parts(run.model)[1:]))


def test_what_makes_no_ensemble_says_why(sweep, tmp_path):
    write_about(tmp_path / "begun", "def")
    shutil.copytree(sweep / "d", tmp_path / "begun" / "d")
    with pytest.raises(errors.UserError, match="no finished run: its members are 1 diverged, 2 unfinished"):
        digits.load(tmp_path / "begun")
    with pytest.raises(errors.UserError, match="none of the 2 given is finished"):
        digits.load([sweep / "d", sweep / "e"])
    with pytest.raises(errors.UserError, match="none of the 0 given"):
        digits.load([])
    with pytest.raises(errors.UserError, match="nowhere is no run"):
        digits.load([sweep / "a", sweep / "nowhere"])
    with pytest.raises(errors.UserError, match=r"runs below it: .*/dropout \(a sweep\)$"):
        digits.load(sweep.parent)
    run = digits.load(sweep / "a")
    with pytest.raises(errors.UserError, match="same classes, but one has 0, 1, .* and another has cat, dog"):
        loading.Ensemble((run, dataclasses.replace(run, class_names=("cat", "dog"))))
    with pytest.raises(errors.UserError, match="finished run"):
        loading.Ensemble(())


@pytest.mark.parametrize("wrong", [5, None, [None], {"a": 1}])
def test_what_names_no_folder_is_refused(wrong):
    with pytest.raises(errors.UserError, match="must be a run's or a sweep's folder"):
        digits.load(wrong)


def test_a_name_that_is_too_long_is_refused(sweep):
    with pytest.raises(errors.UserError, match="File name too long"):
        digits.load(sweep / ("x" * 300))


def test_a_wrong_name_gets_the_runs_of_like_names_or_the_newest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("simple_cnn", "dense,seed=1", "dense,seed=2", "two_conv", "six", "seven", "eight")):
        about = tmp_path / "runs" / name / "config.json"
        about.parent.mkdir(parents=True)
        about.touch()
        os.utime(about, (1000 - age, 1000 - age))
    (tmp_path / "runs" / "six" / "config.json").rename(tmp_path / "runs" / "six" / "sweep.json")
    (tmp_path / "runs" / "six" / "seed=0").mkdir()
    (tmp_path / "runs" / "six" / "seed=0" / "config.json").touch()

    def hint(name):
        with pytest.raises(errors.UserError) as error:
            digits.load(name)
        start, _, hint = str(error.value).partition("there is nothing of that name; ")
        assert start == f"{name} is no run with checkpoints: "
        return hint.splitlines()

    assert hint("simple_cnn") == ["did you mean runs/simple_cnn?"]
    assert hint("runs/simple_cn") == ["did you mean runs/simple_cnn?"]
    assert hint("dense") == ["did you mean one of these?", "  runs/dense,seed=1", "  runs/dense,seed=2"]
    newest = ["runs/simple_cnn", "runs/dense,seed=1", "runs/dense,seed=2", "runs/two_conv", "runs/six (a sweep)"]
    assert hint("other") == ["the newest runs are:", *(f"  {name}" for name in newest)]


def test_a_network_of_compiled_convolutions_can_be_had_where_they_cannot_be_compiled(monkeypatch):
    """Its weights are the same; a run that was trained so elsewhere must load."""
    monkeypatch.setattr(native, "available", lambda: False)
    monkeypatch.setattr(native, "problem", lambda: "no C++ compiler was found")
    config = tiny_config()
    config.model.family, config.model.blocks, config.model.kernel_size = "cnn", ((4,),), 3
    found = []
    for convolution in ("native", "dot"):
        config.model.convolution = convolution
        found.append(loading._structure(json.dumps(config_to_json(config)["model"]), 10)[1:])
    assert jax.tree.map(lambda array: array.shape, found[0]) == jax.tree.map(lambda array: array.shape, found[1])
    config.model.convolution = "native"
    with pytest.raises(errors.UserError, match="it must be auto, stock or dot here"):
        families.check(config.model)  # To train it there is refused.
