"""The HTML by which runs and evaluations show themselves: titles, tables, small pictures of curves, pages in frames."""

import re

from digits.runs import cards


def test_titles_and_tables_show_any_text_as_it_is():
    assert cards.title("<b>&") == "<p><b>&lt;b&gt;&amp;</b></p>"
    table = cards.table([("<script>", 3, "&")], ("name", "<i>"))
    cells = re.findall(r"<(t[hd])[^>]*>(.*?)</t[hd]>", table)
    assert cells == [("th", "name"), ("th", "&lt;i&gt;"), ("th", "&lt;script&gt;"), ("td", "3"), ("td", "&amp;")]
    assert table.count("<tr>") == 2 and cards.table([("a", 1)]).count("<tr>") == 1


def test_a_picture_of_curves_needs_two_epochs_and_takes_what_is_missing():
    assert cards.curves([{"accuracy": 0.5, "val_accuracy": 0.6}]) == ""
    picture = cards.curves([{"accuracy": 0.5, "val_accuracy": None}, {"accuracy": float("nan"), "val_accuracy": 0.7}])
    assert re.findall('points="(.*?)"', picture) == ["4.0,66.0", "256.0,4.0"]


def test_a_page_is_shown_in_a_frame_in_which_its_links_stay(browser, tmp_path):
    text = '<!DOCTYPE html><html><head><title>"</title></head><body><a href="#é">Go</a><p id="é">é</p></body>'
    (tmp_path / "page.html").write_text(text, "utf-8")
    frame = cards.Frame(tmp_path / "page.html", height=300)._repr_html_()
    (tmp_path / "notebook.html").write_text(f'<!DOCTYPE html><meta charset="utf-8"><h1>Notebook</h1>{frame}', "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "notebook.html").as_uri())
    inside = page.frame_locator("iframe")
    inside.get_by_role("link").click()
    inside.locator("#é:target").wait_for()
    assert inside.locator("#é").inner_text() == "é" and inside.locator("h1").count() == 0
    assert page.frames[1].title() == '"' and page.locator("iframe").bounding_box()["height"] == 300
