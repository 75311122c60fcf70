"""The batched program and its places."""

import jax.numpy as jnp
import numpy as np

from digits import data
from digits.config.values import with_values
from digits.sweeps.batched import BatchedProgram
from digits.training.program import Shared


def test_places_without_a_member_get_a_copy_and_lanes_come_back(tiny):
    dataset = data.load("optdigits")
    shared, said = Shared(lambda: dataset), []
    tiny.data.validation, tiny.batch_size = "folds(3)", 400
    program = BatchedProgram(tiny, shared, 3, said.append)
    assert program.size == 3 and not said
    own = [with_values(tiny, {"seed": seed, "data.fold": seed}) for seed in (0, 1)]
    program.load([program.program.init(config) for config in own])
    orders = [program.order(config.data, program.program.order(config.seed, 1)) for config in own]
    for config, order in zip(own, orders, strict=True):
        assert sorted(np.asarray(order)) == list(data.indices(dataset, config.data)[0])
    assert sum(program.run(orders)) == 958
    states = [program.lane(index) for index in range(3)]
    assert [int(state.seed) for state, _ in states] == [0, 1, 1]
    assert [int(totals.loss.count) for _, totals in states] == [958] * 3
    program.begin_epoch([jnp.float32(0.5), jnp.float32(0.25)])
    assert [float(program.lane(index)[0].learning_rate) for index in range(3)] == [0.5, 0.25, 0.25]
    assert not np.any(program.totals.loss.count)
