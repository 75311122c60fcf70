"""Populations: a member is its single run, whatever shares the device with it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import five_conv, simple_cnn
import digits
from digits import models
from digits.config import numbers as config_numbers
from digits.config.values import config_to_json, with_values
from digits.models import families
from digits.runs import locks
from digits.runs.workdir import Workdir
from digits.runtime import memory
from digits.runtime.signals import Interrupted, Listener
from digits.sweeps import batched, population
from digits.training import step, train
from tests.conftest import ROOT, slow, slow_but, tiny_config

# Seeds, folds, rates, and every kind of number.
VALUES = [
    {"seed": 0, "data.fold": 0, "optimizer.learning_rate": 0.01, "model.hidden_dropout": 0.2},
    {"seed": 1, "data.fold": 1, "optimizer.momentum": 0.5, "model.hidden_dropout": 0.4, "label_smoothing": 0.2},
    {"seed": 2, "data.fold": 2, "augment.rotation": 15.0, "model.hidden_l2": 1e-2, "schedule.factor": 0.1},
]


@contextlib.contextmanager
def code_for_users():
    """Compiles with XLA's own choice of code: that of tests/conftest.py adds in orders that differ more between
    programs.
    """
    option = "xla_cpu_use_fusion_emitters"
    given = {option: True} if option in os.environ.get("XLA_FLAGS", "") else {}  # Another XLA may not know it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "compiler_options", lambda config: given)
        yield


@pytest.fixture(scope="module", autouse=True)
def compiled_as_for_users():
    with code_for_users():
        yield


@pytest.fixture
def folds(tiny):
    return with_folds(tiny)


def with_folds(tiny):
    tiny.data.validation = "folds(3)"  # Of 1,437: three of 479.
    # Not Adam, which divides by the gradient's size: where BatchNorm makes a gradient zero it would enlarge rounding.
    tiny.optimizer.name, tiny.optimizer.momentum, tiny.optimizer.learning_rate = "sgd", 0.9, 0.05
    tiny.model.hidden_l2, tiny.label_smoothing = 1e-3, 0.1
    tiny.schedule.name, tiny.schedule.patience, tiny.schedule.factor = "plateau", 1, 0.5
    tiny.schedule.min_delta = 10.0  # Nothing is better than the first epoch.
    tiny.early_stopping.restore_best = True
    return tiny


def members(config, folder, values=VALUES, **forced):
    forced = {f"population.{key}": value for key, value in forced.items()}
    return [population.Member(with_values(config, v | forced), folder / str(i)) for i, v in enumerate(values)]


def arrays(workdir, which="latest"):
    run = digits.load(workdir, which)
    return jax.tree.leaves(families.parts(run.model)[1:])


def close(a, b, tolerance=1e-5):
    """Equal up to a share of the largest value: after some sixty steps, each with its own order of summation."""
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(np.asarray(a)).max())


def untimed(workdir):
    times = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in times} for line in Workdir(workdir).history()]


class Watcher(population.Watcher):
    def __init__(self):
        self.said, self.counted, self.ended = [], 0, []

    def say(self, text):
        self.said.append(text)

    def images(self, member, count):
        self.counted += count

    def finished(self, member, result, failure):
        self.ended.append((os.path.basename(member.workdir), (failure or {}).get("kind", "finished")))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The runs of VALUES one by one."""
    folder, config = tmp_path_factory.mktemp("single"), with_folds(tiny_config())
    for index, values in enumerate(VALUES):
        train.train_and_evaluate(with_values(config, values), folder / str(index))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["mapped", "batched"])
def test_a_member_that_another_process_trains_has_not_failed(tiny, tmp_path, sharing):
    tiny.epochs, tiny.augment.rotation, tiny.model.hidden = 1, 0.0, ()
    watcher = Watcher()
    held = locks.Lock(tmp_path / "0")
    (tmp_path / "0").mkdir()
    held.acquire()
    results = population.train_members(
        members(tiny, tmp_path, [{"seed": 0}, {"seed": 1}], sharing=sharing), watcher=watcher
    )
    held.release()
    assert results[0] is None and results[1]["epochs"] == 1
    assert sorted(watcher.ended) == [("0", "error"), ("1", "finished")]
    assert not (tmp_path / "0" / "failure.json").exists()


