"""How much of each pixel is ink."""

import numpy as np

from digits.data.pictures import ink
from tests.drawing import coloured, page


def test_ink_is_between_none_and_full():
    strength = ink.find_ink(coloured(page(), (90, 20, 20), (200, 220, 240)))
    assert strength.dtype == np.float32 and strength.shape == (160, 200)
    assert strength.min() == 0 and strength.max() == 1
    np.testing.assert_allclose(strength, page(), atol=0.05)


def test_each_new_pixel_is_the_mean_over_its_area():
    values = np.random.default_rng(0).random((6, 9, 2))
    np.testing.assert_allclose(ink.resized(values, (2, 3)), values.reshape(2, 3, 3, 3, 2).mean((1, 3)), rtol=1e-6)
    halves = ink.resized(np.array([[0.0, 3.0, 6.0]]), (1, 2))  # The middle pixel lies in both.
    np.testing.assert_allclose(halves, [[1, 5]], rtol=1e-6)
