"""The benchmarks: one network in every framework, and the protocol between processes."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import driver, kernels, network, problem, results, worker
from benchmarks.contestants import CONTESTANTS
from digits import models
from digits.config.values import config_to_json
from digits.errors import UserError
from digits.models import families, summary
from digits.models.ops import native
from tests.conftest import ROOT, slow

CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "base"))
TINY = (
    "--model=dense_32_32", "--set=data.name=optdigits", "--set=optimizer.name=adam",
    "--set=optimizer.learning_rate=0.01", "--seconds=0.05", "--rounds=2",
    f"--peers_python={sys.executable}",
)  # fmt: skip

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and, for SIGKILL, prctl")


def resolved(name, *overrides):
    """The config and its network as the benchmarks' layers, from JSON as the workers read it."""
    config, _ = problem.resolve(name, list(overrides))
    return config, network.layers(config_to_json(config)["model"], classes=10)


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_those_of_digits_in_their_order(name):
    import jax

    config, layers = resolved(name)
    config.model.convolution = "stock"  # The compiled ones would have to be compiled.
    model = models.outline(config.model, 10)
    pools = [window for n in model.names if (window := getattr(getattr(model, n), "window", 0))]
    names = [row.name for row in summary.describe(model)]
    kinds = [n.rsplit("_", 1)[0] for n in names if not (n.startswith("max_pool") and pools.pop(0) == 1)]
    assert [layer.kind for layer in layers] == kinds
    count = sum(leaf.size for leaf in jax.tree.leaves(families.parts(model)[1:]))
    assert network.parameters(layers) == count
    l2 = [getattr(model, n).l2 for n in model.names if n.startswith("dense")]
    assert [layer.l2 for layer in layers if layer.kind == "dense"] == [one or 0.0 for one in l2]


EVERYTHING = ("model.hidden_batch_norm=True", "model.hidden_l2=0.01", "model.input_dropout=0.1")
SMALL = (
    "model.blocks=((3,4),(5,6))",
    "model.kernel_size=(3,2)",
    "model.hidden=(16,)",
    "model.activation=gelu",
    "model.convolution=stock",
)
FEW_PARAMETERS = (
    "model.stride=(2,3)",
    "model.separable=(True,False)",
    "model.conv_bias=False",
    "model.global_pool=average",
    "model.pool=(2,0)",
)


@pytest.mark.parametrize(
    "name, changes",
    [("dense_dropout", EVERYTHING), ("plateau_cnn", ()), ("six_conv", ()), ("plateau_cnn", FEW_PARAMETERS)],
)
def test_every_framework_builds_the_same_network(name, changes):
    _, layers = resolved(name, *changes)
    expected = network.parameters(layers)
    assert _flax_parameters(layers) == expected
    for library, count in (("keras", _keras_parameters), ("torch", _torch_parameters)):
        if importlib.util.find_spec(library):
            assert count(layers) == expected, library


def _flax_parameters(layers):
    from flax import nnx
    import jax

    from benchmarks.contestants import flax_example

    state = nnx.state(nnx.eval_shape(lambda: flax_example.build(layers)), (nnx.Param, nnx.BatchStat))
    return sum(leaf.size for leaf in jax.tree.leaves(state))


def _keras_parameters(layers):
    from benchmarks.contestants import keras_fit

    # Zeros are made faster than random numbers.
    return keras_fit.build([dataclasses.replace(layer, init="zeros") for layer in layers]).count_params()


def _torch_parameters(layers):
    from benchmarks.contestants import pytorch

    model = pytorch.build(layers)
    return sum(t.numel() for t in [*model.parameters(), *model.buffers()] if t.is_floating_point())


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), FEW_PARAMETERS, (*FEW_PARAMETERS, "model.global_pool=max")])
def test_same_weights_give_the_same_logits(changes):
    import jax
    import numpy as np
    import optax

    from benchmarks.contestants import flax_example, keras_fit

    config, layers = resolved("plateau_cnn", *SMALL, *changes)
    ours = models.build(config.model, 10, jax.random.key(0))
    rng, weights = np.random.default_rng(0), []
    for layer in (getattr(ours, name) for name in ours.names):
        names = [n for n in ("kernel", "scale", "bias", "mean", "var") if getattr(layer, n, None) is not None]
        if names:
            weights.append({name: rng.uniform(0.1, 0.3, getattr(layer, name).shape).astype("f4") for name in names})
            _set(layer, weights[-1])
    images = rng.normal(size=(3, 28, 28, 1)).astype("f4")
    expected = np.asarray(jax.jit(lambda x: ours(x))(images))

    theirs = flax_example.build(layers)
    with_weights = [layer for layer in theirs.layers if hasattr(layer, "kernel") or hasattr(layer, "scale")]
    for layer, arrays in zip(with_weights, weights, strict=True):
        _set(layer, arrays)
    theirs.eval()
    np.testing.assert_allclose(jax.jit(lambda x: theirs(x))(images), expected, rtol=2e-5)
    if importlib.util.find_spec("keras"):
        model = keras_fit.build([dataclasses.replace(layer, init="zeros") for layer in layers])
        model.set_weights([array for arrays in weights for array in arrays.values()])
        np.testing.assert_allclose(model.predict_on_batch(images), expected, rtol=2e-5)
    labels = np.array([1, 2, 3])
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(expected, labels).mean()
    loss, _ = jax.jit(lambda x: flax_example.loss_fn(theirs, x, labels))(images)
    assert float(loss) == pytest.approx(float(cross_entropy + families.penalty(ours)), rel=1e-5)


