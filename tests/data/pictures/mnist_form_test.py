"""The ink of a digit in 28x28 pixels: its size, its place and its contrast."""

import numpy as np

from digits.data.pictures import mnist_form


def extent(image):
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def test_center_takes_the_mean_over_the_area_of_each_pixel():
    blocks = np.random.default_rng(0).integers(0, 256, (20, 20)) / 255
    blocks[0, 0] = 1
    fitted = mnist_form.center(np.kron(blocks, np.ones((3, 3))))
    top, left = next((y, x) for y in range(9) for x in range(9) if fitted[y : y + 20, x : x + 20].sum() == fitted.sum())
    np.testing.assert_array_equal(fitted[top : top + 20, left : left + 20], np.round(255 * blocks))


def test_what_has_its_mass_far_from_its_middle_is_kept_whole():
    strength = np.zeros((100, 100))
    strength[:, 46:54], strength[90:] = 0.5, 1  # A heavy foot: in the middle, it would push the top out of the picture.
    assert extent(mnist_form.center(strength)) == (20, 20)


def test_the_centre_of_mass_lies_in_the_middle_and_the_ink_is_full():
    small = np.zeros((20, 12))
    small[3:9, 2:5] = 100
    image = mnist_form.placed(small)
    assert image.shape == (28, 28) and image.dtype == np.uint8 and image.max() == 255
    for axis in (0, 1):
        assert 13.5 <= image.sum(1 - axis) @ np.arange(28) / image.sum() < 14.5