@pytest.mark.parametrize("sharing", ["mapped", *slow("batched")])
def test_members_equal_their_single_runs(folds, single, tmp_path, sharing):
    watcher = Watcher()
    results = population.train_members(members(folds, tmp_path / "all", sharing=sharing), watcher=watcher)
    assert sorted(watcher.ended) == [(str(i), "finished") for i in range(3)] and watcher.counted == 3 * 3 * 958
    for index, result in enumerate(results):
        alone, ours = single / str(index), tmp_path / "all" / str(index)
        assert result == Workdir(ours).result() and result["seed"] == index
        expected = Workdir(alone).result()
        keys = ("test_accuracy", "tested_epoch", "best_epoch", "epochs", "data")
        assert {key: result[key] for key in keys} == {key: expected[key] for key in keys}
        # The rules acted, on each member by itself.
        rates = [[line["learning_rate"] for line in untimed(folder)] for folder in (alone, ours)]
        assert rates[0] == rates[1] and len(set(rates[0])) > 1
        if sharing == "mapped":
            assert untimed(ours) == untimed(alone)
        for a, b in zip(arrays(alone), arrays(ours), strict=True):
            if sharing == "mapped":
                np.testing.assert_array_equal(a, b)
            close(a, b)


def test_mapped_members_share_one_program(folds, tmp_path, monkeypatch):
    compiled = []
    compile_steps = step.compile_steps
    monkeypatch.setattr(step, "compile_steps", lambda *a: compiled.append(1) or compile_steps(*a))
    population.train_members(members(folds, tmp_path, sharing="mapped", workers=2))
    assert len(compiled) == 1


@pytest.mark.parametrize("sharing", ["mapped", *slow("batched")])
def test_a_member_that_diverges_or_stops_early_leaves_the_others_alone(folds, single, tmp_path, sharing):
    values = [VALUES[0], VALUES[1] | {"optimizer.learning_rate": 1e30}, VALUES[2] | {"early_stopping.patience": 1}]
    folds.early_stopping.min_delta = 10.0
    watcher = Watcher()
    results = population.train_members(members(folds, tmp_path / "all", values, sharing=sharing), watcher=watcher)
    assert results[1] is None and "loss became" in Workdir(tmp_path / "all" / "1").failure()["message"]
    assert sorted(watcher.ended) == [("0", "finished"), ("1", "diverged"), ("2", "finished")]
    assert results[2]["epochs"] == 2 and results[0]["epochs"] == 3 and results[0]["tested_epoch"] == 1
    # Only what is tested is another epoch than in the single run.
    for a, b in zip(arrays(single / "0"), arrays(tmp_path / "all" / "0"), strict=True):
        close(a, b)
    # Again: what diverged is not tried once more, what is finished not either.
    again = Watcher()
    population.train_members(members(folds, tmp_path / "all", values, sharing=sharing), watcher=again)
    assert again.counted == 0 and again.ended == []


@pytest.mark.parametrize("sharing", ["mapped", *slow("batched")])
def test_a_signal_saves_every_member_and_the_rest_can_be_trained_together_or_alone(folds, single, tmp_path, sharing):
    class Interrupting(Watcher):
        def images(self, member, count):
            super().images(member, count)
            if self.counted > 958 * 3.5:
                listener.heard = 15

    listener, everyone = Listener(), members(folds, tmp_path / "all", sharing=sharing)
    with pytest.raises(Interrupted, match="the words to go on"):
        population.train_members(everyone, watcher=Interrupting(), listener=listener, command="the words to go on")
    unfinished = [member for member in everyone if not member.files.result()]
    assert unfinished
    # One as a run of its own, the others together.
    train.train_and_evaluate(unfinished[0].config, unfinished[0].workdir)
    assert all(population.train_members(everyone))
    for index in range(3):
        lines = untimed(tmp_path / "all" / str(index))
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        if sharing == "mapped":
            assert lines == untimed(single / str(index))
        for a, b in zip(arrays(single / str(index)), arrays(tmp_path / "all" / str(index)), strict=True):
            close(a, b)