def _set(layer, arrays):
    for name, array in arrays.items():
        of = getattr(layer, name)
        of[...] = array.reshape(of.shape)  # Flax has a depthwise kernel as KxKx1xC.


def test_a_worker_needs_none_of_the_projects_libraries():
    """That of a peer has another environment."""
    code = "import sys; import benchmarks.worker; assert not {'ml_collections', 'jax', 'flax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_augmentation_of_a_config_is_told():
    told = {name: problem.resolve("dense_32_32", [f"augment.{name}"])[1] for name in ("elastic_sigma=3", "erasing=0.2")}
    assert told == {"elastic_sigma=3": [], "erasing=0.2": ["no augmentation"]}


def test_training_flops():
    # One dense layer of 2 inputs and 3 outputs: forward and weight gradient, no input gradient.
    assert network.training_flops([network.Layer("dense", 2, 3)]) == 2 * 2 * 6
    # 5x5 pixels, 3x3 kernels, 1 to 4 channels; then 100 to 10 with its input gradient.
    layers = [network.Layer("conv", 1, 4, size=3, side=5), network.Layer("flatten"), network.Layer("dense", 100, 10)]
    assert network.training_flops(layers) == 2 * (2 * 900 + 3 * 1000)
    assert network.training_flops(resolved("deep_cnn")[1]) == pytest.approx(114.1e6, rel=1e-3)


@pytest.mark.slow
def test_operations_end_to_end(tmp_path, run_module):
    file = tmp_path / "out.json"
    overrides = ("--set=data.name=optdigits", "--set=model.hidden=8,", "--set=batch_size=500", "--seconds=0.01")
    done = run_module("benchmarks.operations", "--model=dense_dropout", *overrides, "--rounds=2", f"--json={file}")
    assert done.returncode == 0, done.stderr
    measured = json.loads(file.read_text())
    assert [len(report["rounds"]) for report in measured["contestants"].values()] == [2, 2]
    assert "bernoulli" in done.stdout and "steps/s" in done.stdout


def test_kernels_are_timed_for_the_convolutions_that_are_compiled():
    config, _ = problem.resolve("five_conv", [])
    found = [(one.name, one.settings.window) for one in kernels.convolutions(config, 10)]
    # The last convolution, of 5x5 pixels with a kernel of 5x5, is a single product.
    assert found == [
        ("28x28x1 to 32, 3x3", 1), ("26x26x32 to 32, 3x3", 2), ("12x12x32 to 64, 2x2", 1), ("11x11x64 to 64, 2x2", 2),
    ]  # fmt: skip
    config, _ = problem.resolve("plateau_cnn", [])
    assert {(one.settings.low, one.settings.high, one.settings.window) for one in kernels.convolutions(config, 10)} == {
        (1, 1, 1)
    }, "BatchNorm stands between convolution and pooling"


@pytest.mark.slow
@pytest.mark.skipif(not native.available(), reason=f"no compiled convolutions: {native.problem()}")
def test_kernels_end_to_end(tmp_path, run_module):
    file = tmp_path / "out.json"
    overrides = ("--set=data.name=optdigits", "--set=model.blocks=((8,),(16,))", "--set=batch_size=50")
    done = run_module("benchmarks.kernels", "--model=simple_cnn", *overrides, "--rounds=2", f"--json={file}")
    assert done.returncode == 0, done.stderr
    reports = json.loads(file.read_text())["contestants"]
    assert len(reports) == 2 + 3 + 1 and {len(report["rounds"]) for report in reports.values()} == {2}
    flops = reports["conv_1 forward"]["flops"]
    # Of 13x13 pixels 11x11 are left, and of 12x12 some are computed for nothing: 3x3 tiles at 6x6 points.
    assert flops == {"plain": 2 * 50 * 11**2 * 9 * 8 * 16, "executed": 2 * 50 * 9 * 36 * 8 * 16}
    assert all(report["error"] < 5e-6 for report in reports.values() if "error" in report)
    assert "the rest of a training step" in done.stdout


