"""Digits out of a person's picture: MNIST's form, whatever the colours, the format, the light and the place."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
from PIL import Image
import pytest
from sklearn import datasets

from digits import data
from digits.data.pictures import mnist_form, segment
from digits.errors import UserError
from tests import drawing
from tests.conftest import slow
from tests.drawing import BLACK, WHITE, coloured, encoded, page, written


def only(source):
    (digit,) = segment.read(source)
    return digit


def extent(image):
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


@pytest.mark.parametrize("digit, side", [(digit, side) for digit in range(10) for side in (20, 150)] + [(4, 1900)])
def test_a_digit_of_any_size_gets_mnists_form(digit, side):
    coverage = page(digit, round(0.8 * side), 0.08, side, side, 0, 1)
    image = only(encoded(coloured(coverage, BLACK, WHITE))).image
    assert image.shape == (28, 28) and image.dtype == np.uint8 and image.max() == 255
    assert max(extent(image)) == 20
    for axis in (0, 1):
        assert 13.5 <= image.sum(1 - axis) @ np.arange(28.0) / image.sum() < 14.5
    rows, columns = np.nonzero(coverage > 0.5)
    size = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    assert np.abs(extent(image) - 20 * size / size.max()).max() < 1 + 20 / size.max()  # A pixel of either picture.


@pytest.mark.parametrize("pen", [0.0015, 0.006, 0.03])
def test_thin_strokes_are_thickened_before_they_would_vanish(pen):
    thin = only(encoded(coloured(page(2, 700, pen, 800, 800), BLACK, WHITE))).image
    thick = only(encoded(coloured(page(2, 700, 0.1, 800, 800), BLACK, WHITE))).image
    assert 1.8 < mnist_form.stroke_width(thin / 255) < 2.5
    assert np.corrcoef(thin.ravel(), thick.ravel())[0, 1] > 0.85


COLOURS = {
    "light on dark": (WHITE, BLACK),
    "colours of one brightness": ((220, 60, 60), (60, 140, 60)),
    "yellow on blue": ((250, 230, 80), (40, 50, 160)),
    "faint": ((225, 225, 225), (245, 245, 245)),
    "dark on transparent": (BLACK, None),
    "light on transparent": (WHITE, None),
}


@pytest.mark.parametrize("colours", COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize("digit", [4, *slow(0, 1, 8)])
def test_colours_make_no_difference(digit, colours):
    expected = only(encoded(coloured(page(digit), BLACK, WHITE)))
    got = only(encoded(coloured(page(digit), *colours)))
    assert got.box == expected.box
    assert np.abs(got.image.astype(int) - expected.image).mean() < 3


def transparent_palette(image):
    quantized = image.quantize(8)
    return quantized, {"format": "GIF", "transparency": quantized.getpixel((0, 0))}


MODES = {
    "grey": lambda image: (image.convert("L"), {}),
    "black and white": lambda image: (image.convert("L").point(lambda v: 255 * (v > 127)).convert("1"), {}),
    "palette": lambda image: (image.quantize(16), {}),
    "palette, transparent": transparent_palette,
    "16 bit": lambda image: (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), {}),
    "12 of 16 bit": lambda image: (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16), {}),
    "32 bit": lambda image: (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257),
        {"format": "TIFF"},
    ),
    "floats": lambda image: (Image.fromarray(np.asarray(image.convert("L"), np.float32) / 255), {"format": "TIFF"}),
    "grey with alpha": lambda image: (image.convert("LA"), {}),
    "CMYK": lambda image: (image.convert("CMYK"), {"format": "JPEG", "quality": 90}),
    "JPEG": lambda image: (image, {"format": "JPEG", "quality": 20}),
    "BMP": lambda image: (image, {"format": "BMP"}),
    "WebP": lambda image: (image, {"format": "WEBP"}),
    "TIFF": lambda image: (image, {"format": "TIFF", "compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_modes_and_formats_make_no_difference(mode, tmp_path):
    picture = Image.fromarray(coloured(page(), (20, 30, 60), (240, 240, 250)))
    image, options = mode(picture)
    image.save(tmp_path / "picture", **{"format": "PNG"} | options)
    expected = only(encoded(np.asarray(picture)))
    got = only(tmp_path / "picture")
    assert np.abs(np.subtract(got.box, expected.box)).max() <= 1
    # An edge of the box that JPEG moves by a pixel moves the whole digit by a fraction of one.
    assert np.abs(got.image.astype(int) - expected.image).mean() < 8


def test_the_first_frame_counts(tmp_path):
    frames = [Image.fromarray(coloured(page(digit), BLACK, WHITE)) for digit in (3, 0)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(only(tmp_path / "two.gif").image, only(encoded(np.asarray(frames[0]))).image)


def test_every_page_is_read_or_named():
    pages = [Image.fromarray(coloured(ink, BLACK, WHITE)) for ink in (page(3), 0 * page(3), page(0))]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    first, second, third = segment.read_pages(file.getvalue())
    for digits, expected in ((first, pages[0]), (third, pages[2])):
        np.testing.assert_array_equal(digits[0].image, only(encoded(np.asarray(expected))).image)
    assert str(second).startswith("the picture, page 2, holds no digit")


@pytest.mark.parametrize("most", [1, 3, 15])
def test_bytes_that_hold_few_bits_are_read(most):
    picture = coloured(page(), BLACK, WHITE)
    few = (picture.astype(float) / 255 * most).round().astype(np.uint8)
    assert np.abs(np.subtract(only(encoded(few)).box, only(encoded(picture)).box)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", *slow("PNG", "TIFF")])
def test_the_orientation_of_a_phone_is_followed(orientation, kind, tmp_path):
    upright = Image.fromarray(coloured(page(), BLACK, WHITE))
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    stored = upright.transpose(Image.Transpose[undo[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo", kind, exif=exif)
    got, expected = only(tmp_path / "photo"), only(encoded(np.asarray(upright)))
    assert np.abs(np.subtract(got.box, expected.box)).max() <= 1
    assert np.abs(got.image.astype(int) - expected.image).mean() < 3


def test_the_box_is_in_pixels_of_the_picture_also_where_that_is_reduced():
    for size in (200, 1900):
        coverage = page(3, size // 4, 0.1, size, size, 0.9, 0.2)
        rows, columns = np.nonzero(coverage > 0.3)
        expected = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.abs(np.subtract(only(encoded(coloured(coverage, BLACK, WHITE))).box, expected)).max() <= 2


def row(digits, gap=0.3, side=80, x0=20, width=700, y=40, height=160):
    """A page with a line of digits, the gap between their boxes as a fraction of their height."""
    whole = np.zeros((height, width), np.float32)
    x = x0
    for digit in digits:
        glyph = written(digit, side, 0.09, seed=digit + 60)
        glyph = glyph[:, glyph.any(0)]
        whole[y : y + side, x : x + glyph.shape[1]] = np.maximum(whole[y : y + side, x : x + glyph.shape[1]], glyph)
        x += glyph.shape[1] + round(gap * side)
    return whole


def same(images, expected):
    """Whether the 28x28 pixels differ by less than 3 on average: two drawings of one digit do so by 10 and more.

    One may lie a pixel beside the other: a centre of mass between two pixels goes to either by next to nothing.
    """
    places = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]

    def least(a, b):
        return min(np.abs(np.roll(a, place, (0, 1)).astype(int) - b).mean() for place in places)

    return [least(a, b) < 3 for a, b in zip(images, expected, strict=True)]


@pytest.mark.parametrize("gap", [0.1, 0.6])
def test_digits_of_a_line_are_read_from_left_to_right(gap):
    numbers = [1, 7, 3, 0, 9, 4]
    digits = segment.read(encoded(coloured(row(numbers, gap), BLACK, WHITE)))
    assert [digit.box[0] for digit in digits] == sorted(digit.box[0] for digit in digits)
    alone = [only(encoded(coloured(row([number]), BLACK, WHITE))).image for number in numbers]
    assert all(same([digit.image for digit in digits], alone))


def test_the_upper_line_comes_first_and_lines_may_slope():
    upper = np.concatenate([row([2, 5]), np.zeros((60, 700), np.float32)])
    upper[90:170] += row([6], x0=400)[40:120]  # The line goes down to the right.
    lines = np.concatenate([upper, row([8, 1, 3])])
    digits = segment.read(encoded(coloured(lines, BLACK, WHITE)))
    alone = [only(encoded(coloured(row([number]), BLACK, WHITE))).image for number in [2, 5, 6, 8, 1, 3]]
    assert all(same([digit.image for digit in digits], alone))


def test_the_pieces_of_a_broken_digit_are_one():
    coverage = page(5)
    rows = np.nonzero(coverage)[0]
    bar = rows.min() + np.ptp(rows) // 5
    coverage[bar : bar + 4] = 0  # Cuts the bar off the 5.
    whole = only(encoded(coloured(page(5), BLACK, WHITE)))
    assert only(encoded(coloured(coverage, BLACK, WHITE))).box == whole.box


def test_specks_frames_rules_and_the_edge_of_a_table_are_no_digits():
    picture = coloured(page(6, width=400, height=300), BLACK, WHITE)
    expected = only(encoded(picture))
    for y, x in np.random.default_rng(1).integers(0, 295, (20, 2)):
        picture[y : y + 3, x : x + 3] = np.where(expected.box[0] - 4 < x < expected.box[2], WHITE, BLACK)
    picture[20:22] = picture[280:282] = (120, 150, 220)
    picture[:, 390:] = (90, 60, 40)
    got = only(encoded(picture))
    assert got.box == expected.box and all(same([got.image], [expected.image]))
    framed = coloured(page(6, width=400, height=300), BLACK, WHITE)
    framed[60:64, 100:300] = framed[240:244, 100:300] = framed[60:244, 100:104] = framed[60:244, 296:300] = 0
    assert only(encoded(framed)).box == expected.box


def test_a_digit_on_a_sheet_on_a_table():
    picture = coloured(page(3, width=300, height=300), (30, 30, 50), (240, 235, 225))
    table = np.full((420, 500, 3), (100, 70, 50), np.uint8)
    table[60:360, 90:390] = picture
    expected = only(encoded(picture))
    for cut in (0, 90):  # Then it lies along the side of the picture.
        digit = only(encoded(drawing.photographed(table[:, cut:], seed=0)))
        assert digit.box == tuple(np.add(expected.box, (90 - cut, 60) * 2)) and all(
            same([digit.image], [expected.image])
        )


def test_a_digit_on_a_card_with_transparent_corners():
    picture = coloured(page(3, width=300, height=300), (30, 30, 50), (240, 235, 225))
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    card = np.dstack([picture, np.where(x**4 + y**4 < 1, 255, 0).astype(np.uint8)])
    assert all(same([only(encoded(card)).image], [only(encoded(picture)).image]))


@pytest.mark.parametrize("digit", range(0, 10, 3))
def test_uneven_light_makes_no_difference(digit):
    clean = coloured(page(digit, 260, 0.05, 500, 400), (40, 40, 60), (235, 230, 220))
    y, x = np.mgrid[-1 : 1 : clean.shape[0] * 1j, -1 : 1 : clean.shape[1] * 1j]
    lamp = clean * (0.4 + 0.6 * np.exp(-2 * (x * x + y * y)))[..., None]
    expected = only(encoded(clean)).image
    for photo in (drawing.photographed(clean, digit), lamp.astype(np.uint8)):
        got = only(encoded(photo, "JPEG", quality=70)).image
        assert np.abs(got.astype(int) - expected).mean() < 8


def png(width, height, body=b"\0" * 10):
    """A PNG file that declares a size, and has the few bytes of `body` for pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def noise(kind):
    rng = np.random.default_rng(0)
    values = {"grey": rng.integers(0, 256, (500, 500)), "dots": 255 * (rng.random((600, 600)) > 0.1)}[kind]
    return encoded(values.astype(np.uint8))


