"""Opens pictures as RGB or RGBA. tests/hostile_test.py and segment_test.py have the pictures that are refused."""

import io
import struct
import zlib

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


@pytest.mark.parametrize("bits, white", [(10, 1023), (12, 4095), (16, 65535)])
def test_ten_and_twelve_bits_in_sixteen_are_as_many_as_the_largest_grey_has(bits, white):
    greys = np.array([[0, white // 2, white - 2]], np.uint16)
    picture = opening.open_picture(saved(Image.fromarray(greys)))
    assert picture.info["white"] == white
    np.testing.assert_allclose(np.asarray(picture)[0, :, 0], [0, 127, 255], atol=1)
    # A darker picture of the same set has the same white.
    dark = opening.open_picture(saved(Image.fromarray(greys // 4)), white)
    np.testing.assert_allclose(np.asarray(dark)[0, :, 0], [0, 32, 64], atol=1)


def test_pictures_of_more_than_eight_bits_are_converted_strip_by_strip_as_in_one(monkeypatch):
    deep = np.random.default_rng(0).integers(0, 4000, (7, 5))
    for kind in (np.uint16, np.int32, np.float32):
        file = io.BytesIO()
        Image.fromarray(deep.astype(kind)).save(file, "TIFF")
        once = np.asarray(opening.open_picture(file.getvalue()))
        with monkeypatch.context() as patch:
            patch.setattr(opening, "_STRIP", 10)
            np.testing.assert_array_equal(opening.open_picture(file.getvalue()), once)
        assert np.ptp(once) > 200


@pytest.mark.parametrize(
    "mode, kind, words",
    [
        ("L", "WEBP", "has 20 x 15 pixels, but a WebP may have 200 in all"),
        ("RGB", "JPEG", "but a progressive JPEG may have 200 in all"),
        ("CMYK", "JPEG", "but one in CMYK may have 200 in all"),
        ("F", "TIFF", "but one of 32 bits a pixel may have 200 in all"),
        ("L", "TIFF", ""),
        ("RGB", "JPEG", ""),
    ],
)
def test_kinds_that_take_more_memory_may_have_fewer_pixels(mode, kind, words, monkeypatch):
    monkeypatch.setattr(opening, "MOST_PIXELS", 400)
    file = io.BytesIO()
    Image.new(mode, (20, 15)).save(file, kind, progressive="progressive" in words)
    assert opening.declared_pixels(file.getvalue()) == 300
    if not words:
        assert opening.open_picture(file.getvalue()).size == (20, 15)
        return
    with pytest.raises(UserError, match=words):
        opening.open_picture(file.getvalue())


def test_a_small_tiff_of_large_tiles_is_refused(monkeypatch):
    tile = zlib.compress(bytes(160 * 320))
    tags = {256: 30, 257: 20, 258: 8, 259: 8, 262: 1, 277: 1, 322: 160, 323: 320, 324: 134, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tile
    assert opening.open_picture(content).size == (30, 20)
    monkeypatch.setattr(opening, "_LARGEST_TILE", 50_000)
    with pytest.raises(UserError, match="is a TIFF with tiles of 160 x 320 pixels, but has only 30 x 20 pixels"):
        opening.open_picture(content)


def test_palettes_and_single_bits_are_colours():
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.putpixel((1, 0), 1)
    for picture in (bits, palette):
        np.testing.assert_array_equal(np.asarray(opening.open_picture(saved(picture)))[0, :, 0], [0, 255])


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_all_pages_are_opened_up_to_a_bound(kind):
    pages = [Image.new("RGB", (9, 8), (40 * n,) * 3) for n in range(1, 4)]
    file = io.BytesIO()
    pages[0].save(file, kind, save_all=True, append_images=pages[1:])
    every = list(opening.open_pages(file.getvalue()))  # A later page does not replace an earlier one.
    opened = [np.asarray(page.convert("RGB")).mean() for page in every]
    np.testing.assert_allclose(opened, [40, 80, 120], atol=3)
    many = [Image.new("RGB", (9, 8), (n, 0, 0)) for n in range(opening.MOST_PAGES + 1)]
    file = io.BytesIO()
    many[0].save(file, "TIFF", save_all=True, append_images=many[1:])
    with pytest.raises(UserError, match="the picture has more than 20 pages or frames: save"):
        list(opening.open_pages(file.getvalue()))


def test_a_smaller_copy_in_a_tiff_is_no_page():
    page = Image.new("RGB", (9, 8))
    thumbnail = page.resize((3, 3))
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    file = io.BytesIO()
    page.save(file, "TIFF", save_all=True, append_images=[thumbnail])
    assert [page.size for page in opening.open_pages(file.getvalue())] == [(9, 8)]


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
