"""Loaded runs and ensembles present themselves: in a line, in a notebook, by their figures and curves."""

import dataclasses
import json
import re
import shutil

from IPython.core.formatters import DisplayFormatter
import numpy as np
import pytest

import digits
from digits import data
from digits.config.values import to_json
from digits.models import summary
from digits.reports import evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of an experiment, and the folders of its runs: `first`, and `second` with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.py").write_text("from tests.conftest import tiny_config as get_config\n")
    changes = {"augment.rotation": 0, "model.hidden": (8,)}
    for name, seed in (("first", 0), ("second", 1)):
        digits.train(folder / "tiny.py", changes, epochs=2, seed=seed, workdir=folder / name)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return digits.load(folder / "first")


@pytest.fixture(scope="module")
def ensemble(folder):
    return digits.load([folder / "first", folder / "second"])


def test_a_run_shows_itself_in_a_line(run, folder):
    accuracy = json.loads((folder / "first" / "result.json").read_text())["test_accuracy"]
    assert repr(run) == (
        f"Run(tiny, augment.rotation=0.0, model.hidden=(8,), seed=0, 2 epochs, test accuracy {accuracy:.4f})"
    )
    assert run.accuracy == accuracy and run.accuracy_interval[0] < accuracy < run.accuracy_interval[1]
    assert run.path == folder / "first" and run.name == "tiny" and run.changes["seed"] == 0
    assert run.parameters == sum(layer.trainable for layer in summary.describe(run.model))
    assert not {name for name in ("Array", "array", "Param") if name in repr(run)}


def test_an_unfinished_run_says_how_far_it_is(folder, tmp_path):
    shutil.copytree(folder / "first", tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()
    about = json.loads((tmp_path / "half" / "config.json").read_text())
    run = dataclasses.replace(digits.load(tmp_path / "half"), records=[{"epoch": 1, "seconds": 1.0}])
    assert about["overrides"] == to_json(run.changes)
    assert repr(run).endswith(", 1 of 2 epochs, unfinished)") and run.accuracy is None
    assert ">unfinished<" in run._repr_html_() and ">1 of 2<" in run._repr_html_()


def test_a_notebook_shows_a_table_and_the_curves(run, ensemble):
    shown = DisplayFormatter().format(run)[0]
    assert shown["text/plain"] == repr(run)
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", shown["text/html"])
    low, high = run.accuracy_interval
    assert dict(zip(cells[::2], cells[1::2])) == {
        "experiment": "tiny",
        "changed": "augment.rotation = 0.0, model.hidden = (8,), epochs = 2, seed = 0",
        "epochs": "2",
        "test accuracy": f"{run.accuracy:.4f} (95% interval {low:.4f} to {high:.4f})",
        "parameters": f"{run.parameters:,}",
        "training": f"{run.result['seconds']:,.1f} s",
        "folder": str(run.path),
    }
    assert shown["text/html"].count("<polyline") == 2
    table = ensemble._repr_html_()
    assert f"2 runs, test accuracy {ensemble.accuracy} each" in table and table.count("<tr>") == 3


def test_texts_of_others_are_no_html(run):
    wrong = dataclasses.replace(run, name="<script>", changes={"<b>": "&"})
    assert "<script>" not in wrong._repr_html_() and "<b>" not in wrong._repr_html_()


def test_an_ensemble_shows_a_line_a_member(ensemble):
    first, *members = repr(ensemble).splitlines()
    assert first == f"Ensemble(2 runs, test accuracy {ensemble.accuracy} each):"
    assert [line.strip() for line in members] == [repr(run) for run in ensemble.runs]
    assert ensemble.paths == tuple(run.path for run in ensemble.runs)


def test_an_ensemble_has_the_histories_of_its_members_and_their_curves(ensemble):
    assert ensemble.history.index.names == ["run", "epoch"] and len(ensemble.history) == 4
    assert ensemble.history.loc[(1, 2), "accuracy"] == ensemble.runs[1].records[1]["accuracy"]
    figure = ensemble.plot()
    line = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(line, ensemble.history.groupby("epoch").mean()["loss"])


@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_a_run_evaluates_itself_as_the_command_does(run, split):
    mine, command = run.evaluate(split), evaluation.evaluate(run.path, split)
    assert (mine.accuracy, mine.loss, mine.n) == (command["accuracy"], command["loss"], command["n"])
    assert mine.accuracy_interval == command["accuracy_interval"] and mine.per_class == command["per_class"]
    assert mine.confusion.tolist() == command["confusion"]
    if split == "test":
        assert (mine.accuracy, mine.loss) == (run.accuracy, run.result["test_loss"])
        low, high = mine.accuracy_interval
        assert repr(mine) == (
            f"Evaluation(360 test images: accuracy {mine.accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}, "
            f"loss {mine.loss:.4f})"
        )
        assert mine._repr_html_().count("<tr>") == 11


def test_an_ensemble_is_evaluated_by_its_mean(ensemble):
    found, labels = ensemble.evaluate(), data.load("optdigits").test_labels
    mean = ensemble.predict(data.load("optdigits").test_images)
    assert found.accuracy == np.mean(mean.argmax(-1) == labels)
    np.testing.assert_allclose(found.loss, -np.log(mean[np.arange(360), labels]).mean(), rtol=1e-5)


def with_config(run, **values):
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.update(values)
    return dataclasses.replace(run, config=config)
