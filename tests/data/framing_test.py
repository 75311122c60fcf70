"""Pictures of any size and colour become 28x28 grey pixels: their proportions, their ground, what is transparent."""

import numpy as np
from PIL import Image
import pytest

from digits.data.framing import framed
from tests.made_datasets import strokes


def test_a_grey_picture_of_28x28_stays_as_it_is():
    (image,), _ = strokes(1)
    found = framed(Image.fromarray(image).convert("RGB"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("size", [(50, 31), (1, 1), (3, 300), (280, 280)])
@pytest.mark.parametrize("value", [0, 40, 255])
def test_one_colour_of_any_size_stays_the_same(size, value):
    np.testing.assert_array_equal(framed(Image.new("RGB", size, (value,) * 3)), np.full((28, 28), value))


@pytest.mark.parametrize("size", [(56, 28), (28, 56)])
@pytest.mark.parametrize("ink, ground", [(255, 0), (0, 255)])
def test_pictures_that_are_not_square_keep_their_proportions(size, ink, ground):
    picture = Image.new("L", size, ground)
    left, top = ((length - 28) // 2 for length in size)
    picture.paste(ink, (left + 4, top + 4, left + 24, top + 24))  # A square, in the middle.
    is_ink = (framed(picture) > 127) == (ink > 127)
    rows, columns = (np.flatnonzero(is_ink.any(axis)) for axis in (1, 0))
    assert rows.tolist() == columns.tolist() == list(range(9, 19))


@pytest.mark.parametrize("ink, ground", [("black", 255), ("white", 0)])
def test_ink_on_a_transparent_ground_can_be_seen(ink, ground):
    (image,), _ = strokes(1)
    picture = Image.new("RGBA", (28, 28), ink)
    picture.putalpha(Image.fromarray(image))
    np.testing.assert_array_equal(framed(picture), image if ground == 0 else 255 - image)


@pytest.mark.parametrize("alpha, value", [(0, 255), (255, 200)])
def test_a_picture_that_is_transparent_or_opaque_all_over_lies_on_white(alpha, value):
    assert (framed(Image.new("RGBA", (28, 28), (200, 200, 200, alpha))) == value).all()
