"""Several runs loaded at once: what an ensemble predicts, who belongs to it, and that its members share a program."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import digits
from digits import data, errors
from digits.config.values import config_to_json, with_values
from digits.data import transforms
from digits.models import families, inference
from digits.models.ops import native
from digits.runs import loading
from digits.sweeps import population
from tests.conftest import tiny_config

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
    values = dict.fromkeys(VALUES["a"], 0)
    members = [{"name": name, "values": VALUES.get(name, values)} for name in names]
    about = {"config_file": "configs/base.py", "fields": list(values), "members": members}
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
    with pytest.raises(errors.UserError, match=r"runs below it: dropout \(a sweep\)\.$"):
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


def test_a_name_that_is_too_long_is_refused_and_a_wrong_one_gets_its_neighbours(sweep):
    with pytest.raises(errors.UserError, match="File name too long"):
        digits.load(sweep / ("x" * 300))
    with pytest.raises(errors.UserError, match="nothing of that name beside a, b, c"):
        digits.load(sweep / "aa")


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
