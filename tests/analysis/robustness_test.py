"""Changes of images whose outcome is known, and the accuracies that they lead to."""

import numpy as np
import pytest

from digits.analysis import robustness, statistics

NOTHING = {"contrast": 1}  # The amount of each change that is none of it, where it is not 0.


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)


def dot(row, column):
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, row, column] = 255
    return image


def test_a_shift_moves_every_pixel_and_leaves_an_empty_border(images):
    right, up = robustness.shift_right(images, 3), robustness.shift_down(images, -2)
    np.testing.assert_array_equal(right[:, :, 3:], images[:, :, :-3])
    np.testing.assert_array_equal(up[:, :-2], images[:, 2:])
    assert not right[:, :, :3].any() and not up[:, -2:].any()
    np.testing.assert_array_equal(robustness.shift_right(images, -28), 0 * images)
    np.testing.assert_array_equal(robustness.shift_down(dot(5, 7), 4), dot(9, 7))
    np.testing.assert_array_equal(robustness.shift_right(dot(5, 7), -4), dot(5, 3))


def test_a_rotation_by_right_angles_is_that_of_numpy_and_corners_come_in_empty(images):
    for quarters in (1, 2, -1):
        np.testing.assert_array_equal(robustness.rotate(images, 90 * quarters), np.rot90(images, quarters, axes=(1, 2)))
    turned = robustness.rotate(np.full((1, 28, 28), 255, np.uint8), 45)[0]
    assert turned[0, 0] == turned[27, 27] == turned[0, 27] == 0 and turned[14, 14] == 255


def test_blur_keeps_the_ink_and_widens_by_its_sigma():
    blurred = robustness.blur(dot(14, 14) / 255, 2.0)[0]
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    distances = np.arange(28) - 14
    assert np.sqrt(np.sum(blurred.sum(axis=0) * distances**2)) == pytest.approx(2, rel=0.01)
    at_the_edge = robustness.blur(dot(0, 14) / 255, 2.0)
    assert at_the_edge.sum() < 0.7  # What leaves does not come back.


def test_noise_has_its_deviation_the_same_at_every_call_and_for_every_number_of_images():
    grey = np.full((20, 28, 28), 0.5)
    noisy = robustness.add_noise(grey, 0.1)
    assert (noisy - grey).std() == pytest.approx(0.1, rel=0.03) and abs((noisy - grey).mean()) < 0.003
    np.testing.assert_array_equal(noisy[:5], robustness.add_noise(grey[:5], 0.1))
    assert np.abs(noisy[0] - noisy[1]).max() > 0.1
    wild = robustness.add_noise(grey, 5.0)
    assert wild.min() == 0 and wild.max() == 1


def test_contrast_and_brightness():
    image = np.array([[[0, 0.2], [0.4, 0.6]]])
    np.testing.assert_allclose(robustness.contrast(image, 0.5), [[[0.15, 0.25], [0.35, 0.45]]])
    np.testing.assert_allclose(robustness.brighten(image, 0.5), [[[0.5, 0.7], [0.9, 1.0]]])
    np.testing.assert_array_equal(robustness.brighten(dot(0, 1), 0.2)[0, 0, :3], [51, 255, 51])


@pytest.mark.parametrize("name", robustness.CHANGES)
def test_every_change_keeps_type_and_shape_and_none_of_it_is_the_image_itself(name, images):
    change = robustness.CHANGES[name]
    for given in (images, np.float32(images / 255)):
        before = given.copy()
        for amount in change.amounts:
            changed = change.function(given, amount)
            assert (changed.shape, changed.dtype) == (given.shape, given.dtype)
            assert np.abs(np.float64(changed) - given).max() > 0.01 * given.max()
        np.testing.assert_allclose(change.function(given, NOTHING.get(name, 0)), given, atol=1e-7)
        np.testing.assert_array_equal(given, before)


def test_accuracy_under_every_change_comes_with_its_interval():
    # Whether the upper half of the image is the brighter one; a dot four rows above the middle crosses it at 4 pixels.
    images, labels = np.concatenate([dot(10, 14), dot(23, 14)] * 10), np.array([1, 0] * 10)

    def upper(images):
        return np.stack([images[:, 14:].sum(axis=(1, 2)), images[:, :14].sum(axis=(1, 2))], axis=1)

    rows = list(robustness.measure(upper, images.astype(np.uint8), labels))
    assert len(rows) == robustness.COUNT
    assert rows[0] == {
        "change": "none",
        "amount": 0,
        "unit": "",
        "accuracy": 1.0,
        "accuracy_interval": statistics.wilson(20, 20),
        "n": 20,
    }
    down = {row["amount"]: row["accuracy"] for row in rows if row["change"] == "shift down"}
    assert down == {-4: 1, -3: 1, -2: 1, -1: 1, 1: 1, 2: 1, 3: 1, 4: 0.5}
    named = {(row["change"], row["unit"]) for row in rows[1:]}
    assert named == {(name, change.unit) for name, change in robustness.CHANGES.items()}


def test_some_of_the_images_are_from_all_over_the_set():
    np.testing.assert_array_equal(robustness.spread(10, 4), [0, 2, 5, 7])
    np.testing.assert_array_equal(robustness.spread(3, 4), [0, 1, 2])
    assert len(np.unique(robustness.spread(10_000, 2_000))) == 2_000 and robustness.spread(10_000, 2_000)[-1] == 9_995
