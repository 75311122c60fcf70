"""The mean of means of experiments/progress_bar.py."""

import pytest

from digits import data, record, train
from experiments import progress_bar
from tests.conftest import tiny_config


def test_both_means_are_of_the_first_epoch(tmp_path):
    config = tiny_config()
    config.epochs = 1
    dataset = data.load("optdigits")
    found = progress_bar.first_epoch(config, dataset)
    train.train_and_evaluate(config, tmp_path / "run")
    (line,) = record.Workdir(tmp_path / "run").history()
    # The loss falls, so that the mean of means is above the mean; the mean is the one that is recorded.
    assert found["loss"][1] == pytest.approx(line["loss"], rel=1e-6) and found["loss"][0] > 1.01 * line["loss"]
    assert found["accuracy"][1] == pytest.approx(line["accuracy"], rel=1e-6)
    assert found["accuracy"][0] < 0.99 * line["accuracy"]
