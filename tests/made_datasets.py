"""Small made-up datasets, damage to their files, and what reading them is compared with."""

import numpy as np


def small_sets(seed=0, counts=(40, 15), classes=10):
    """Training images and labels, test images and labels: noise; every class occurs."""
    rng = np.random.default_rng(seed)
    return [
        array
        for n in counts
        for array in (
            rng.integers(0, 256, (n, 28, 28), np.uint8),
            rng.permutation(np.arange(n) % classes).astype(np.uint8),
        )
    ]


def assert_same_arrays(dataset, arrays):
    for got, expected in zip(dataset.arrays, arrays, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def flip_method(path):
    """Marks the archive's members as compressed by a method that does not exist."""
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\1\2")
    raw[entry + 10] = 99
    path.write_bytes(raw)


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
