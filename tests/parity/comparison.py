"""How a part of digits is compared with the same part of Keras.

An array that passes through many operations is compared in float64 to 1e-9. Two correct programs differ there by about
1e-14, so a larger difference is a different definition. In float32 two correct programs differ by 1e-6 to 1e-4, as
much as some wrong definitions do (another epsilon, a biased variance), and a tolerance that is never flaky would hide
them. The program is the same in both precisions: only the weights and images that it is given are float64. Tolerances
are relative to the largest magnitude of the array.
"""

import contextlib
import importlib
from unittest import mock

import jax
import jax.numpy as jnp
import keras
from keras.src.backend.common import dtypes as keras_dtypes
import numpy as np

# The programs are large and run once: compiling them with little or no optimisation saves a third of the time.
# (With none at all, XLA's own convolutions of float64 take seconds.)
UNOPTIMISED, LITTLE_OPTIMISED = {"xla_backend_optimization_level": 0}, {"xla_backend_optimization_level": 1}


@contextlib.contextmanager
def double_precision():
    """Puts JAX and Keras into float64, and both back at the end.

    Keras on JAX turns float64 into float32 wherever it promotes types, in BatchNorm for example, because JAX used to.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        with jax.enable_x64(True), mock.patch.dict(keras_dtypes.BIT64_TO_BIT32_DTYPE, float64="float64"):
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def as_float64(tree):
    """The tree with its floating arrays as float64."""
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def assert_close(actual, expected, tolerance=1e-9):
    """Equal within `tolerance` of the largest magnitude of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(expected).all() and np.abs(expected).max() > 0, "the reference must be able to show a difference"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def load(name):
    """The config of an experiment by its name: `load("deep_cnn")`."""
    return importlib.import_module(f"configs.{name}").get_config()
