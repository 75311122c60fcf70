"""What the parity tests share: float64 for a test, and a guard that no test leaves it on.

Keras runs on its JAX backend, which tests/conftest.py chooses before anything imports Keras.
"""

import jax.numpy as jnp
import keras
import pytest

from tests.parity import comparison

# Keras's own code gives them.
WARNINGS = [
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
    "ignore:Please import `affine_transform` from:DeprecationWarning",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "parity":
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def float64():
    """JAX and Keras in float64 for the duration of the test."""
    with comparison.double_precision():
        yield


@pytest.fixture(autouse=True)
def nothing_leaks():
    """Fails a test that leaves float64 on for the tests that follow."""
    yield
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"
    assert jnp.ones(()).dtype == jnp.float32
