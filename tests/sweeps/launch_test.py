"""A whole sweep is checked before any of its runs is trained; tests/sweep_test.py trains some."""

import pytest

from digits import data
from digits.config.values import with_values
from digits.errors import UserError
from digits.sweeps import launch, plan
from tests.conftest import tiny_config


def planned(folder, *values):
    config = tiny_config()
    configs = [with_values(config, own) for own in values]
    return plan.Plan(config, {"config_file": "tiny.py", "overrides": {}}, folder, list(values), configs)


@pytest.fixture(scope="module")
def datasets():
    return {"optdigits": data.load("optdigits")}


def test_members_of_one_structure_share_a_program(tmp_path, datasets):
    made = planned(tmp_path, *({"model.hidden": (width,), "seed": seed} for width in (8, 12) for seed in (0, 1)))
    assert launch.check(made, datasets) == ([1149] * 4, 2)
    folds = planned(tmp_path, *({"data.validation": f"last({count})"} for count in (37, 437)))
    assert launch.check(folds, datasets) == ([1400, 1000], 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values, words",
    [
        ({"epochs": 0}, "The point epochs=0 cannot be trained: config.epochs is 0"),
        ({"batch_size": 5000}, "config.batch_size is 5000, but it must be at most the 1,149"),
        ({"model.hidden": (20_000, 20_000)}, "config.model describes a network of 416,"),
        ({"data.validation": "last(1437)"}, "leaves some of the 1437 examples on each side"),
    ],
)
def test_a_point_that_cannot_be_trained_is_named(values, words, tmp_path, datasets):
    with pytest.raises(UserError, match=f"The point {next(iter(values)).rpartition('.')[2]}=") as error:
        launch.check(planned(tmp_path, values), datasets)
    assert words in str(error.value)
