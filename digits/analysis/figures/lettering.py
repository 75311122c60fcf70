"""Letters of all scripts in figures: installed fonts draw those that matplotlib's own lacks; codes stand for the rest.

Text that no font can draw would be boxes, with a warning for each.
"""

from collections.abc import Sequence
import contextlib
import functools
import re
import unicodedata

from matplotlib import font_manager, ft2font, rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

# Draws a box for every letter there is; mathematical signs in the places of letters.
_NO_LETTERS = r"Last Resort|STIX(NonUnicode|Size)|cm[a-z]+10$"


class LetteredFigure(Figure):
    """A figure that draws its texts, whatever their script."""

    def draw(self, renderer) -> None:
        for text in self.findobj(Text):
            _prepare(text)
        super().draw(renderer)


def _prepare(text: Text) -> None:
    """Gives a text the fonts that it needs, and codes in place of letters that there is no font for."""
    if not text.get_text().isascii():
        shown = drawable(text.get_text())
        text.set_text(shown)
        text.set_fontfamily([*rcParams["font.family"], *_fonts_for(frozenset(shown)).values()])


def drawable(text: str) -> str:
    """The text with the codes of those letters that no installed font has: "cat \\\\u8c93" without a Chinese one."""
    if text.isascii():
        return text
    available = _available()
    return "".join(one if ord(one) in available else _escaped(one) for one in without_selectors(text))


def without_selectors(text: str) -> str:
    """The text without the marks that choose between an emoji's plain and coloured form: nothing is drawn for them."""
    return text.translate(dict.fromkeys(map(ord, "\ufe0e\ufe0f")))


def class_labels(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Labels for classes that a figure can draw, and the lines of a legend if these are numbers.

    class_labels(["cat", "dog"]) == (["cat", "dog"], [])
    class_labels(["一", "二"])  # Without a Chinese font: (["0", "1"], ["0: U+4E00 cjk ...", ...])
    """
    shown = [drawable(name) for name in names]
    if not any("\\" in of and "\\" not in name for of, name in zip(shown, names)):
        return shown, []
    return [str(number) for number in range(len(names))], [f"{i}: {_described(name)}" for i, name in enumerate(names)]


def font_file(text: str) -> str | None:
    """The file of a font that can draw all of a text, of several lines or one; None if there is none."""
    letters = set(map(ord, text)) - {ord("\n")}
    return next((path for path in (_default(), *_installed()) if letters <= _letters(path)), None)


def _described(name: str) -> str:
    """A name in words of ASCII: that of a single letter is its name in Unicode, such as "kannada digit one"."""
    name = without_selectors(name)
    words = unicodedata.name(name, "").lower() if len(name) == 1 and not name.isascii() else ""
    return words if words and not words.startswith("cjk unified") else "".join(map(_escaped, name))[:48]


def _escaped(letter: str) -> str:
    return letter if letter.isascii() else letter.encode("ascii", "backslashreplace").decode()


def _default() -> str:
    return font_manager.findfont(font_manager.FontProperties())


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The letters, as numbers, that a font can draw; none if matplotlib cannot use it, as one of coloured emoji."""
    try:
        font = ft2font.FT2Font(path)
        font.set_size(10, 100)
        return frozenset(font.get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def _installed() -> dict[str, str]:
    """The families of the fonts on this machine by file, upright ones of normal weight, each family once."""
    known = font_manager.fontManager
    for path in set(font_manager.findSystemFonts()) - {one.fname for one in known.ttflist}:  # Installed since.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            known.addfont(path)
    upright = [one for one in known.ttflist if one.style == "normal" and one.weight in (400, "normal")]
    usual = [one for one in upright if not re.match(_NO_LETTERS, one.name)]
    files = {one.name: one.fname for one in sorted(usual, key=lambda one: one.fname, reverse=True)}
    return {path: name for name, path in sorted(files.items())}


@functools.cache
def _available() -> frozenset[int]:
    return frozenset().union(_letters(_default()), *map(_letters, _installed()))


@functools.cache
def _fonts_for(letters: frozenset[str]) -> dict[str, str]:
    """The families, by file, of as few fonts as draw the letters that matplotlib's own lacks."""
    lacking, found = {ord(one) for one in letters if not one.isspace()} - _letters(_default()), {}
    while lacking and (path := max(_installed(), key=lambda path: len(lacking & _letters(path)), default="")):
        if not lacking & _letters(path):
            break
        found[path] = _installed()[path]
        lacking -= _letters(path)
    return found