GOOD = encoded(coloured(page(), BLACK, WHITE))
FADING = np.broadcast_to(np.linspace(120, 250, 300, dtype=np.uint8), (200, 300))
BAD = {
    "no bytes": (b"", "is empty"),
    "no image": (b"These are words.", "is no image that can be read: it must be PNG, JPEG"),
    "truncated PNG": (GOOD[: len(GOOD) // 2], "cannot be read as an image: .*truncated"),
    "truncated JPEG": (encoded(coloured(page(), BLACK, WHITE), "JPEG")[:-600], "cannot be read as an image: .*trunc"),
    "damaged PNG": (GOOD[:60] + b"damaged" + GOOD[67:], "cannot be read as an image"),
    "30,000 x 30,000": (png(30_000, 30_000), "has .*pixels, but it may have 64,000,000|has too many pixels"),
    "10,000 x 10,000": (png(10_000, 10_000), "has 10,000 x 10,000 pixels, but it may have 64,000,000 in all"),
    "a format that is not taken": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "is no image that can be read",
    ),
    "white": (encoded(np.full((300, 300), 255, np.uint8)), "holds no digit"),
    "one pixel": (encoded(np.zeros((1, 1), np.uint8)), "holds no digit"),
    "a row of many pixels": (
        encoded(np.full((1, 20_000_000), 255, np.uint8)),
        "has 20,000,000 x 1 pixels, but it may have 40,000 on a side",
    ),
    "a column of many pixels": (png(1, 64_000_000), "has 1 x 64,000,000 pixels, but it may have 40,000 on a side"),
    "as wide as may be": (encoded(np.full((1, 40_000), 255, np.uint8)), "holds no digit"),
    "a blank photograph": (
        encoded(drawing.photographed(np.full((300, 400, 3), 220), 3)[:200, :240], "JPEG", quality=60),
        "holds no digit",
    ),
    "light that fades": (encoded(FADING), "holds no digit"),
    "all transparent": (encoded(np.zeros((90, 90, 4), np.uint8)), "holds no digit"),
    "a speck": (encoded(coloured(page(1, 6, 0.5, 900, 900), BLACK, WHITE)), "holds no digit"),
    "noise": (noise("grey"), "holds no digit"),
    "thousands of dots": (noise("dots"), "holds .* separate marks, but digits are told from at most 500"),
}


@pytest.mark.parametrize("content, words", BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_read_gives_one_sentence(content, words, tmp_path):
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    for source, name in ((path, str(path)), (content, "the picture")):
        tracemalloc.start()
        with pytest.raises(UserError, match=words) as caught:
            segment.read(source)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        message = str(caught.value)
        assert message.startswith(f"{name} ") and message.endswith(".") and "\n" not in message
        assert peak < 100e6


@pytest.mark.parametrize(
    ("name", "most"),
    # Some of MNIST's have strokes to thicken, or edges too faint to be ink. The others are blurred: full ink is less
    # than their brightest pixel, so that all get brighter.
    [pytest.param("mnist", 1, marks=pytest.mark.mnist), ("optdigits", 10)],
)
def test_images_in_mnists_form_come_out_as_they_are(name, most):
    images = data.load(name).test_images[:200]
    digitized = []
    for image in images:
        found = segment.read(encoded(image))
        digitized.append(max(found, key=lambda digit: digit.box[3] - digit.box[1]).image)
    difference = np.abs(np.stack(digitized).astype(int) - images).mean((1, 2))
    assert np.mean(difference < most) > 0.95


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_small_pictures_full_of_ink_are_read(margin):
    """scikit-learn's digits fill their 8x8 pixels, and cropped ones have as little paper around them."""
    full = [
        Image.fromarray(image.astype(np.uint8) * 15).resize((28, 28)) for image in datasets.load_digits().images[:60]
    ]
    assert sum(is_read(np.pad(np.asarray(image), margin)) for image in full) >= 50
    rng = np.random.default_rng(0)
    assert not any(is_read(rng.normal(128, 30, (28, 28)).clip(0, 255).astype(np.uint8)) for _ in range(20))


def is_read(image):
    try:
        return bool(segment.read(encoded(image)))
    except UserError:
        return False
