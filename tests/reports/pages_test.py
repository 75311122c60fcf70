"""The parts that pages are made of, as their templates show them."""

import html.parser
import io
import re

import numpy as np
from PIL import Image
import pytest

from digits.analysis.figures import sheet
from digits.reports import pages


def rendered(source, **content):
    """A template's text; it may use the parts of pages."""
    imported = '{% from "parts.html.j2" import note, pairs, picture, section, table with context %}'
    return pages._templates.from_string(imported + source).render(content, contents=pages.Contents())


def rows(text):
    """The cells of the rows of a table, with their classes."""
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL):
        found.append([(html_class, cell) for html_class, cell in re.findall(r"<t[hd][^>]*?(number)?\"?>(.*?)</t", row)])
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


def test_a_picture_has_its_size():
    png = sheet.png(np.zeros((50, 70), np.uint8))
    assert Image.open(io.BytesIO(png)).size == (70, 50)
    assert 'width="70" height="50" style="min-width:42px"' in rendered("{{ picture(png, 'alt') }}", png=png)


def test_a_name_that_utf_8_cannot_write_is_no_error():
    content = {"title": "\udcff", "entries": [], "several_datasets": False, "colours": {}, "sweeps": [], "curves": b""}
    png, cells = sheet.png(np.zeros((5, 7), np.uint8)), [{"model": "a"}]
    page = pages.render("comparison.html.j2", content | {"curves": png, "result_rows": cells})
    assert b"<h1>&#56575;</h1>" in page
