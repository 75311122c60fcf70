"""Properties of every config: it is refused in a sentence, or it describes a network that takes a finite first step."""

from collections.abc import Callable
import functools
import math
import random

import hypothesis
from hypothesis import strategies as st
import jax
from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import base
from digits.config import numbers as config_numbers
from digits.config.values import flat
from digits.data import splits, transforms
from digits.errors import UserError
from digits.models import families, layers
from digits.training import program, step, train

EXAMPLES, CLASSES = 60, 10
# All that a program wants to know of a dataset before it is compiled.
ABOUT = program.Examples(None, None, None, tuple(map(str, range(CLASSES))), {"train": EXAMPLES})
DEFAULTS = flat(base.get_config().to_dict())

# What one could mean, by field; other fields have what their type has in ODD.
CHOICES = {
    "epochs": (1, 3), "batch_size": (1, 4, 60), "eval_batch_size": (1, 250), "monitor": ("loss", "val_accuracy"),
    "data.name": ("mnist", "optdigits", "set.npz", "a/folder"), "data.fold": (0, 1),
    "data.validation": ("none", "test", "last(10)", "random(.2, 0)", "folds(3)", "writer_folds(2)")
    + ("stratified(.2, 0)", "stratified_folds(3)"),
    "data.normalization": transforms.NORMALIZATIONS,
    "model.family": ("dense", "cnn"), "model.activation": tuple(layers.ACTIVATIONS),
    "model.kernel_init": tuple(layers.INITIALIZERS), "model.output_init": tuple(layers.INITIALIZERS),
    "model.blocks": ((), ((2,),), ((2, 3), (2,))), "model.kernel_size": (1, 2, 3, 5, (3, 2)),
    "model.stride": (1, 2, (2, 1)), "model.separable": (False, True, (True, False)), "model.conv_bias": (True, False),
    "model.global_pool": ("none", "average", "max"),
    "model.padding": ("valid", "same"), "model.pool": (0, 1, 2, 3, (2, 0)), "model.hidden": ((), (3,), (4, 2)),
    "model.batch_norm": ("none", "conv", "block"), "model.hidden_batch_norm": (False, True, (True, False)),
    "model.block_dropout": (0.0, 0.25, 0.3, (0.1, 0.0)), "model.hidden_dropout": (0.0, 0.5, 0.3, (0.1, 0.0)),
    "model.hidden_l2": (0.0, 1e-4, (1e-4, 0.0)), "model.convolution": ("auto", "stock", "dot"),
    "optimizer.name": ("adam", "sgd", "rmsprop"), "optimizer.epsilon": (1e-7, 1e-3),
    "schedule.name": ("constant", "exponential", "inverse_time", "cosine", "one_cycle", "plateau"),
    "population.sharing": ("auto", "mapped", "batched"), "augment.rotation": (0.0, 10.0), "augment.shear": (0.0, 5.0),
}  # fmt: skip
ODD = {
    bool: (False, True),
    int: (0, 1, 2, -1, 100, 2**31 - 1, 2**31, 2**63, 10**400, -(10**400)),
    float: (0.0, -0.0, 0.1, 0.5, 0.9, 1.0, 3.0, -1.0, 25.0, 0.99999999, 1e-300, 1e-45, 1e30, 1e38, 1e300)
    + (math.nan, math.inf, -math.inf),
    str: ("", " ", "None", "none\n", " none ", "last(" + "9" * 5000 + ")", "random(0.1, 99999999999)", "folds(0)")
    + ("x" * 10_000, "\0", "\u202e\u0665", "\ud800", "{config}", "a\nb", "folds(\u0663)", "random(0.0, 0)"),
    tuple: ((), (0,), (-1,), (2.5,), (True,), ("4",), (None,), ((),), ((4,),), (4, (4,)), ((4, 0),), (10**9,))
    + ((10**30,), (2**16,) * 2, (1,) * 101, (1,) * 10_000, ((2,) * 1000,), ((10**9,),)),
}  # fmt: skip
# These take one value or a tuple, hence anything.
ONE_OR_EACH = (
    "model.kernel_size", "model.stride", "model.separable", "model.pool", "model.block_dropout",
    "model.hidden_batch_norm", "model.hidden_dropout", "model.hidden_l2",
)  # fmt: skip
ANYTHING = (*ODD[float], *ODD[int], *ODD[tuple], "3", None, {}, [0.1, 0.1], (0.1,), (0.1, 0.1, 0.1), (0.1, math.nan))


def odd_values(names: list[str]) -> st.SearchStrategy:
    """Values of some fields, each of the field's own type."""

    def of(name):
        return ANYTHING if name in ONE_OR_EACH else ODD[float if DEFAULTS[name] is None else type(DEFAULTS[name])]

    return st.fixed_dictionaries({name: st.sampled_from(of(name)) for name in names})


def names(of, most: int) -> st.SearchStrategy:
    return st.lists(st.sampled_from(sorted(of)), min_size=1, max_size=most, unique=True)


def changed(fields: dict) -> ConfigDict:
    """The defaults with some fields changed, and a monitor that needs no validation."""
    config = base.get_config()
    config.update_from_flattened_dict({"monitor": "loss"} | fields)
    return config


def assert_is_a_sentence(error: UserError) -> None:
    message = str(error)
    assert len(message.splitlines()) == 1 and message.endswith("."), message
    assert any(f"config.{name}" in message for name in DEFAULTS), message


def check(config: ConfigDict) -> None:
    """What is asked before anything is compiled, of a training set of EXAMPLES; UserError."""
    train.check(config)
    writers = np.arange(EXAMPLES) % 7
    labels = np.arange(EXAMPLES) % 5
    training, _ = splits.split_indices(config.data.validation, config.data.fold, EXAMPLES, writers, labels)
    program.check_batch(config, len(training))


