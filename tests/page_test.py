"""The parts that pages are made of."""

import re

from digits import page


def test_sections_whose_titles_differ_only_in_what_no_id_has_are_told_apart():
    titles = ["Sweep seed=0:10", "Sweep seed=0-10", "***", "Other"]
    text = page.document("T", [], [page.section(title, "text") for title in titles]).decode()
    ids, links = re.findall(r'<section id="([^"]*)"', text), re.findall(r'href="#([^"]*)"', text)
    assert ids == links and len(set(ids)) == 4 and all(ids)
    assert ids[0] == "sweep-seed-0-10" and ids[3] == "other"
