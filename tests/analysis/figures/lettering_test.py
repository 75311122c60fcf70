"""Letters of other scripts in figures: with a font for them, with none, and names that are no text at all."""

import io
import warnings

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
import numpy as np
from PIL import Image
import pytest

from digits.analysis.figures import classes, lettering, sheet, style

MATRIX = [[9, 1], [2, 8]]


@pytest.fixture(autouse=True)
def quiet():
    """A letter without a glyph is a warning of matplotlib."""
    with warnings.catch_warnings(action="error"):
        yield


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """Installs made fonts, each with a black square for every letter of a text, and no others but matplotlib's."""

    def forget():
        for function in (lettering._installed, lettering._available, lettering._fonts_for):
            function.cache_clear()

    def install(**letters):
        for name, text in letters.items():
            pen = TTGlyphPen(None)
            pen.moveTo((0, 0))
            for corner in ((0, 900), (900, 900), (900, 0)):
                pen.lineTo(corner)
            pen.closePath()
            square = pen.glyph()
            glyphs = {f"g{ord(one):x}": square for one in {*text, " "}}
            font = FontBuilder(1000)
            font.setupGlyphOrder([".notdef", *glyphs])
            font.setupCharacterMap({int(glyph[1:], 16): glyph for glyph in glyphs})
            font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), **glyphs})
            font.setupHorizontalMetrics(dict.fromkeys((".notdef", *glyphs), (1000, 0)))
            font.setupHorizontalHeader(ascent=900, descent=-100)
            font.setupNameTable({"familyName": name, "styleName": "Regular"})
            font.setupOS2(usWeightClass=400)
            font.setupPost()
            font.save(tmp_path / f"{name}.ttf")
        forget()

    before = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in tmp_path.glob("*.ttf")])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [one for one in before if "/matplotlib/" in one.fname])
    forget()
    yield install
    forget()
    font_manager.fontManager._findfont_cached.cache_clear()


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(style.png(figure))).convert("L"))


@pytest.mark.parametrize("names", [("cat", "dog"), ("größe", "naïve"), ("α", "β"), ("صفر", "واحد"), ("ж", "$x")])
def test_letters_that_matplotlibs_font_has_are_the_labels(names, fonts):
    assert lettering.class_labels(names) == (list(names), [])
    pixels(classes.confusion(MATRIX, names))


@pytest.mark.parametrize(
    "names, legend",
    [
        (("一", "二"), ["0: \\u4e00", "1: \\u4e8c"]),
        (("あ", "い"), ["0: hiragana letter a", "1: hiragana letter i"]),
        (("🐶", "🦊\ufe0f"), ["0: dog face", "1: fox face"]),
        (("cat", "猫 cat"), ["0: cat", "1: \\u732b cat"]),
        (("a", "b\udcff"), ["0: a", "1: b\\udcff"]),
    ],
)
def test_without_a_font_classes_are_numbers_and_a_legend_says_which(names, legend, fonts):
    assert lettering.class_labels(names) == (["0", "1"], legend)
    figure = classes.confusion(MATRIX, names)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == legend
    assert pixels(figure).shape[0] > pixels(classes.confusion(MATRIX, ("a", "b"))).shape[0]


def test_installed_fonts_draw_what_matplotlibs_lacks(fonts):
    fonts(Chinese="一二", Japanese="あ")
    assert lettering.class_labels(("一", "あ b")) == (["一", "あ b"], [])
    assert lettering.class_labels(("一", "三"))[0] == ["0", "1"]
    assert list(lettering._fonts_for(frozenset("一二x")).values()) == ["Chinese"]
    wide, narrow = (pixels(classes.confusion(MATRIX, (name, name))) for name in ("一一一", "..."))
    assert (wide < 50).sum() > (narrow < 50).sum() + 1000  # The squares.


def test_a_text_of_any_script_is_drawn_with_codes_for_what_is_missing(fonts):
    figure = style.new_figure(4, 2)
    axes = figure.subplots()
    axes.plot([0, 1], label="größe 三 \udcff")
    axes.set_title("± × … α 三")
    axes.legend()
    pixels(figure)
    assert axes.get_title() == "± × … α \\u4e09"
    assert axes.get_legend().get_texts()[0].get_text() == "größe \\u4e09 \\udcff"


def test_a_sheet_has_names_where_one_font_has_them_and_numbers_elsewhere(fonts):
    entries = [{"index": 0, "label": 0, "prediction": 1, "probability": 0.9}]
    images = np.zeros((1, 28, 28), np.uint8)

    def drawn(*names):
        return sheet.examples(entries, images, names)

    np.testing.assert_array_equal(drawn("一", "二"), drawn("0", "1"))
    assert drawn("α", "β").shape != drawn("0", "1").shape or (drawn("α", "β") != drawn("0", "1")).any()
    fonts(Everything="".join(map(chr, range(33, 127))) + "一二\n")
    assert (drawn("一", "二") < 50).sum() > (drawn("0", "1") < 50).sum() + 300
    sheet.sheet(images, ["三 \udcff"])