BUILT = {}  # By structure, so that none is built twice.


def built(config: ConfigDict) -> Callable:
    """The step of a config's structure, whose abstract program was built and kept all shapes and types of its state."""
    key = config_numbers.structure(config)
    if key not in BUILT:
        abstract = program.Program(config, ABOUT)
        graphdef, params, _ = families.parts(abstract.model)
        # Refused, or small enough for a laptop: a slip of the finger makes no network of terabytes.
        assert sum(math.prod(array.shape) for array in jax.tree.leaves(params)) <= 2**28
        train_step = step.make_train_step(config, graphdef, abstract.steps_per_epoch)
        state, _ = abstract.shapes
        assert_is_kept(state, jax.eval_shape(train_step, state, batch())[0])
        BUILT[key] = train_step
    return BUILT[key]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images that are hard on arithmetic, and their labels: black, white, a single dark pixel, noise."""
    images = np.zeros((4, 28, 28), np.uint8)
    images[1], images[2, 3, 4] = 255, 1
    images[3] = np.random.default_rng(0).integers(0, 256, (28, 28))
    return images, np.arange(4, dtype=np.int32)


def assert_is_kept(before: step.TrainState, after: step.TrainState) -> None:
    """Asserts that a step, or its abstract evaluation, kept all shapes and types of the state."""

    def kinds(tree):
        return jax.tree.map(lambda array: (array.shape, array.dtype), tree)

    assert kinds(before) == kinds(after)


settings = functools.partial(
    hypothesis.settings, derandomize=True, deadline=None, database=None, print_blob=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


@functools.cache
def drawn_structure(seed: int) -> ConfigDict:
    """An accepted config of either family, with some choice of everything that needs a program of its own."""
    rng = random.Random(seed)
    while True:
        config = changed({name: rng.choice(CHOICES[name]) for name in CHOICES if name != "data.validation"})
        config.model.family = ("dense", "cnn")[seed % 2]
        # Rotation and the like take longest to compile.
        off = "augment." if seed > 1 else "nothing"
        for name in sorted(config_numbers._SWITCHES):
            if not isinstance(config[name], tuple):
                config.update_from_flattened_dict({name: 0.0 if name.startswith(off) else rng.choice((0.0, 0.3))})
        try:
            check(config)
            return config
        except UserError:
            continue


@settings(max_examples=60)
@hypothesis.given(st.integers(0, 3), names(DEFAULTS, 2).flatmap(odd_values))
@hypothesis.example(0, {"model.hidden": (10**9,)})
@hypothesis.example(0, {"model.hidden": (1,) * 10_000})
@hypothesis.example(0, {"schedule.name": "cosine", "epochs": 2**31 - 1})
@hypothesis.example(0, {"model.block_dropout": None})
@hypothesis.example(0, {"data.validation": "last(" + "9" * 5000 + ")"})
def test_any_config_is_refused_in_a_sentence_or_can_be_built(seed, odd):
    config = changed(flat(drawn_structure(seed).to_dict()) | odd)
    try:
        check(config)
        built(config)
    except UserError as error:
        assert_is_a_sentence(error)


SHARES = (1e-300, 1e-30, 0.1, 0.77, 0.99, 0.9985, 0.999998, 0.99999999)
SIZES = (1e-45, 1e-7, 1.0, 10.0, 45.0, 89.0, 359.0, 1e5, 1e29, 1e38, 1e300, math.nan, math.inf, -1.0)


@st.composite
def structure_and_numbers(draw) -> tuple[int, dict]:
    """The seed of a structure, and other numbers for some of its fields that are arguments of the compiled step."""
    seed = draw(st.integers(0, 4))
    config, chosen = drawn_structure(seed), {}
    on = {name for name in config_numbers._SWITCHES if np.any(config[name])}
    for name in draw(names(config_numbers._NUMBERS | on | {"seed", "optimizer.learning_rate"}, 3)):
        if isinstance(DEFAULTS[name], int):
            chosen[name] = draw(st.sampled_from(ODD[int]))
            continue
        number = draw(st.sampled_from(SHARES if name.endswith("dropout") else SHARES + SIZES))
        entries = config[name]  # Of a tuple, those that are switched on.
        chosen[name] = tuple(entry and number for entry in entries) if isinstance(entries, tuple) else number
    return seed, chosen


@functools.cache
def compiled_first_step(seed: int):
    """A config, and (numbers, images, labels) -> (state before, state after, metrics), compiled quickly, not well."""
    config = drawn_structure(seed)
    train_step = built(config)

    def first_step(numbers, *batch):
        state = step.init_state(config, CLASSES, numbers)
        return state, *train_step(state, batch)

    lowered = jax.jit(first_step).lower(step.numbers_of(config), *batch())
    return config, lowered.compile(compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.slow
@settings(max_examples=60)
@hypothesis.given(structure_and_numbers())
def test_a_first_step_with_any_accepted_numbers_is_finite(drawn):
    seed, numbers = drawn
    config, first_step = compiled_first_step(seed)
    own = changed(flat(config.to_dict()) | numbers)
    try:
        check(own)
    except UserError as error:
        assert_is_a_sentence(error)
        return
    assert config_numbers.structure(own) == config_numbers.structure(config)
    before, after, metrics = jax.device_get(first_step(step.numbers_of(own), *batch()))
    assert_is_kept(before, after)
    assert np.isfinite(metrics.loss.total) and after.step == before.step + 1
    if own.optimizer.learning_rate <= 1:
        assert all(np.isfinite(array).all() for array in jax.tree.leaves(after.params))
