"""What the tests of datasets share."""

import pytest

from digits import data
from tests.made_datasets import small_sets


@pytest.fixture
def mnist_noise(tmp_path):
    """Noise of 200 training and 90 test examples under the name of MNIST, from the folder `files/given`."""
    arrays = small_sets(counts=(200, 90))
    return data.Dataset("mnist", *arrays, tuple("0123456789"), str(tmp_path / "files" / "given"))
