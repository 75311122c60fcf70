"""Runs that nobody trained, with weights and statistics that let no layer go unnoticed."""

import math
import pathlib

from flax import nnx
import jax
import numpy as np

from digits import models
from digits.config.values import with_values
from digits.models import families
from digits.runs import loading
from tests.conftest import tiny_config

NAMES = tuple("0123456789")


def model(config, classes=10, seed=0):
    """The network of a `config.model`."""
    rng = np.random.default_rng(seed)

    def weights(like):  # Larger than initial ones, and positive where they may be variances.
        fan_in = math.prod(like.shape[:-1])
        numbers = rng.normal(0, 2 / fan_in**0.5, like.shape) if like.ndim > 1 else rng.uniform(0.1, 0.5, like.shape)
        return numbers.astype(np.float32)

    graphdef, *shapes = families.parts(models.outline(config, classes))
    return nnx.merge(graphdef, *jax.tree.map(weights, shapes))


def run(names=NAMES, normalization="unit", result=None, **values):
    """A run; `values` are fields of config.model."""
    fields = {f"model.{field}": value for field, value in values.items()} | {"data.normalization": normalization}
    config = with_values(tiny_config(), fields)
    network = model(config.model, len(names))
    return loading.Run(pathlib.Path("made"), "made", {}, config, network, tuple(names), 2, [], result)
