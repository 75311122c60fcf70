"""benchmarks/devices.py: how far apart weights are, and the picture of losses."""

import numpy as np
import pytest

from benchmarks import devices
from tests.conftest import slow


def test_differences_are_relative_to_the_size_of_all_and_of_each_array():
    one = {"kernel": np.array([3.0, 4.0]), "bias": np.array([0.5])}
    other = {"kernel": np.array([3.0, 4.0]), "bias": np.array([0.6])}
    together, worst = devices.differences(one, other)
    assert together == pytest.approx(0.1 / np.sqrt(25.25)) and worst == pytest.approx(0.2)
    assert devices.differences(one, one) == (0, 0)


def test_the_picture_shows_every_number_of_devices():
    losses = {count: [1.0, 0.5, 0.25] for count in devices.DEVICES}
    picture = devices.picture({"title": "x", "losses": losses})
    assert picture.startswith(b"\x89PNG")
    assert picture != devices.picture({"title": "x", "losses": losses | {8: [1.0, 0.5, 0.2]}})


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["simpel_cnn"], "'simpel_cnn' is no config"),
        *slow(([], "No config is named"), (["--folder=/x"], "/x"), (["simple_cnn", "--set=seed"], "FIELD=VALUE")),
    ],
)
def test_mistakes_give_one_sentence(arguments, words, run_module):
    done = run_module("benchmarks.devices", *arguments)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.strip().splitlines()) == 1
