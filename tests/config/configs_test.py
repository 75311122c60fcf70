"""Every config: it loads, is locked, has the documented parameter count and figures, and trains a step."""

import importlib
import json
import pathlib
import re

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from digits import models
from digits.models import families
from digits.training import step, train
from tests.conftest import slow_but

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "base"))
REPORTED = json.loads((ROOT / "experiments" / "reported.json").read_text())
# Total, trainable. From the notebooks' printed summaries where they survive, otherwise counted by hand.
PARAMETERS = {
    "deep_cnn": (870_634, 870_634),
    "two_conv": (367_786, 367_466),
    "five_conv": (307_306, 306_858),
    "six_conv": (1_074_890, 1_073_386),
    "five_conv_plain": (306_410, 306_410),
    "five_conv_tanh": (307_306, 306_858),
    "five_conv_rmsprop": (307_306, 306_858),
    "plateau_cnn": (1_870_026, 1_868_746),
    "plateau_cnn_as_written": (1_870_026, 1_868_746),
    "dense_32_32": (26_506, 26_506),
    "dense_64_64": (55_050, 55_050),
    "dense_sgd_momentum": (26_506, 26_506),
    "dense_sgd_momentum_as_written": (26_506, 26_506),
    "dense_batch_128": (26_506, 26_506),
    "dense_batch_128_as_written": (26_506, 26_506),
    "dense_batch_32": (26_506, 26_506),
    "dense_batch_32_as_written": (26_506, 26_506),
    "dense_32_32_32": (27_562, 27_562),
    "dense_dropout": (118_282, 118_282),
    "dense_dropout_as_written": (118_282, 118_282),
    "dense_lr_009": (26_506, 26_506),
    "dense_lr_009_as_written": (26_506, 26_506),
    "simple_cnn": (121_930, 121_930),
    "simple_cnn_dropout": (121_930, 121_930),
    "simple_cnn_batchnorm": (122_570, 122_250),
    "narrative_dense": (235_146, 235_146),
    "narrative_cnn": (225_034, 225_034),
    "narrative_regularised": (225_930, 225_482),
    "narrative_augmented": (225_930, 225_482),
    "quickstart": (121_930, 121_930),
    "fast_99": (19_282, 19_138),
    "fast_995": (29_770, 29_546),
    "best_cnn": (136_394, 135_818),
    "few_parameters": (1_002, 922),
}
KERNEL_SIZES = {2: (702_826, 702_506), 3: (610_986, 610_666), 5: (464_554, 464_234), 7: (367_786, 367_466)} | {
    11: (323_242, 322_922)
}


def load(name):
    return importlib.import_module(f"configs.{name}").get_config()


def counts(config):
    model = models.outline(config.model, 10)
    trained, rest = (sum(a.size for a in jax.tree.leaves(tree)) for tree in families.parts(model)[1:])
    return trained + rest, trained


def test_no_config_escapes_the_table_of_parameters():
    assert set(NAMES) == set(PARAMETERS)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts(name):
    assert counts(load(name)) == PARAMETERS[name]
    if name in REPORTED:
        reported = REPORTED[name]["parameters"]
        assert (reported["total"], reported["trainable"]) == PARAMETERS[name]


@pytest.mark.parametrize("size", KERNEL_SIZES)
def test_parameter_counts_of_the_searched_kernel_sizes(size):
    config = load("two_conv")
    config.model.kernel_size = size
    assert counts(config) == KERNEL_SIZES[size]


@pytest.mark.parametrize("name", NAMES)
def test_config_is_locked_valid_and_documents_itself(name):
    config = load(name)
    assert isinstance(config, ConfigDict) and config.is_locked
    with pytest.raises(AttributeError):
        config.model.hiden = 3
    train.check(config)
    text = (ROOT / "configs" / f"{name}.py").read_text()
    assert f"python -m digits.main --config=configs/{name}.py" in text.split('"""')[1]


@pytest.mark.parametrize("name", sorted(REPORTED))
def test_documented_figures_are_the_reported_ones(name):
    config, reported = load(name), REPORTED[name]
    if name == "six_conv":  # Its printed figures are of another model; the last validation on the test set is its own.
        reported = {"test_" + key: reported["history"]["val_" + key][-1] for key in ("loss", "accuracy")}
    for figure in ("test_loss", "test_accuracy"):
        if reported[figure] is None:
            assert config.documented[figure] is None
        else:
            assert config.documented[figure] == pytest.approx(reported[figure], abs=5e-5)
    assert re.match(r"notebook 00[0-4], lines \d+", config.documented.source)
    assert config.epochs == {"0": 50, "1": 20, "2": 20, "3": 20, "4": 10}[config.documented.source[11]]


# Each has something that no other of them has; the rest are like them.
DIFFERENT = (
    "dense_dropout", "deep_cnn", "five_conv_tanh", "narrative_augmented", "fast_99", "few_parameters",
)  # fmt: skip


@pytest.mark.parametrize("name", slow_but(DIFFERENT, NAMES))
def test_one_step_changes_every_parameter_and_gives_a_finite_loss(name):
    config = load(name)
    config.batch_size = 4
    # Narrow layers keep the compilation short; the structure is the experiment's.
    config.model.hidden = tuple(4 for _ in config.model.hidden)
    config.model.blocks = tuple(tuple(2 for _ in block) for block in config.model.blocks)
    train.check(config)
    model = models.outline(config.model, 10)
    state = step.init_state(config, 10)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 28, 28)), jnp.uint8)
    # Each is compiled to take a single step: optimising it would take longer.
    take_step = jax.jit(
        step.make_train_step(config, families.parts(model)[0], steps_per_epoch=10),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    after, metrics = take_step(state, (images, jnp.array([0, 3, 7, 9])))
    assert np.isfinite(metrics.loss.total) and metrics.loss.count == 4 and after.step == 1
    for now in jax.tree.leaves(after.params):
        assert np.isfinite(now).all()
    # A narrow network may have dead units, so only the output layer must have moved.
    last = max(state.params, key=lambda layer: (layer.startswith("dense"), layer))
    assert not np.array_equal(state.params[last]["bias"], after.params[last]["bias"])
