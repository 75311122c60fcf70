"""The parts that pages are made of, as their templates show them."""

import html.parser
import io
import re
import types

import numpy as np
from PIL import Image
import pytest

from digits.analysis.figures import sheet
from digits.analysis.figures.style import looks
from digits.reports import pages

COMPARISON = {
    "title": "T", "verdict": "V", "first": None, "several_datasets": False, "looks": {}, "sweeps": [], "curves": {},
    "entries": [types.SimpleNamespace(name="a", state="", sweep=None, runs=())], "result_rows": [{"model": "a"}],
    "differences": [],
}  # fmt: skip


def rendered(source, **content):
    """A template's text; it may use the parts of pages."""
    imported = '{% from "parts.html.j2" import digits, note, pairs, picture, section, sign, table with context %}'
    return pages._templates.from_string(imported + source).render(
        content, contents=pages.Contents(), words=pages._WORDS
    )


def rows(text):
    """The cells of the rows of a table, with their classes."""
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL):
        cells = re.findall(r"<t[hd][^>]*?(number)?\"?>(.*?)</t", row)
        found.append([(html_class, re.sub("<.*?>", "", cell)) for html_class, cell in cells])
    return found


def test_sections_whose_titles_differ_only_in_what_no_id_has_are_told_apart():
    titles = ["Sweep seed=0:10", "Sweep seed=0-10", "***", "Other"]
    source = '{% extends "page.html.j2" %}{% from "parts.html.j2" import section with context %}{% block sections %}'
    source += "{% for title in titles %}{% call section(title) %}text{% endcall %}{% endfor %}{% endblock %}"
    text = pages._templates.from_string(source).render(title="T", titles=titles, contents=pages.Contents())
    ids, links = re.findall(r'<section id="([^"]*)"', text), re.findall(r'href="#([^"]*)"', text)
    assert ids == links and len(set(ids)) == 4 and all(ids)
    assert ids[0] == "sweep-seed-0-10" and ids[3] == "other"


def test_a_table_leaves_out_empty_columns_and_aligns_numbers_right():
    cells = [{"run": "a", "loss": "0.1", "empty": "", "words": "1 and more of them than a unit has"}]
    cells.append({"run": "b", "loss": "-1e-5 nats", "empty": "", "words": "2"})
    head, first, second = rows(rendered("{{ table(rows, 'Losses') }}", rows=cells))
    assert head == [("", "run"), ("number", "loss"), ("", "words")]
    assert first == [("", "a"), ("number", "0.1"), ("", "1 and more of them than a unit has")]
    assert second == [("", "b"), ("number", "-1e-5 nats"), ("", "2")]
    long = [{"run": "a", "why": "a sentence that a phone must not squeeze to a word a line"}]
    assert rendered("{{ table(rows, 'Long') }}", rows=long).count('class="sentence words"') == 2
    (pair,) = rows(rendered("{{ pairs(values, 'Values') }}", values={"seed": "0", "fold": ""}))
    assert [cell for _, cell in pair] == ["seed", "0"]


@pytest.mark.parametrize("source", ["{{ table(rows, word) }}", "{{ note(word) }}", "{{ picture(png, word, word) }}"])
def test_no_word_is_obeyed(source):
    word, png = "<b>'\"&</b>", sheet.png(np.zeros((5, 7), np.uint8))
    text = rendered(source, rows=[{word: word}], word=word, png=png)
    parser = html.parser.HTMLParser()
    tags, texts = [], []
    parser.handle_starttag = lambda tag, attributes: tags.append(tag) or texts.extend(value for _, value in attributes)
    parser.handle_data = texts.append
    parser.feed(text)
    assert "b" not in tags and word in texts


def test_a_picture_has_its_size_and_opens_in_full():
    png = sheet.png(np.zeros((50, 70), np.uint8))
    assert Image.open(io.BytesIO(png)).size == (70, 50)
    text = rendered("{{ picture(png, 'alt') }}{{ picture(png, 'alt') }}", png=png)
    assert text.count('width="70" height="50"') == 2
    ids, links = re.findall(r' id="([^"]*)"', text), re.findall(r'href="#([^"]*)"', text)
    assert ids == ["picture-1", "picture-1-in-full", "picture-2", "picture-2-in-full"] and sorted(links) == ids


def test_small_pictures_have_their_lines_of_text_below():
    png = sheet.png(np.zeros((28, 28), np.uint8))
    text = rendered("{{ digits(images) }}", images=[(png, "Test image 3, class 5", ["5 read as 8", "p = 0.9"])])
    assert re.findall("<span>(.*?)</span>", text) == ["5 read as 8", "p = 0.9"]
    assert 'alt="Test image 3, class 5" width="28" height="28"' in text


