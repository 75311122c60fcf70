"""Opens pictures as RGB or RGBA. tests/hostile_test.py and segment_test.py have the pictures that are refused."""

import io

import numpy as np
from PIL import Image
import pytest

from digits.data.pictures import opening
from digits.errors import UserError


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_pictures_come_in_colours_and_with_transparency_only_if_they_may_have_it(tmp_path):
    assert opening.open_picture(saved(Image.new("L", (4, 3), 7))).mode == "RGB"
    assert opening.open_picture(saved(Image.new("LA", (4, 3)))).mode == "RGBA"
    assert opening.open_picture(saved(Image.new("L", (4, 3), 7), transparency=7)).mode == "RGBA"
    (tmp_path / "a.png").write_bytes(saved(Image.new("RGB", (4, 3), (1, 2, 3))))
    picture = opening.open_picture(tmp_path / "a.png")
    assert picture.size == (4, 3) and picture.getpixel((0, 0)) == (1, 2, 3)


def test_sixteen_bit_greys_are_scaled_not_clipped():
    greys = np.array([[0, 257, 65535]], np.uint16)
    np.testing.assert_array_equal(np.asarray(opening.open_picture(saved(Image.fromarray(greys))))[0, :, 0], [0, 1, 255])


def test_a_path_that_is_no_file_gives_one_sentence(tmp_path):
    with pytest.raises(UserError, match="none.png is not there"):
        opening.open_picture(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder, but it must be an image file"):
        opening.open_picture(str(tmp_path))
    with pytest.raises(UserError, match="is no regular file"):
        opening.open_picture("/dev/zero")
    with pytest.raises(UserError, match="zero.byte is not there"):
        opening.open_picture("zero\0byte")
    with pytest.raises(UserError, match="xxx cannot be read: .*too long"):
        opening.open_picture("x" * 5000)
