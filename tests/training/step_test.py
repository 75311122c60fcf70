"""The engine: streams, shuffling, and the compiled epoch against the same steps taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from digits import data, models
from digits.models import families
from digits.training import step
from tests.conftest import slow


def test_streams_differ_by_seed_purpose_and_index_and_repeat():
    keys = {
        tuple(np.asarray(jax.random.key_data(step.stream(seed, purpose, index))).tolist())
        for seed in (0, 1)
        for purpose in ("params", "shuffle", "augment", "dropout")
        for index in (0, 1)
    }
    assert len(keys) == 16
    traced = jax.jit(step.stream, static_argnums=1)(jnp.int32(1), "dropout", jnp.int32(7))
    assert jax.random.key_data(traced).tolist() == jax.random.key_data(step.stream(1, "dropout", 7)).tolist()


def test_every_epoch_has_its_own_permutation():
    one, two = (np.asarray(step.shuffled(np.int32(0), epoch, 1000)) for epoch in (1, 2))
    assert sorted(one) == sorted(two) == list(range(1000)) and not np.array_equal(one, two)


@pytest.mark.parametrize("examples, batch", [(53, 10), *slow((50, 10), (10, 10))])
def test_the_compiled_epoch_takes_every_step_once_with_the_partial_batch(tiny, examples, batch):
    # Not Adam, which divides by the gradient's size: where BatchNorm makes a gradient zero it would enlarge rounding.
    tiny.optimizer.name, tiny.optimizer.momentum, tiny.optimizer.learning_rate = "sgd", 0.9, 0.05
    dataset = data.load("optdigits")
    images, labels = jnp.asarray(dataset.train_images[:examples]), jnp.asarray(dataset.train_labels[:examples])
    steps = -(-examples // batch)
    model = models.outline(tiny.model, 10)
    train_step = step.make_train_step(tiny, families.parts(model)[0], steps)
    run = jax.jit(step.make_run_steps(train_step, examples, batch))
    start = step.init_state(tiny, 10), step.TrainMetrics.empty()
    order = step.shuffled(np.int32(0), 1, examples)
    whole, totals = run(*start, (images, labels), order, 0, steps)
    assert whole.step == steps and totals.loss.count == totals.accuracy.count == examples
    # In pieces the same program runs: the same bits.
    pieces = start
    bounds = sorted({0, 1, steps - 1, steps})
    for first, last in zip(bounds, bounds[1:]):
        pieces = run(*pieces, (images, labels), order, first, last)
    for a, b in zip(jax.tree.leaves((whole, totals)), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_array_equal(a, b)
    # One by one it is another program: equal up to rounding.
    state, loss = start[0], 0.0
    take = jax.jit(train_step)
    for first in range(0, examples, batch):
        index = order[first : first + batch]
        state, metrics = take(state, (images[index], labels[index].astype(jnp.int32)))
        loss += metrics.loss.total
    np.testing.assert_allclose(totals.loss.total, loss, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def of_step(loss, correct, count):
    return step.TrainMetrics.single_from_model_output(loss=jnp.float32(loss), correct=jnp.int32(correct), count=count)


def test_metrics_are_exact_to_the_last_count():
    """Beyond 2^24, where float32 has no odd numbers left."""
    totals = step.TrainMetrics.empty()
    for loss, correct, count in ((1.0, 2**24, 2**25), (2.5, 1, 2**25)):
        totals = totals.merge(of_step(loss, correct, count))
    assert int(totals.accuracy.total) == 2**24 + 1 and int(totals.loss.count) == 2**26
    found = jax.device_get(totals).compute()
    assert found == {"loss": 1.75, "accuracy": (2**24 + 1) / 2**26, "steps_lost": 0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])  # The last is finite, but its sum over the images is not.
def test_steps_are_lost_from_the_first_loss_on_that_is_not_finite(bad):
    totals = step.TrainMetrics.empty()
    for loss, lost in ((1.0, 0), (bad, 1), (1.0, 2), (1.0, 3)):
        totals = totals.merge(of_step(loss, 3, 4))
        assert int(totals.steps_lost.compute()) == lost


def test_deterministic_operations_are_asked_for_on_a_gpu_alone(monkeypatch):
    """Also where an option that only makes it faster is not known; XLA here knows the one that is needed."""
    asked = []

    class Lowered:
        def compile(self, compiler_options):
            asked.append(compiler_options)
            if "xla_cpu_experimental_ynn_fusion_type" in compiler_options:
                raise jax.errors.JaxRuntimeError("no such option")

    config = base.get_config()
    config.deterministic = True
    step.compile_steps(Lowered(), config)
    assert asked[-1] == {}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    step.compile_steps(Lowered(), config)
    assert asked[-1] == {"xla_gpu_deterministic_ops": True}
    options = step.compiler_options(config)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
    with pytest.raises(jax.errors.JaxRuntimeError):
        jax.jit(lambda x: x + 1, compiler_options={name + "x": True for name in options})(1)
    config.deterministic = False
    step.compile_steps(Lowered(), config)
    assert asked[-1] == {}
