"""Ruled and squared paper: digits on it are read as on blank paper, or refused in a sentence."""

import itertools

import numpy as np
import pytest

from digits import data
from digits.data.pictures import rules, segment
from tests import drawing
from tests.conftest import slow, slow_but
from tests.drawing import coloured, encoded, lined, written


def blown_up(images, side=160):
    """A page with 28x28 images in a row, in `side` pixels each."""
    page = np.zeros((700, 1000), np.float32)
    for number, image in enumerate(images):
        large = drawing.Image.fromarray(image).resize((side, side), drawing.Image.Resampling.BICUBIC)
        left, top = 150 + 260 * number, 240 + 8 * number
        page[top : top + side, left : left + side] = np.asarray(large, np.float32) / 255
    return page


def by_hand(*numbers):
    page = np.zeros((700, 1000), np.float32)
    for place, number in enumerate(numbers):
        page[250 : 250 + 150, 150 + 260 * place : 300 + 260 * place] = written(number, 150, 0.07, seed=number + 3)
    return page


def differences(digits, expected):
    """Mean difference of the 28x28 pixels of each digit, whose centre of mass may round to a pixel beside."""
    assert len(digits) == len(expected)
    places = list(itertools.product((-1, 0, 1), repeat=2))
    return [
        min(np.abs(np.roll(a.image, place, (0, 1)).astype(int) - b.image).mean() for place in places)
        for a, b in zip(digits, expected)
    ]


# What of a stroke lies on a line is guessed where the line is as dark as ink, and the edge of a stroke on a broad one.
PAPERS = {
    "pale blue rules": ({}, 2),
    "faint rules": ({"line": (222, 226, 232)}, 2),
    "broad rules": ({"thick": 5, "line": (150, 180, 220)}, 5),
    "rules and a margin": ({"margin": True}, 2),
    "squares": ({"squares": True, "spacing": 36}, 2),
    "black rules": ({"line": (30, 30, 40)}, 5),
    "dark squares": ({"line": (110, 120, 150), "squares": True, "spacing": 40}, 5),
}


@pytest.mark.parametrize("tilt", [-3, *slow(0)])
@pytest.mark.parametrize("paper", slow_but(["pale blue rules", "broad rules", "dark squares"], PAPERS))
def test_digits_on_lined_paper_are_read_as_on_blank_paper(paper, tilt):
    look, most = PAPERS[paper]
    page = by_hand(2, 7, 4)
    expected = segment.read(encoded(coloured(page, (35, 40, 90), (240, 238, 230))))
    picture = lined(page, tilt=tilt, **look)
    photo = drawing.photographed(picture, seed=1) if tilt else picture
    assert max(differences(segment.read(encoded(photo)), expected)) < most


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optdigits", pytest.param("mnist", marks=pytest.mark.mnist)])
def test_real_digits_on_pale_rules_are_all_found(name):
    images = data.load(name).test_images[:12]
    for start in range(0, 12, 3):
        page = blown_up(images[start : start + 3])
        papers = coloured(page, (35, 40, 90), (240, 238, 230)), lined(page, tilt=2)
        expected, found = (segment.read(encoded(drawing.photographed(one, 2), "JPEG", quality=85)) for one in papers)
        assert max(differences(found, expected)) < 3


def test_pictures_without_lines_stay_as_they_are():
    plain = [coloured(by_hand(1, 7, 4), (0, 0, 0), (255, 255, 255))]
    framed = plain[0].copy()
    framed[60:64, 100:900] = framed[640:644, 100:900] = framed[60:644, 100:104] = framed[60:644, 896:900] = 0
    strokes = np.full((200, 400, 3), 255, np.uint8)
    strokes[:, [50, 120, 190, 260]] = 0  # Four thin ones in a row would be read as lines, but for two half as high.
    strokes[100:, [120, 190]] = 255
    for picture in [*plain, framed, *(drawing.photographed(one, 3) for one in (plain[0], framed))]:
        cleaned, had = rules.without_rules(picture)
        assert not had and cleaned is picture


@pytest.mark.slow
def test_drawings_have_no_lines():
    for _, file, description in drawing.forty()[::2]:
        picture = np.asarray(segment.opening.open_picture(file))
        assert rules.without_rules(picture)[0] is picture, description


@pytest.mark.parametrize("ink", [0, 1])
@pytest.mark.parametrize(
    "paper",
    [{"tilt": 15}, {"tilt": 15, "squares": True}, {"tilt": 20, "squares": True, "line": (80, 80, 90)}],
    ids=["steep rules", "steep squares", "steep dark squares"],
)
def test_lines_that_cannot_be_removed_are_named(paper, ink):
    with pytest.raises(segment.NoDigit, match="^the picture holds lines or squares .*: use blank paper.$"):
        segment.read(encoded(lined(ink * by_hand(2, 7, 4), **paper)))


def test_an_empty_page_of_a_notebook_holds_no_digit():
    for squares in (False, True):
        picture = lined(0 * by_hand(1), squares=squares)
        with pytest.raises(segment.NoDigit, match="use blank paper"):
            segment.read(encoded(picture))


def seven(side, ink=(0, 0, 0), paper=(255, 255, 255)):
    """A picture with a 7 that fills most of it."""
    return coloured(drawing.page(7, round(0.65 * side), 0.09, side, side), ink, paper)


@pytest.mark.parametrize("side, spacing", [(64, 8), (80, 10), (200, 25), (400, 25)])
@pytest.mark.parametrize("dark", [False, True])
def test_thin_squares_on_light_and_dark_paper(side, spacing, dark):
    colours = ((240, 240, 240), (25, 25, 25)) if dark else ((0, 0, 0), (255, 255, 255))
    plain = seven(side, *colours)
    squared, blank = plain.copy(), np.broadcast_to(np.uint8(colours[1]), plain.shape).copy()
    for picture in (squared, blank):
        free = np.abs(picture.astype(int) - colours[1]).max(-1) < 60
        free[np.arange(side) % spacing > 0] &= np.arange(side) % spacing == 0
        picture[free] = (90, 90, 110) if dark else (150, 190, 230)
    (expected,), (found,) = segment.read(encoded(plain)), segment.read(encoded(squared))
    assert np.abs(np.subtract(found.box, expected.box)).max() <= 2
    with pytest.raises(segment.NoDigit):
        segment.read(encoded(blank))


@pytest.mark.parametrize("rows", [(20, 180), (70, 130)], ids=["around", "across"])
@pytest.mark.parametrize("line", [(0, 0, 0), (90, 120, 200)], ids=["black", "blue"])
def test_two_lines_from_edge_to_edge_are_rules_if_they_are_level(rows, line):
    plain = seven(200)
    picture = plain.copy()
    for row in rows:
        picture[row : row + 2][plain[row : row + 2].min(-1) > 200] = line
    (expected,), (found,) = segment.read(encoded(plain)), segment.read(encoded(picture))
    assert np.abs(np.subtract(found.box, expected.box)).max() <= 2
    upright = np.full((200, 100, 3), 255, np.uint8)
    upright[:, [30, 70]] = 0
    assert not rules.without_rules(upright)[1]
