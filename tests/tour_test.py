"""docs/tour.md quotes the code: every block stands in the function that the page names."""

import ast
import re
import textwrap

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "tour.md").read_text()
QUOTES = re.findall(r"^`([\w/.]+\.py)`, `([\w.]+)`:\n\n```python\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)


def source(path, name):
    """The text of a function by its qualified name: source("digits/training/run.py", "Run.end_epoch")."""
    text = (ROOT / path).read_text()
    node = ast.parse(text)
    for part in name.split("."):
        node = next(inner for inner in node.body if getattr(inner, "name", None) == part)
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


@pytest.mark.parametrize(("path", "name", "block"), QUOTES, ids=[name for _, name, _ in QUOTES])
def test_a_quoted_block_stands_in_the_function_that_the_page_names(path, name, block):
    assert any(textwrap.indent(block, " " * indent) in source(path, name) for indent in range(0, 24, 4))


def test_every_block_is_a_quotation_and_the_page_is_short():
    assert len(QUOTES) == PAGE.count("```python") >= 6
    assert 40 <= sum(len(block.splitlines()) for _, _, block in QUOTES) <= 90
