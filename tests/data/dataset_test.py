"""A dataset: four arrays, and the digest over their bytes."""

import hashlib

import numpy as np

from configs import base
from digits import data
from digits.data import Dataset
from tests.made_datasets import small_sets


def test_the_digest_is_of_the_bytes_of_all_arrays_whatever_their_strides():
    arrays = small_sets()
    digest = Dataset("x", *arrays, ("a", "b")).digest()
    assert digest == hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    strided = [np.repeat(array, 2, axis=0)[::2] for array in arrays]
    dataset = Dataset("y", *strided, ("c",), "/data")
    assert dataset.digest() == digest and dataset.arrays[3] is dataset.test_labels
    for place in range(4):
        changed = [array.copy() for array in arrays]
        changed[place].flat[0] += 1
        assert Dataset("x", *changed, ("a", "b")).digest() != digest


def test_a_dataset_and_its_splits_show_counts_and_no_arrays():
    dataset = data.load("optdigits")
    assert repr(dataset) == "Dataset(optdigits: 1,437 training and 360 test images of 28x28, 10 classes)"
    config = base.get_config().data
    for validation, held in (("last(100)", 100), ("none", 0)):
        config.validation = validation
        expected = f"Splits({1437 - held:,} training, {held} validation, 360 test images)"
        assert repr(data.split(dataset, config)) == expected
