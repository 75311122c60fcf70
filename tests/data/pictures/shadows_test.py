"""Hard shadows: a blank page stays blank, and digits in, beside and across a shadow are read as without it."""

import numpy as np
import pytest

from digits.data.pictures import segment, shadows
from tests import drawing
from tests.conftest import slow
from tests.drawing import coloured, encoded, placed, written

SHADOWS = {
    "diagonal": lambda x, y: x + y < 1.05,
    "half": lambda x, y: x < 0.5,
    "corner": lambda x, y: (x < 0.45) & (y < 0.4),
    "round": lambda x, y: (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06,
}


def page(*numbers):
    whole = np.zeros((300, 420), np.float32)
    for place, number in enumerate(numbers):
        glyph = written(number, 90, 0.09, seed=number + 3)
        whole += placed(glyph, 420, 300, (0.1, 0.5, 0.9)[place], 0.5)
    return coloured(whole, (35, 40, 60), (230, 228, 222))


def shaded(picture, shadow, light, noise=0.0):
    height, width = picture.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    lit = picture * np.where(shadow(x, y), light, 1)[..., None]
    return np.clip(lit + noise * np.random.default_rng(0).normal(0, 1, lit.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("light", [0.45, *slow(0.75)])
@pytest.mark.parametrize("shadow", SHADOWS.values(), ids=SHADOWS)
def test_digits_are_read_across_a_hard_shadow_and_blank_paper_holds_none(shadow, light):
    expected = segment.read(encoded(page(2, 7, 4)))
    found = segment.read(encoded(shaded(page(2, 7, 4), shadow, light)))
    assert len(expected) == len(found) == 3
    for one, other in zip(expected, found, strict=True):
        assert np.abs(np.subtract(one.box, other.box)).max() <= 3
    for noise in (0, 2):
        with pytest.raises(segment.NoDigit):
            segment.read(encoded(shaded(page(), shadow, light, noise)))


@pytest.mark.slow
def test_pictures_without_a_hard_shadow_stay_as_they_are():
    pictures = [page(2, 7, 4), 255 - page(2, 7, 4), drawing.photographed(page(2, 7, 4), 1)]
    pictures += [np.asarray(segment.opening.open_picture(file)) for _, file, _ in drawing.forty()[:12]]
    for picture in pictures:
        assert shadows.without_shadows(picture) is picture