def test_cells_break_where_a_reader_would():
    broken = {
        "0.9819 ± 0.0020": "<span>0.9819</span> <span>± 0.0020</span>",
        "-0.0312 to +0.0423": "<span>-0.0312</span> <span>to +0.0423</span>",
        "1,234 images/s": "<span>1,234 images/s</span>",
        "lies inside 0.9 to 1.0": "lies inside 0.9 to 1.0",
        "sweep_a": "sweep_a",
        "run,optimizer.learning_rate=0.001": "run,|optimizer.|learning_|rate=0.001",
        "a_longer_name_with_<b>": "a_|longer_|name_|with_&lt;b&gt;",
        "run,seed=1 is best (p = 0.02, n = 3)": "run,|seed=1 is best (p\xa0=\xa00.02, n\xa0=\xa03)",
    }
    for cell, expected in broken.items():
        text = str(pages._breakable(cell)).replace(' class="whole"', "").replace("<wbr>", "|")
        assert text == expected


def test_words_of_the_glossary_are_links_to_it():
    link = pages._explained("test loss (nats)")
    assert link.startswith('test loss (<a class="word" href="#word-nats" title="The unit') and link.endswith(
        "nats</a>)"
    )
    assert pages._explained("donations <b>") == "donations &lt;b&gt;"  # It holds "nats" within a word.
    assert 'id="word-p-corrected"' in pages.render("comparison.html.j2", COMPARISON).decode()


def test_only_wide_tables_tell_a_phone_to_swipe():
    narrow = [{"class": "0", "images": "27", "precision": "1.0000", "recall": "1.0000", "F1": "1.0000"}]
    wide = [narrow[0] | {"a name of many words": "test_accuracy_and_more"}]
    assert "Swipe" not in rendered("{{ table(rows, 'Classes') }}", rows=narrow)
    assert "Swipe" in rendered("{{ table(rows, 'Classes') }}", rows=wide)
    assert "Swipe" not in rendered("{{ pairs(values, 'Commit') }}", values={"commit": "0123456789" * 4})  # It breaks.


def test_a_name_that_utf_8_cannot_write_is_no_error():
    page = pages.render("comparison.html.j2", COMPARISON | {"title": "\udcff"})
    assert b"<h1>&#56575;</h1>" in page


NAMES = [f"dense_32_32,optimizer.learning_rate=0.00{i},data.validation=folds(5)" for i in range(8)]
WIDE = COMPARISON | {
    "entries": [types.SimpleNamespace(name=name, state="", sweep=None, runs=()) for name in NAMES],
    "looks": looks(NAMES),
    "result_rows": [{"model": name} | {f"column {i}": f"0.{i}000 ± 0.0010" for i in range(10)} for name in NAMES],
    "config_rows": [{"field": "config.optimizer.learning_rate"} | dict.fromkeys(NAMES, "((32,), (64,))")],
    "curves": {"loss": sheet.png(np.zeros((400, 600), np.uint8))},
}


@pytest.fixture
def wide_page(browser, tmp_path):
    """A function that opens a comparison with a picture and wide tables, on a phone if no width is given."""
    path = tmp_path / "page.html"
    path.write_bytes(pages.render("comparison.html.j2", WIDE))

    def opened(scheme, width=390):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.goto(path.as_uri())
        return page

    return opened


def cut_off(page):
    """Whether a reader must swipe to see all columns, for each table."""
    return page.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth > e.clientWidth)")


def test_a_phone_shows_all_and_a_tap_opens_a_picture_in_full(wide_page):
    page = wide_page("light")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert cut_off(page) == [True, True] == [hint.is_visible() for hint in page.locator(".hint").all()]
    name = page.locator("tbody th").first
    page.evaluate("document.querySelector('.scroll').scrollLeft = 300")
    assert name.bounding_box()["x"] == 16  # The row's name stays.
    picture, close = page.locator("figure img"), page.get_by_text("Close the picture")
    assert picture.bounding_box()["width"] <= 358 and not close.is_visible()
    picture.click()
    assert picture.bounding_box()["width"] == 600
    close.click()
    assert picture.bounding_box()["width"] <= 358 and not close.is_visible()


def test_a_screen_of_1280_pixels_cuts_no_table_off(wide_page):
    assert cut_off(wide_page("light", 1280)) == [False, False]


def test_a_dark_screen_has_no_white_pictures(wide_page, tmp_path):
    for scheme, expected in (("light", (0, 0, 0)), ("dark", (233, 233, 233))):
        page = wide_page(scheme)
        shot = Image.open(io.BytesIO(page.locator("figure img").screenshot())).convert("RGB")
        assert shot.getpixel((100, 100)) == pytest.approx(expected, abs=2)  # The picture is black, dark ink on paper.
