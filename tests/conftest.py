"""Fixtures and settings of all tests: the mark for real MNIST, a cache of their own, order of files, small configs."""

import functools
import importlib.metadata
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import pytest

from configs import base
from tests import browsing, made_sweeps

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ["KERAS_BACKEND"] = "jax"  # Before anything imports Keras, the reference of the tests in parity/.
# Programs of most tests are compiled with few of XLA's optimizations, which would take a third of such a test's time.
# The files in OPTIMIZED and in parity/, which compare numerics with those of other programs, have all of them.
_FEW_OPTIMIZATIONS = "JAX_DISABLE_MOST_OPTIMIZATIONS"
os.environ.setdefault(_FEW_OPTIMIZATIONS, "1")
# Of this XLA's two code generators for fused operations on the CPU, the older compiles in a third of the time. Two
# processes that test at the same time gain nothing when a program's parts are compiled in parallel.
_FAST_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
# An XLA that does not know an option ends the process.
if importlib.metadata.version("jaxlib").startswith("0.10.") and _FAST_TO_COMPILE not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FAST_TO_COMPILE}".strip()
# Files are named by their path in tests/ without the ending: "sweep" is sweep_test.py.
OPTIMIZED = (
    "benchmarks", "data/transforms", "models/inference", "models/layers", "models/ops/convolution",
    "models/ops/dropout", "models/ops/native", "training/optimizer",
)  # fmt: skip
# The files that take longest begin first: at the end, one process would wait for the other's last long file.
# parity/networks loads the library that models/ops/native compiles.
LONGEST = (
    "models/ops/native", "sweeps/population", "parity/networks", "benchmarks", "runtime/devices", "sweep", "faults",
    "sweeps/cluster", "runtime/processes", "training/train", "runs/checkpoints", "models/ops/products",
    "config/properties", "predict", "serving/exporting", "serving/export_html", "main", "documentation",
    "config/configs", "reports/evaluation", "colab", "data/dataset", "serving/demo_server", "models/ops/convolution",
    "parity/optimizers", "parity/training", "models/families", "training/step", "models/inference", "report",
    "experiments/reproduce", "fuzz/fuzz",
)  # fmt: skip


# Continuous integration leaves out these files, and tests that are marked slow: it has fifteen minutes on any machine.
# `make test` runs them.
SLOW = (
    "colab", "faults", "parity/networks", "runtime/devices", "serving/exporting", "sweeps/cluster", "training/trackers",
)  # fmt: skip


def name_of(path):
    """A test file's name in OPTIMIZED and LONGEST."""
    return path.relative_to(ROOT / "tests").as_posix().removesuffix("_test.py")


def pytest_configure(config):
    # A shell's background job ignores it, and so would the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Compiled programs are shared between the tests and the processes they start, but not with the user's own cache.
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # The process that started this one has set it.
    config.stash_cache = tempfile.TemporaryDirectory(prefix="digits-tests-", ignore_cleanup_errors=True)
    os.environ["DIGITS_CACHE_DIR"] = config.stash_cache.name


def pytest_unconfigure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash_cache.cleanup()


@pytest.hookimpl(tryfirst=True)  # Before `-m "not slow"` chooses.
def pytest_collection_modifyitems(items):
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(name_of(item.path), len(place)))
    folder = os.environ.get("DIGITS_DATA_DIR")
    there = bool(folder) and (pathlib.Path(folder) / "train-images-idx3-ubyte.gz").exists()
    skip = pytest.mark.skip(reason="DIGITS_DATA_DIR does not name a folder with the four MNIST files")
    for item in items:
        if name_of(item.path) in SLOW:
            item.add_marker(pytest.mark.slow)
        if "mnist" in item.keywords and not there:
            item.add_marker(skip)


@pytest.fixture(scope="module", autouse=True)
def optimizations(request):
    """All of XLA's optimizations for the files in OPTIMIZED and in parity/, and the processes that they start."""
    if name_of(request.path) not in OPTIMIZED and request.path.parent.name != "parity":
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_FEW_OPTIMIZATIONS, "0")
        jax.config.update("jax_disable_most_optimizations", False)
        yield
        jax.config.update("jax_disable_most_optimizations", before)


def slow(*cases):
    """These cases of a parametrized test, marked slow. A case of several values is a tuple."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


def slow_but(first, cases):
    """All cases of a parametrized test; those that are not among the `first` are marked slow."""
    return [*first, *slow(*(case for case in cases if case not in first))]


def tiny_config():
    """A dense network with BatchNorm, dropout and augmentation; on the embedded dataset, it trains in a second."""
    config = base.get_config()
    config.epochs = 3
    config.batch_size = 50
    config.data.name = "optdigits"
    config.data.validation = "random(0.2, 0)"
    config.model.hidden = (16,)
    config.model.hidden_dropout = 0.2
    config.model.hidden_batch_norm = True
    config.augment.rotation = 5.0
    config.tensorboard = False
    return config


@pytest.fixture
def tiny():
    return tiny_config()


@pytest.fixture
def tiny_cnn(tiny):
    """`tiny` with two convolution blocks before it; compiling it takes ten seconds."""
    tiny.model.family = "cnn"
    tiny.model.blocks = ((4,), (8,))
    tiny.model.batch_norm = "conv"
    return tiny


@pytest.fixture
def mnist_dir(monkeypatch, tmp_path):
    """Gives the test a cache, a home and a TFDS folder of its own; returns the folder with the real MNIST."""
    given = os.environ.get("DIGITS_DATA_DIR")
    monkeypatch.delenv("DIGITS_DATA_DIR", raising=False)
    monkeypatch.delenv("DIGITS_WRITERS_DIR", raising=False)
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return given


@pytest.fixture
def no_tfds(monkeypatch):
    """Makes asking TFDS an error: what is loaded must come from elsewhere."""
    from digits import errors
    from digits.data import tfds

    def refuse(name):
        raise errors.UserError(f"TFDS was asked for {name}")

    monkeypatch.setattr(tfds, "read_tfds", refuse)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, as Playwright drives it."""
    with browsing.launched() as browser:
        yield browser


@pytest.fixture
def make_sweep(tmp_path):
    """`made_sweeps.make` in a folder of the test."""
    return functools.partial(made_sweeps.make, tmp_path)


@pytest.fixture(scope="session")
def run_module():
    """Runs `python -m MODULE ARGS` in the checkout and returns the finished process."""

    def run(module, *args, env=None, timeout=300, python=()):
        command = [sys.executable, *python, "-m", module, *map(str, args)]
        env = os.environ | (env or {})
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    return run


def is_one_mistake(text):
    """Whether a command has printed one sentence; lines to paste, such as the newest runs in runs/, may follow it."""
    return re.fullmatch(r"error: .*\n(The newest are:\n)?(  .*\n)*", text)


def refused(config, workdir, *words):
    """The one sentence, with these words, by which a training is refused."""
    from digits import errors
    from digits.training import train

    with pytest.raises(errors.UserError) as error:
        train.train_and_evaluate(config, workdir)
    sentence = str(error.value)
    assert "\n" not in sentence and sentence.endswith(".")
    for word in words:
        assert word in sentence
    return sentence


@pytest.fixture
def run_command(capfd, monkeypatch):
    """Runs a command's `main` in this process and returns it as a finished process; for commands that train nothing.

    A process of its own would import JAX for seconds before it prints one sentence.
    """

    def run(main, *args):
        monkeypatch.chdir(ROOT)
        capfd.readouterr()
        words = [main.__module__, *map(str, args)]
        code = main(words)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run
