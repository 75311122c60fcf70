"""Marks that are no digit are named, and digits that touch are parted."""

import numpy as np
import pytest

from digits import data
from digits.data.pictures import marks, segment
from tests.drawing import Image, coloured, encoded


def sheet(draw):
    ink = np.zeros((240, 320), np.float32)
    draw(ink)
    return encoded(coloured(ink, (20, 20, 20), (250, 250, 250)))


def box(ink):
    ink[60:160, 80:200] = 1


def disc(ink):
    y, x = np.mgrid[:240, :320]
    ink[(y - 120) ** 2 + (x - 160) ** 2 < 60**2] = 1


def frame(ink):
    ink[40:200, 60:260] = 1
    ink[46:194, 66:254] = 0


def table(ink):
    ink[[40, 41, 80, 81, 120, 121, 160, 161, 200, 201], 40:282] = 1
    for column in (40, 120, 200, 280):
        ink[40:202, column : column + 2] = 1


def pattern(ink):
    cells = np.random.default_rng(1).integers(0, 2, (25, 25))
    cells[:, 12] = cells[12] = 1  # In one piece.
    ink[20:220, 60:260] = np.kron(cells, np.ones((8, 8)))


def chess(ink):
    ink[40:200, 80:240] = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((20, 20)))


def barcode(ink):
    for number in range(16):
        ink[60:180, 30 + 16 * number : 34 + 16 * number + 3 * (number % 3)] = 1


@pytest.mark.parametrize("draw", [box, disc, frame, table, pattern, chess, barcode])
def test_a_sheet_that_holds_something_else_holds_no_digit(draw):
    words = "holds (no digit|lines or squares)"
    with pytest.raises(segment.NoDigit, match=words):
        segment.read(sheet(draw))


def test_the_sentence_names_the_mark():
    with pytest.raises(segment.NoDigit, match="a mark of 120x100 pixels is a solid area"):
        segment.read(sheet(box))
    with pytest.raises(segment.NoDigit, match="a mark of 200x160 pixels is a frame"):
        segment.read(sheet(frame))


def test_digits_that_touch_are_parted():
    y, x = np.mgrid[:240, :400]
    rings = [np.abs(np.hypot(x - left, y - 120) - 55) < 7 for left in (70, 192, 314)]
    for count in (2, 3):
        ink = np.any(rings[:count], axis=0).astype(np.float32)
        assert len(segment.read(encoded(coloured(ink, (0, 0, 0), (255, 255, 255))))) == count
    ink = np.zeros((200, 300), np.float32)
    for left in (50, 140):  # Two 7s in one stroke at the top.
        ink[40:54, left : left + 105] = 1
        for row in range(54, 170):
            column = left + 90 - (row - 54) // 2
            ink[row, column : column + 15] = 1
    assert len(segment.read(encoded(coloured(ink, (0, 0, 0), (255, 255, 255))))) == 2


def test_a_mark_that_is_much_too_wide_is_named():
    y, x = np.mgrid[:240, :400]
    ink = (np.abs(np.hypot((x - 200) / 2.5, y - 120) - 50) < 5).astype(np.float32)
    with pytest.raises(segment.NoDigit, match="times as wide as it is high: it may be several digits that touch"):
        segment.read(encoded(coloured(ink, (0, 0, 0), (255, 255, 255))))


def test_a_lone_mark_from_edge_to_edge_is_no_digit():
    with pytest.raises(segment.NoDigit, match="from edge to edge"):
        segment.read(sheet(lambda ink: ink[:, 100:140].fill(1)))


@pytest.mark.parametrize("name, count", [("optdigits", 300), pytest.param("mnist", 2000, marks=pytest.mark.mnist)])
def test_real_digits_are_neither_parted_nor_refused(name, count):
    for image in data.load(name).test_images[:count]:
        rows, columns = (np.flatnonzero((image > 51).any(axis)) for axis in (1, 0))
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        size = 4 * image.shape[1], 4 * image.shape[0]
        large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32) / 255
        assert len(marks.parts(large > 0.2, large)) == 1
        assert not marks.fault(large > 0.2)
