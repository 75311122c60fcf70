"""What the runs on a device share: examples and programs."""

import jax
import numpy as np
import pytest

from digits import data
from digits.config.values import with_values
from digits.training import step
from digits.training.program import Shared


@pytest.fixture
def shared():
    dataset = data.load("optdigits")
    return Shared(lambda: dataset)


def test_configs_of_one_structure_and_size_share_a_program(tiny, shared):
    tiny.data.validation = "folds(4)"  # 1,437 examples: one fold of 360, three of 359.

    def program(values):
        return shared.program(config := with_values(tiny, values), shared.examples(config))

    first = program({"data.fold": 1})
    assert program({"data.fold": 2, "seed": 5, "optimizer.learning_rate": 0.1}) is first
    assert program({"data.fold": 0}) is not first and program({"model.hidden": (8,)}) is not first


def test_examples_are_kept_for_the_latest_runs_only(tiny, shared):
    tiny.data.validation = "folds(5)"
    folds = [shared.examples(with_values(tiny, {"data.fold": fold})) for fold in range(5)]
    assert shared.examples(with_values(tiny, {"data.fold": 4})) is folds[4]
    assert shared.examples(with_values(tiny, {"data.fold": 0})) is not folds[0]
    train, held = data.indices(shared.dataset(), with_values(tiny, {"data.fold": 3}).data)
    np.testing.assert_array_equal(folds[3].train[0], shared.dataset().train_images[train])
    np.testing.assert_array_equal(folds[3].validation[1], shared.dataset().train_labels[held])
    assert folds[3].about["train"] == len(train) == 1150 and folds[3].about["test"] == 360


def test_a_program_starts_each_config_with_its_own_numbers(tiny, shared):
    program = shared.program(tiny, shared.examples(tiny))
    other = with_values(tiny, {"seed": 4, "optimizer.learning_rate": 0.5, "model.hidden_dropout": 0.4})
    state, totals = program.init(other)
    expected = step.init_state(other, 10)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert totals.compute().keys() == {"loss", "accuracy", "steps_lost"} and totals.loss.count == totals.loss.total == 0
    tiny.schedule.name, tiny.schedule.decay = "inverse_time", 0.5
    program = shared.program(tiny, shared.examples(tiny))
    state = program.init(with_values(tiny, {"schedule.decay": 2.0}))[0].replace(step=np.int32(4))
    assert program.learning_rate(state) == pytest.approx(1e-3 / (1 + 2 * 3))  # Of the fourth step.
