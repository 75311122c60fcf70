"""A sheet of digits: where each lies, its colours, its captions."""

import io

import numpy as np
from PIL import Image
import pytest

from digits import errors
from digits.analysis.figures import sheet


def test_digits_lie_row_by_row_dark_on_white():
    images = np.zeros((5, 28, 28), np.uint8)
    for i in range(5):
        images[i, i, i] = 255
    picture = sheet.sheet(images, columns=3, scale=2)
    assert picture.shape == (2 * (56 + 8) + 8, 3 * (56 + 8) + 8, 3) and picture.dtype == np.uint8
    for i in range(5):
        top, left = 8 + i // 3 * 64, 8 + i % 3 * 64
        cell = picture[top : top + 56, left : left + 56]
        assert (cell[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] == 0).all() and (cell == 0).all(-1).sum() == 4
    for other in (images / 255, images.astype(np.int64)):
        np.testing.assert_array_equal(picture, sheet.sheet(other, columns=3, scale=2))


def test_captions_get_the_room_they_need():
    images = np.zeros((2, 28, 28), np.uint8)
    plain = sheet.sheet(images, columns=2)
    one, two = sheet.sheet(images, ["1", "2"], columns=2), sheet.sheet(images, ["1\n2", "a long caption of a digit"], 2)
    assert plain.shape[0] < one.shape[0] < two.shape[0] and plain.shape[1] == one.shape[1] < two.shape[1]
    below = one[8 + 84 + 2 :]
    assert (below < 128).any()  # The text is there.
    np.testing.assert_array_equal(one, sheet.sheet(images, np.array([1, 2]), columns=2))  # Labels are as good.
    with pytest.raises(errors.UserError, match="2 images has 3 captions"):
        sheet.sheet(images, ["1", "2", "3"])


def test_a_colour_map_draws_as_matplotlib_does():
    images = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    import matplotlib

    expected = matplotlib.colormaps["afmhot"](images[0], bytes=True)[..., :3]
    np.testing.assert_array_equal(sheet.sheet(images, scale=1, colormap="afmhot")[8:36, 8:36], expected)


def test_examples_say_what_was_true_and_what_was_predicted():
    entries = [{"index": 1, "label": 0, "prediction": 2, "probability": 0.75}]
    images = np.zeros((3, 28, 28), np.uint8)
    images[1] = 255
    picture = sheet.examples(entries, images, ("cat", "dog", "bird"))
    caption = "image 1\ntrue cat\npredicted bird\np = 0.7500"
    np.testing.assert_array_equal(picture, sheet.sheet(images[1:2], [caption]))


def test_a_png_holds_the_picture_and_no_images_are_refused():
    picture = sheet.sheet(np.zeros((1, 28, 28), np.uint8))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(sheet.png(picture)))), picture)
    with pytest.raises(errors.UserError, match="at least one image"):
        sheet.sheet(np.zeros((0, 28, 28)))
    with pytest.raises(errors.UserError, match="colormap is 'nope', but it must be one of matplotlib's"):
        sheet.sheet(np.zeros((1, 28, 28)), colormap="nope")
