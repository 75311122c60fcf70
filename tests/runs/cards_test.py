"""The HTML by which runs and evaluations show themselves: titles, tables and small pictures of curves."""

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