@pytest.mark.slow
def test_agreement_end_to_end(tmp_path, run_module):
    file = tmp_path / "out.json"
    overrides = ("--set=data.name=optdigits", "--set=model.hidden=8,")
    done = run_module("benchmarks.agreement", "--model=dense_32_32", *overrides, f"--json={file}")
    assert done.returncode == 0, done.stderr
    ours, stock = (report["rounds"][0] for report in json.loads(file.read_text())["contestants"].values())
    # A dense network has no layers to choose: the same program twice.
    for key in ("loss", "accuracy", "test_loss", "test_accuracy"):
        assert ours[key] == stock[key] and 0 < ours[key] < 10


@pytest.mark.slow
def test_two_contestants_end_to_end(tmp_path, run_module):
    """Also that a peer without its library is told and left out."""
    file = tmp_path / "out.json"
    names = ["digits", "flax_example"]
    done = run_module(
        "benchmarks.peers",
        *TINY,
        f"--contestants={','.join(names)},torch_eager",
        "--epoch",
        f"--json={file}",
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(file.read_text())
    if not importlib.util.find_spec("torch"):
        assert "torch_eager is left out" in done.stdout and "pip install" in done.stdout
        assert measured["failed"] == {"torch_eager": "not installed"} and measured["sgemm_gflops"] > 0
    for name in names:
        report = measured["contestants"][name]
        assert [item["round"] for item in report["rounds"]] == [1, 2]
        assert len({item["steps"] for item in report["rounds"]}) == 1
        assert report["parameters"] == measured["parameters"] == 26506
        assert report["total_steps"] > measured["steps_per_epoch"] == 1437 // 64
        assert 0 < report["loss"] < 2.3 and 0 < report["first_step_s"] < 60 and report["peak_mib"] > 50
        assert report["accuracy"] > 0.3 and report["test_accuracy"] > 0.3
        assert name in done.stdout and report["versions"]["jax"]
    ratios = results.paired_ratios(*(results.rates(measured["contestants"][name]) for name in names))
    assert measured["ratios"]["flax_example"]["median"] == pytest.approx(sum(ratios) / 2)
    assert "--peers_python" not in measured["command"]


@pytest.mark.slow
def test_whole_trainings_end_to_end(tmp_path, run_module):
    file = tmp_path / "out.json"
    names = ["digits", "keras_jax"] if importlib.util.find_spec("keras") else ["digits"]
    tiny = [flag for flag in TINY if not flag.startswith("--seconds")]
    recipe = ["--set=epochs=3", "--set=schedule.name=one_cycle", "--set=label_smoothing=0.1"]
    recipe += ["--set=augment.width_shift=0.05", "--target=0.7"]
    done = run_module(
        "benchmarks.time_to_accuracy", *tiny, *recipe, f"--contestants={','.join(names)}", f"--json={file}"
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(file.read_text())
    for name in names:
        rounds = measured["contestants"][name]["rounds"]
        assert [item["steps"] for item in rounds] == [3 * (1437 // 64)] * 2
        accuracies = [item["test_accuracy"] for item in rounds]
        assert min(accuracies) > 0.7 and accuracies[0] != accuracies[1], "each round begins anew, with another seed"
    assert "target reached" in done.stdout


@pytest.mark.slow
def test_a_notebooks_training_end_to_end(tmp_path, run_module):
    """With the notebook's pipeline where the tests' environment has its libraries."""
    file = tmp_path / "out.json"
    tiny = [flag for flag in TINY if not flag.startswith("--seconds")]
    changes = ["--set=data.validation=last(300)", "--set=augment.rotation=5.0", "--set=epochs=3"]
    done = run_module("benchmarks.notebook", *tiny, *changes, f"--json={file}")
    assert done.returncode == 0, done.stderr
    measured = json.loads(file.read_text())
    for name, report in measured["contestants"].items():
        assert [item["round"] for item in report["rounds"]] == [1, 2], name
        for item in report["rounds"]:
            assert item["seconds"] > 0 and min(item["val_accuracy"], item["test_accuracy"]) > 0.7
    assert {*measured["contestants"], *measured["failed"]} == {"digits", "keras_notebook"}


def test_a_recipe_that_the_peers_do_not_have_is_refused():
    for override in ("augment.rotation=3.0", "optimizer.name=lion", "optimizer.ema_momentum=0.9"):
        with pytest.raises(UserError, match=re.escape(f"config.{override.split('=')[0]} is ")):
            problem.resolve("simple_cnn", [override], augments=("width_shift",))


@pytest.fixture
def fake(tmp_path):
    """Starts a process that answers as a contestant does, for as long as `code`, run before each answer, lets it."""
    started = []

    def start(name, code=""):
        program = (
            "import json, os, sys, time\n"
            "say = lambda **content: print(json.dumps(content), flush=True)\n"
            "say(first_step_s=0.1, parameters=1)\n"
            "for line in sys.stdin:\n"
            "    order = json.loads(line)\n"
            f"    {code or 'pass'}\n"
            "    say(**order | {'seconds_per_step': 0.01, 'seconds': 0.1, 'cpu_seconds': 0.1})\n"
        )
        started.append(driver.Process(name, [sys.executable, "-c", program], tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize(
    "code, words",
    [
        ("if order['do'] == 'train': sys.exit('out of luck')", "bad ended with exit code 1"),
        ("if order['do'] == 'train': os.kill(os.getpid(), 9)", "bad ended with exit code -9"),
        ("if order['do'] == 'train': time.sleep(60)", "bad did not answer within"),
        ("if order['do'] == 'warm_up': sys.exit('out of luck')", "bad ended with exit code 1"),
    ],
)
def test_one_that_dies_or_hangs_is_told_and_the_rest_goes_on(fake, monkeypatch, code, words):
    monkeypatch.setattr(driver, "_ROUND_TIMEOUT", 1.0)
    told = []
    race = driver.Race(0.05, told.append)
    for process in (fake("bad", code), fake("good")):
        race.enter(process)
    race.run(3)
    race.finish()
    assert [item["round"] for item in race.reports["good"]["rounds"]] == [1, 2, 3]
    assert list(race.failed) == ["bad"] and words in race.failed["bad"]
    assert any(words in line for line in told)
    assert "out of luck" not in code or any("out of luck" in line for line in told)


@on_linux
def test_only_one_process_runs_at_a_time(fake):
    """In a turn, the others are stopped: the system says so."""
    race = driver.Race(0.05, lambda text: None)
    for name in ("a", "b"):
        race.enter(fake(name))

    def state(racer):
        return _state(racer.process.pid)

    assert {state(racer) for racer in race.racers.values()} == {"T"}
    with race.racers["a"].turn():
        assert state(race.racers["a"]) != "T" and state(race.racers["b"]) == "T"
    assert state(race.racers["a"]) == "T"


def _state(pid):
    """R, S, T (stopped), ... once the signal has arrived."""
    time.sleep(0.2)
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@on_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path, number):
    """A driver that is ended in the middle, however it is, takes its stopped children with it."""
    program = (
        "import pathlib, sys, time\n"
        "from benchmarks import driver\n"
        "child = 'from benchmarks import worker; worker.die_with_the_driver(); print(1); input()'\n"
        "line = [sys.executable, '-c', child]\n"
        "with driver.processes() as started:\n"
        "    started.append(driver.Process('x', line, pathlib.Path(sys.argv[1])))\n"
        "    started[0].read_line(60)\n"
        "    started[0].signal(19)\n"
        "    print(started[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        os.kill(process.pid, number)
        process.wait(30)
    deadline = time.monotonic() + 10
    while pathlib.Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not pathlib.Path(f"/proc/{child}").exists()


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["--model is missing"]),
        (["--model=dense_32_32", "--contestants=caffe"], ["'caffe'", "torch_eager"]),
        *slow(
            (["--model=nope"], ["'nope'", "deep_cnn"]),
            (["--model=dense_32_32", "--set=bach_size=3"], ["bach_size"]),
            (["--model=dense_32_32", "--set=optimizer.clip_norm=1"], ["clip_norm", "peers"]),
            (["--model=dense_32_32", "--json=/nowhere/x.json"], ["/nowhere/x.json", "no such folder"]),
            (["--model=dense_32_32", "--rounds=0"], ["rounds"]),
        ),
    ],
)
def test_mistakes_give_one_sentence(args, words, run_module):
    done = run_module("benchmarks.peers", *args)
    assert done.returncode == 2, done.stdout
    assert all(word in done.stderr for word in words) and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_missing_python_is_told_in_one_sentence():
    left_out = driver.missing_libraries("/nowhere/python", list(CONTESTANTS))
    assert set(left_out) == {name for name, entry in CONTESTANTS.items() if not entry.is_ours}
    assert "/nowhere/python" in left_out["torch_eager"] and "pip install" in left_out["torch_eager"]


def test_training_goes_round_the_epoch():
    """Spans go on where the last one stopped, and their means weigh each step once."""

    class Recorder:
        outside, spans = 0.0, []

        def train(self, start, stop):
            self.spans.append((start, stop))
            return float(start), 1.0

    training = worker.Training(Recorder(), steps_per_epoch=5)
    training.train(3)
    assert training.train(9) >= 0
    assert Recorder.spans == [(0, 3), (3, 5), (0, 5), (0, 2)]
    assert training.position == 2 and training.total == 12
    assert training.loss == pytest.approx(2 * 3 / 9) and training.accuracy == 1.0