@pytest.mark.slow
def test_a_signal_that_wakes_another_thread_than_the_waiting_one_is_heard(tiny, tmp_path):
    class Interrupting(Watcher):
        def images(self, member, count):
            if not self.counted:
                # As a suspended process is woken by SIGCONT with SIGTERM: any of its threads may take the signal.
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            super().images(member, count)

    tiny.epochs = 300
    both = members(tiny, tmp_path, [{"seed": 0}, {"seed": 1}], sharing="mapped")
    with pytest.raises(Interrupted):
        population.train_members(both, watcher=Interrupting())
    assert all(len(member.files.history()) < 300 for member in both)


@pytest.mark.slow
def test_a_batched_member_killed_before_its_result_is_only_tested(folds, single, tmp_path):
    everyone = members(folds, tmp_path / "all", sharing="batched")
    population.train_members(everyone)
    (tmp_path / "all" / "1" / "result.json").unlink()
    watcher = Watcher()
    results = population.train_members(everyone, watcher=watcher)
    assert watcher.counted == 0 and watcher.ended == [("1", "finished")]
    assert results[1]["test_accuracy"] == Workdir(single / "1").result()["test_accuracy"]
    assert [line["epoch"] for line in untimed(tmp_path / "all" / "1")] == [1, 2, 3]


def test_a_failing_batch_is_no_failure_of_members_that_have_ended(folds, tmp_path, monkeypatch):
    def failing(self, orders):
        if begun:
            raise RuntimeError("the second part fails")
        begun.append(1)
        yield from run(self, orders)

    begun, run = [], batched.BatchedProgram.run
    monkeypatch.setattr(batched.BatchedProgram, "run", failing)
    folds.epochs = 1
    values, watcher = [VALUES[0] | {"seed": seed} for seed in range(2)], Watcher()
    results = population.train_members(members(folds, tmp_path, values, sharing="batched", size=1), watcher=watcher)
    assert results[0] and results[1] is None and watcher.ended == [("0", "finished"), ("1", "error")]
    assert Workdir(tmp_path / "0").failure() is None


@pytest.mark.slow
def test_more_members_than_fit_in_memory_are_trained_in_parts_and_it_says_so(folds, tmp_path, monkeypatch):
    needs = iter([100, 20])
    monkeypatch.setattr(memory, "needed", lambda compiled: next(needs))
    monkeypatch.setattr(memory, "free", lambda device: 50)
    watcher = Watcher()
    everyone = members(folds, tmp_path, [VALUES[0] | {"seed": seed} for seed in range(3)], sharing="batched")
    assert all(population.train_members(everyone, watcher=watcher))
    assert "3 runs in parts of 1" in watcher.said[0] and len(watcher.ended) == 3


def test_mapped_members_wait_for_memory(folds, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "needed", lambda compiled: 2**20)
    monkeypatch.setattr(memory, "free", lambda device: 0)
    watcher = Watcher()
    assert all(population.train_members(members(folds, tmp_path, sharing="mapped", workers=2), watcher=watcher))
    assert any("waits for others to end: it needs 1 MiB, 0 MiB are free" in said for said in watcher.said)


def test_a_full_device_is_the_failure_of_the_members_on_it(folds, tmp_path, monkeypatch):
    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")

    monkeypatch.setattr("digits.training.program.Program.compiled", property(lambda self: full))
    monkeypatch.setattr(memory, "needed", lambda compiled: 0)
    assert population.train_members(members(folds, tmp_path, sharing="mapped")) == [None] * 3
    failure = Workdir(tmp_path / "0").failure()
    assert failure["kind"] == "out of memory" and "try a config.batch_size below 50" in failure["message"]


# Trains the members on the devices of its process, and notes on which device each of their epochs runs.
SHARING = """
import json, pathlib, sys
from digits.config.values import config_from_json
from digits.sweeps import population
from digits.training.loop import Loop
from tests.sweeps import population_test

called, places = Loop._call, set()
def call(self):
    places.add((*self._order.devices(), *self._run.state.train.step.devices()))
    return called(self)
Loop._call = call
config = config_from_json(json.loads(sys.argv[1]))
for sharing in ("mapped", "batched"):
    everyone = population_test.members(config, pathlib.Path(sys.argv[2]) / sharing, sharing=sharing)
    with population_test.code_for_users():
        assert all(population.train_members(everyone))
assert len(places) == 2 and all(order == state for order, state in places), places
"""


