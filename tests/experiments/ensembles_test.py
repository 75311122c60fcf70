"""Ensembles of a record's seeds: their members, their accuracies, the images that are missed, the page."""

import json

import numpy as np
import pytest

from digits.errors import UserError
from experiments import ensembles
from experiments.rendering import records as tables
from experiments.rendering.results import Results
from experiments.studies import records
from tests.conftest import ROOT


def one_hot(predictions):
    return np.eye(10, dtype=np.float32)[np.asarray(predictions)]


def test_nine_copies_are_shifted_by_up_to_a_pixel_and_lose_what_leaves_the_image():
    images = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3)
    copies = list(ensembles.shifted(images))
    assert len(copies) == 9 and (copies[4] == images).all()
    np.testing.assert_array_equal(copies[0][0], [[0, 0, 0], [0, 1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(copies[5][0], [[2, 3, 0], [5, 6, 0], [8, 9, 0]])


def test_ensembles_share_no_network_where_there_are_enough():
    members, apart = ensembles.groups(100)
    assert apart and sorted(sum(members, [])) == list(range(100))
    members, apart = ensembles.groups(30)
    assert not apart and [len(set(group)) for group in members] == [10] * 10
    with pytest.raises(UserError, match="at least 11 finished seeds, but there are 10"):
        ensembles.groups(10)


def test_an_ensemble_outvotes_its_members():
    labels = np.arange(12) % 9
    predictions = np.tile(labels, (12, 1))
    np.fill_diagonal(predictions, 9)  # Each network misses an image of its own.
    result = ensembles.together(one_hot(predictions), one_hot(predictions), labels)
    assert result["single"] == pytest.approx([11 / 12] * 12)
    assert result["ensembles"] == result["ensembles_shifted"] == [1.0] * 10


def test_every_miss_is_counted():
    labels = np.array([3, 5, 7])
    predictions = np.tile(labels, (12, 1))
    predictions[0, 0], predictions[1:, 2] = 8, 1  # One network misses the first image, all but one the last.
    plain = one_hot(predictions)
    result = ensembles.together(plain, one_hot(np.tile(labels, (12, 1))), labels)
    assert result["single"][:2] == pytest.approx([2 / 3, 2 / 3]) and result["single_shifted"] == [1.0] * 12
    assert result["ensembles"] == pytest.approx([2 / 3] * 10) and result["ensembles_shifted"] == [1.0] * 10
    assert result["missed"] == [
        {"image": 2, "label": 7, "missed": 11, "taken_for": 1},
        {"image": 0, "label": 3, "missed": 1, "taken_for": 8},
    ]


def test_the_page_has_the_ensembles_and_the_disputed_labels():
    missed = [
        {"image": image, "label": 0, "missed": count, "taken_for": 1} for image, count in ((947, 12), (1, 11), (2, 2))
    ]
    result = dict.fromkeys(("single", "single_shifted"), [0.99] * 12) | {"apart": False, "missed": missed}
    result |= dict.fromkeys(("ensembles", "ensembles_shifted"), [0.995] * 10) | {"members": [list(range(10))] * 10}
    nothing = Results(*({arm.name: [] for arm in records.STUDY.arms} for _ in ("members", "diverged")))
    page = tables.page("<!-- ensembles -->\nold\n<!-- /ensembles -->\n", nothing, {}, {"one": result})
    assert "| 12 of `one` | 0.9900 ± 0.0000 |" in page and "| 10, which overlap |" in page
    assert "`one` miss 2 test images; 1 of these have one of the 15 disputed labels." in page


def test_the_published_ensembles_hold_the_recorded_networks():
    files = sorted((ROOT / "experiments" / "results" / "ensembles").glob("*.json"))
    recorded = json.loads((ROOT / "experiments" / "results" / "records_study.json").read_text())
    assert files
    for file in files:
        single = json.loads(file.read_text())["single"]
        members = recorded["arms"][file.stem]["members"]
        assert single == pytest.approx([member["result"]["test_accuracy"] for member in members])


def test_a_folder_without_runs_is_one_sentence(tmp_path, capsys):
    assert ensembles.main(["ensembles", str(tmp_path / "none")]) == 2
    assert "must be one folder of runs" in capsys.readouterr().err
    assert ensembles.main(["ensembles", str(tmp_path)]) == 2
    assert "at least 11 finished seeds, but there are 0" in capsys.readouterr().err
