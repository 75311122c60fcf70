"""Small made-up datasets, damage to their files, and what reading them is compared with."""

import gzip
import struct

import numpy as np

from digits.data.idx import IDX_FILES


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


def strokes(count=60, classes=10, seed=0):
    """Images, white on black, and labels in turn: a stroke in a place of each class's own, none touching the edge."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label in zip(images, labels):
        image[4 + label : 8 + label, 6:22] = rng.integers(128, 256, (4, 16))
    images[:, 10, 10] = 255
    return images, labels


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


def idx_bytes(array):
    """A uint8 array as the bytes of an IDX file."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, arrays):
    """Writes the four plain IDX files into a folder, which it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(IDX_FILES, arrays, strict=True):
        (folder / stem).write_bytes(idx_bytes(array))
    return folder


def some_writers(count=200, people=23, seed=0):
    """A number of NIST's for each example; some wrote many, others as few as each other."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, people + 1) // 3 + 1.0
    ids = rng.choice(2600, people, replace=False)
    return np.concatenate([ids, rng.choice(ids, count - people, p=shares / shares.sum())]).astype(np.int32)


def write_writers(path, labels, people):
    """An IDX file as QMNIST's, gzipped if its name says so."""
    table = np.arange(8 * len(labels), dtype=">i4").reshape(-1, 8)
    table[:, 0], table[:, 2] = labels, people
    raw = bytes((0, 0, 12, 2)) + struct.pack(">2I", *table.shape) + table.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def save_csv(path, images, labels, header=False, end=""):
    rows = [",".join(["label", *(f"pixel{n}" for n in range(784))])] if header else []
    rows += [",".join(map(str, [label, *image.ravel()])) for image, label in zip(images, labels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + end)
    return path
