"""Tests of JudgedRun: the files it reads, the data that several share, the folder of its pictures."""

import json

import numpy as np
from PIL import Image
import pytest

from digits import data
from digits.analysis.figures import sheet
from digits.config.values import config_to_json
from digits.errors import UserError
from digits.reports.judged_run import JudgedRun, SharedByRuns, write_pictures
from digits.runs import files
from tests.conftest import tiny_config


@pytest.fixture
def begun(tmp_path):
    """A function that writes config.json of a run, with other fields or data; nothing is trained."""

    def write(name="run", digest=None, **fields):
        config = tiny_config()
        for field, value in fields.items():
            config.data[field] = value
        counts = {"digest": digest or data.load("optdigits").digest(), "train": 1078, "validation": 359, "test": 360}
        about = {"run": "5f3a", "config_file": None, "overrides": {}, "data": counts, "config": config_to_json(config)}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(about))
        return tmp_path / name

    return write


def test_runs_share_a_dataset_and_split_it_as_their_configs_say(begun, tmp_path, monkeypatch):
    loaded, load = [], data.load
    monkeypatch.setattr(data, "load", lambda *args: loaded.append(args) or load(*args))
    shared = SharedByRuns(str(tmp_path))
    half, fold = begun("half", validation="last(700)"), begun("fold", validation="folds(3)", fold=1)
    loaded.clear()
    of_half, of_fold = JudgedRun(half, shared, "validation"), JudgedRun(fold, shared, "validation")
    dataset = of_half.dataset
    np.testing.assert_array_equal(of_half.examples.images, dataset.train_images[-700:])
    np.testing.assert_array_equal(of_fold.examples.labels, data.split(dataset, of_fold.config.data).validation[1])
    np.testing.assert_array_equal(of_half.examples.labels, dataset.train_labels[-700:])
    np.testing.assert_array_equal(JudgedRun(half, shared).examples.images, dataset.test_images)
    assert loaded == [("optdigits", str(tmp_path))] and list(shared.datasets) == ["optdigits"]


def test_without_validation_images_there_is_nothing_to_judge_on(begun):
    judged = JudgedRun(begun(validation="none"), SharedByRuns(), "validation")
    with pytest.raises(UserError, match="validation was 'none', so .* --split must be test or train"):
        _ = judged.examples


def test_other_data_and_validation_on_the_test_set_are_noted(begun):
    shared = SharedByRuns()
    assert JudgedRun(begun("plain"), shared).notes == []
    odd = begun("odd", digest="0", validation="test")
    other, unseen = JudgedRun(odd, shared).notes
    assert other.startswith("optdigits is not what it was when the run was trained on it") and "SHA-256" in other
    assert unseen == "validation was the test set: no figure here is of unseen images"
    assert JudgedRun(odd, shared, "train").notes == [other]


def test_a_run_that_is_not_finished_is_judged_by_its_last_epoch(begun):
    run = begun()
    assert JudgedRun(run, SharedByRuns()).tested == {}
    files.write_records(run / "metrics.jsonl", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}], "5f3a")
    judged = JudgedRun(run, SharedByRuns())
    assert judged.result is None and judged.tested["loss"] == 0.4
    assert judged.class_names == tuple("0123456789") and sum(layer.trainable for layer in judged.layers) > 1000


def test_documented_epochs_are_found_for_the_projects_experiments_alone(begun):
    made = []

    def of(file, source):
        path = begun(str(len(made))) / "config.json"
        made.append(path)
        about = json.loads(path.read_text())
        about["config_file"], about["config"]["documented"]["source"] = file, source
        path.write_text(json.dumps(about))
        return JudgedRun(path.parent, SharedByRuns()).documented

    assert len(of("configs/simple_cnn.py", "notebook 004, lines 1519-1524")["val_accuracy"]) == 10
    assert of("elsewhere/simple_cnn.py", "") is None and of("configs/tiny.py", "notebook 004, line 1") is None


def test_pictures_are_written_and_those_of_mistakes_removed_where_there_are_none(tmp_path):
    folder, png = tmp_path / "new" / "figures", sheet.png(np.zeros((5, 7), np.uint8))
    names = ["confusion", "mistakes", "doubtful", "robustness"]
    assert write_pictures(folder, dict.fromkeys(names, png)) == [str(folder / f"{name}.png") for name in names]
    for name in names:
        assert Image.open(folder / f"{name}.png").size == (7, 5)
    write_pictures(folder, {"confusion": png, "doubtful": png})
    assert sorted(path.stem for path in folder.iterdir()) == ["confusion", "doubtful", "robustness"]


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"confusion\.png cannot be written \("):
        write_pictures(tmp_path / "file" / "figures", {"confusion": b""})
