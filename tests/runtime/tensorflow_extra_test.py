"""TensorFlow is imported in silence and leaves the GPU to JAX."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import jax
from digits.runtime.tensorflow_extra import import_tensorflow

tf = import_tensorflow()
assert import_tensorflow() is tf
print(tf.add(1, 2).numpy(), tf.config.get_visible_devices("GPU"))
assert import_tensorflow() is tf  # Devices can no longer be chosen.
"""


@pytest.mark.slow
def test_the_import_says_nothing_and_takes_no_gpu():
    pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 []\n", "")
