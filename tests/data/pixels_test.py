"""What pixels mean: every scale is brought to 0 to 255, white on black, and said, or refused."""

import numpy as np
import pytest

from digits import data
from digits.data import pixels
from digits.errors import UserError
from tests.made_datasets import strokes

pytestmark = pytest.mark.usefixtures("mnist_dir")

IMAGES, LABELS = strokes()
WHOLE = (IMAGES > 0) * np.uint8(255)  # Black and white alone.

SCALES = {
    "bytes": (IMAGES, IMAGES, ""),
    "0 and 1 in bytes": (WHOLE // 255, WHOLE, "only 0 and 1: taken as black and white"),
    "0 and 1 in int64": ((WHOLE // 255).astype(int), WHOLE, "only 0 and 1: taken as black and white"),
    "booleans": (WHOLE > 0, WHOLE, "only 0 and 1: taken as black and white"),
    "0.0 and 1.0": (WHOLE / 255, WHOLE, "floats from 0 to 1"),
    "4 bits": (WHOLE // 17, WHOLE, "go from 0 to 15: brought to 0 to 255"),
    "17 greys": (WHOLE // 255 * 16.0, WHOLE, "go from 0 to 16: brought to 0 to 255"),
    "10 bits": (IMAGES.astype(np.uint16) * 4, IMAGES, "go up to 1,020: taken as 10 bits"),
    "12 bits": (IMAGES.astype(np.int32) * 16, IMAGES, "go up to 4,080: taken as 12 bits"),
    "16 bits": (IMAGES.astype(np.uint16) * 257, IMAGES, "go up to 65,535: taken as 16 bits"),
    "8 bits in 64": (IMAGES.astype(np.int64), IMAGES, ""),
    "0 to 1": ((IMAGES / 255).astype(np.float32), IMAGES, "floats from 0 to 1: multiplied by 255"),
    "half floats": ((IMAGES / 255).astype(np.float16), IMAGES, "floats from 0 to 1: multiplied by 255"),
    "-1 to 1": ((IMAGES / 127.5 - 1).astype(np.float32), IMAGES, "floats from -1 to 1"),
    "whole floats": (IMAGES.astype(float), IMAGES, ""),
    "0.0 to 255.0": (np.clip(IMAGES + 0.25, 0, 255), IMAGES, "floats from 0 to 255: rounded"),
    "dark on light": (255 - IMAGES, IMAGES, "dark on light: inverted"),
    "dark on light, 0 to 1": (1 - IMAGES / 255, IMAGES, "dark on light: inverted"),
    "half as bright": (IMAGES // 3, IMAGES // 3, "no pixel is above 85: taken as they are"),
}


@pytest.mark.parametrize("name", SCALES)
def test_scales_are_brought_to_bytes_and_said(tmp_path, name):
    given, expected, words = SCALES[name]
    np.savez(tmp_path / "set.npz", x_train=given[:40], y_train=LABELS[:40], x_test=given[40:], y_test=LABELS[40:])
    dataset = data.load(str(tmp_path / "set.npz"))
    found = np.concatenate([dataset.train_images, dataset.test_images])
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1 if "bits" in name else 0)
    assert words in " ".join(dataset.notes) and bool(words) == bool(dataset.notes)


AMBIGUOUS = {
    "standardised": ((IMAGES / 255 - 0.13) / 0.31, "as if they had been standardised"),
    "twice divided": (IMAGES / 255 / 255, "as if they had been standardised"),
    "shifted": (IMAGES.astype(int) - 128, "from -128 to 127"),
    "no scale": (IMAGES % 41, "go from 0 to 40, which is no known scale"),
    "floats to 10": (IMAGES / 25.1, "floats from 0 to 10"),
    "32 bits": (IMAGES.astype(np.int64) * 1000, "16 bits are the most"),
    "not finite": (np.where(IMAGES == 255, np.nan, IMAGES / 255), "some are not finite"),
    "all black": (IMAGES * 0, "all are 0"),
    "complex": (IMAGES * 1j, "complex128"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_pixels_are_refused(tmp_path, name):
    given, words = AMBIGUOUS[name]
    np.savez(tmp_path / "set.npz", x_train=given, y_train=LABELS)
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set.npz"))
    assert str(tmp_path / "set.npz") in str(error.value) and words in str(error.value)


def test_training_and_test_images_of_different_scales_are_refused(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES / 255, y_test=LABELS)
    with pytest.raises(UserError, match="training images go up to 255, those of the test images to 1;"):
        data.load(str(tmp_path / "set.npz"))


def test_images_unlike_the_others_are_counted():
    odd = IMAGES.copy()
    odd[::10] = 255 - odd[::10]
    assert pixels.as_bytes([odd])[1] == [
        "6 of 60 images are dark on light, unlike the others: check that this is meant"
    ]
    odd[1] = 7
    assert "1 of 60 images are of one grey alone" in pixels.as_bytes([odd])[1]
