"""The figures that the notebooks printed are found for the project's experiments, and for no other config."""

import pytest

from configs import base, dense_batch_128_as_written, simple_cnn
from digits.config.values import config_from_json, config_to_json
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


def changed(config, **values):
    with config.unlocked():
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in values.items()})
    return config


def test_a_run_of_an_experiment_as_it_is_differs_in_nothing():
    for module in (simple_cnn, dense_batch_128_as_written):  # The second shares its source with three others.
        config = changed(module.get_config(), seed=7, tensorboard=False, population__sharing="batched")
        assert documented.differing_fields(config, ["seed", "tensorboard"]) == []
        assert documented.differing_fields(config_from_json(config_to_json(config))) == []


def test_a_changed_experiment_differs_also_where_a_file_changed_it():
    config = changed(simple_cnn.get_config(), epochs=1, model__kernel_size=5, seed=7)
    assert documented.differing_fields(config) == ["epochs", "model.kernel_size"]


def test_an_override_that_changes_nothing_does_not_count():
    assert documented.differing_fields(simple_cnn.get_config(), ["epochs"]) == []


def test_a_field_that_an_earlier_version_lacked_does_not_count():
    config = simple_cnn.get_config()
    with config.unlocked():
        del config.label_smoothing
    assert documented.differing_fields(config) == []


def test_figures_of_ones_own_belong_to_ones_own_file():
    config = changed(base.get_config(), documented__source="my thesis, page 3", epochs=2)
    assert documented.differing_fields(config) == []
    assert documented.differing_fields(config, ["seed", "epochs"]) == ["epochs"]


def test_without_the_experiments_there_are_none(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    documented.reported.cache_clear()
    try:
        assert documented.reported() == {} and documented.curves("simple_cnn.py", SOURCE) is None
    finally:
        documented.reported.cache_clear()
