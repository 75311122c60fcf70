"""The embedded dataset is scikit-learn's, in MNIST's form, and the same every time."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn import datasets, model_selection

from digits import data
from digits.data.optdigits import read_optdigits

pytestmark = pytest.mark.usefixtures("mnist_dir")


def bicubic_matrix(size, larger, start, stop):
    """Keys's cubic convolution (a = -1/2) from pixels `start` to `stop` of `size` to `larger`, normalised at edges."""
    place = start + (np.arange(larger) + 0.5) * (stop - start) / larger - 0.5
    d = np.abs(place[:, None] - np.arange(size))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def enlarged(image, shape, box):
    """As Pillow does it: rows, then columns, rounded and clipped after each."""
    rows, columns = (bicubic_matrix(8, n, *edges) for n, edges in zip(shape, box))
    image = np.clip(np.round(image @ columns.T), 0, 255)
    return np.clip(np.round(rows @ image), 0, 255)


def test_optdigits_is_scikit_learns_set_in_mnists_form():
    dataset = data.load("optdigits")
    assert [array.shape for array in dataset.arrays] == [(1437, 28, 28), (1437,), (360, 28, 28), (360,)]
    assert all(array.dtype == np.uint8 for array in dataset.arrays)
    assert dataset.class_names == tuple("0123456789")
    digits = datasets.load_digits()
    train, test = model_selection.train_test_split(np.arange(1797), test_size=0.2, random_state=0)
    for images, labels, indices in ((*dataset.arrays[:2], train), (*dataset.arrays[2:], test)):
        np.testing.assert_array_equal(labels, digits.target[indices])
        for image, source in zip(images, np.round(digits.images[indices] * 255 / 16), strict=True):
            # Tenfold, it shows between which tenths of a pixel there is at least a fifth of the full ink.
            ink = enlarged(source, (80, 80), ((0, 8), (0, 8))) > 51
            box = np.array([np.flatnonzero(ink.any(axis))[[0, -1]] + [0, 1] for axis in (1, 0)])
            lengths = np.ptp(box, axis=1)
            small = enlarged(source, np.round(lengths * (20 / lengths.max())).astype(int), box / 10)
            small *= 255 / small.max()
            assert max(small.shape) == 20 and image.max() == 255
            middle = np.array(ndimage.center_of_mass(image))
            assert np.all(np.abs(middle - 14) < 0.52)
            top, left = np.round(middle - ndimage.center_of_mass(small)).astype(int)
            expected = np.zeros((28, 28))
            expected[top : top + len(small), left : left + small.shape[1]] = small
            np.testing.assert_allclose(image, expected, rtol=0, atol=2.5)


def test_class_names_are_the_digits():
    images, labels = read_optdigits().arrays
    assert images.shape == (1797, 28, 28) and images.dtype == labels.dtype == np.uint8
    assert data.load("optdigits").class_names == tuple("0123456789") and set(labels) == set(range(10))
