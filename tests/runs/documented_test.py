"""The figures that the notebooks printed are found for the project's experiments, and for no other config."""

import pytest

from configs import simple_cnn
from digits.runs import documented

SOURCE = simple_cnn.get_config().documented.source


def test_the_curve_of_an_experiment_is_that_of_its_notebook():
    curve = documented.curves("somewhere/simple_cnn.py", SOURCE)
    assert curve["val_accuracy"] == documented.reported()["simple_cnn"]["history"]["val_accuracy"]
    assert len(curve["val_accuracy"]) == len(curve["loss"]) > 1


@pytest.mark.parametrize(
    "file, source", [("mine.py", SOURCE), ("simple_cnn.py", ""), ("simple_cnn.py", "notebook 0, line 1")]
)
def test_a_config_of_ones_own_has_none_even_under_a_name_of_the_project(file, source):
    assert documented.curves(file, source) is None


def test_without_the_experiments_there_are_none(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    documented.reported.cache_clear()
    try:
        assert documented.reported() == {} and documented.curves("simple_cnn.py", SOURCE) is None
    finally:
        documented.reported.cache_clear()
