"""The mean of means of experiments/progress_bar.py."""

import pytest

from digits import data
from digits.runs.workdir import Workdir
from digits.training import train
from experiments import progress_bar
from tests.conftest import tiny_config


def test_both_means_are_of_each_epoch(tmp_path):
    config = tiny_config()
    config.epochs = 2
    dataset = data.load("optdigits")
    found = list(progress_bar.epochs(config, dataset))
    train.train_and_evaluate(config, tmp_path / "run")
    for line, means in zip(Workdir(tmp_path / "run").history(), found, strict=True):
        # The loss falls, so that the mean of means is above the mean; the mean is the one that is recorded.
        assert means["loss"][1] == pytest.approx(line["loss"], rel=1e-6) and means["loss"][0] > 1.01 * line["loss"]
        assert means["accuracy"][1] == pytest.approx(line["accuracy"], rel=1e-6)
        assert means["accuracy"][0] < 0.99 * line["accuracy"]


def test_an_unknown_name_is_one_sentence(capsys):
    assert progress_bar.main(["progress_bar", "deep_cnn"]) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "error: 'deep_cnn' is no config of notebook 004, which are simple_cnn, simple_cnn_dropout, "
        "simple_cnn_batchnorm."
    ]