@pytest.mark.slow
def test_several_devices_share_the_members(folds, tmp_path):
    """Two simulated devices, in a process of their own: two members each, one of them a copy."""
    folds.epochs = 1
    command = [sys.executable, "-c", SHARING, json.dumps(config_to_json(folds)), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"JAX_NUM_CPU_DEVICES": "2"}) as process:
        for index, values in enumerate(VALUES):  # Meanwhile, each as a run of its own.
            train.train_and_evaluate(with_values(folds, values), tmp_path / "single" / str(index))
    assert process.returncode == 0
    for sharing in ("mapped", "batched"):
        for index in range(3):
            alone, ours = (arrays(tmp_path / kind / str(index)) for kind in ("single", sharing))
            for a, b in zip(alone, ours, strict=True):
                close(a, b)


FIFTY = {
    "simple_cnn": (
        simple_cnn,
        {"model.blocks": ((4,),), "model.hidden": (8,), "model.convolution": "dot"}
        | {"augment.zoom": 0.1, "augment.elastic": 1.0, "augment.erasing": 0.3},
    ),
    "five_conv": (
        five_conv,
        # Not Adam, as above: some of so few units never fire, and have no gradient but rounding.
        {"model.blocks": ((4,), (4,), (8,)), "model.hidden": (8, 8), "model.convolution": "dot"}
        | {"optimizer.name": "sgd", "optimizer.momentum": 0.9},
    ),
}


@pytest.mark.parametrize("name", slow_but(["simple_cnn"], FIFTY))
def test_fifty_steps_of_a_batched_member_equal_its_own_in_float64(name):
    """Structure and numbers of the experiments, on narrower layers."""
    module, narrow = FIFTY[name]
    config = with_values(module.get_config(), narrow | {"batch_size": 4})
    values = [{"seed": s, "optimizer.learning_rate": rate} for s, rate in ((0, 1e-3), (1, 2e-3))]
    own = [with_values(config, v) for v in values]
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (200, 28, 28)).astype(np.uint8), rng.integers(0, 10, 200).astype(np.uint8)
    with jax.enable_x64(True):
        graphdef = families.parts(models.outline(config.model, 10))[0]
        run = step.make_run_steps(step.make_train_step(config, graphdef, 50), 200, 4)

        def as_float64(a):
            return jnp.asarray(a, jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a

        states = [jax.tree.map(as_float64, (step.init_state(c, 10), step.TrainMetrics.empty())) for c in own]
        orders = [step.shuffled(c.seed, 1, 200) for c in own]
        options = {"xla_backend_optimization_level": 0}
        alone = jax.jit(run, compiler_options=options)
        expected = [alone(*state, (images, labels), order, 0, 50) for state, order in zip(states, orders, strict=True)]
        together = jax.jit(jax.vmap(run, (0, 0, None, 0, None, None)), compiler_options=options)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
        batched = together(*stacked, (images, labels), jnp.stack(orders), 0, 50)
        for index, one in enumerate(expected):
            assert int(one[0].step) == 50
            weights = [(state.params, state.stats) for state, _ in (one, batched)]
            for a, b in zip(*map(jax.tree.leaves, weights), strict=True):
                close(a, b[index], 1e-9)
            assert float(one[1].loss.total) == pytest.approx(float(batched[1].loss.total[index]), rel=1e-9)


def test_members_are_grouped_by_structure_in_the_order_of_the_first(folds, tmp_path):
    values = [{"seed": 0, "model.hidden": (8,)}, {"seed": 0}, {"seed": 1, "model.hidden": (8,)}, {"seed": 1}]
    grouped = population.groups(members(folds, tmp_path, values))
    assert [[os.path.basename(m.workdir) for m in group] for group in grouped] == [["0", "2"], ["1", "3"]]
    one, other = (config_numbers.structure(group[0].config) for group in grouped)
    assert one != other
