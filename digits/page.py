"""A self-contained HTML page: elements, tables and pictures, one style for narrow and wide, light and dark screens.

Pages are trees of elements, never strings put together: whatever a name or a config holds, it is escaped when it is
written.
"""

import base64
from collections.abc import Sequence
import io
import re
from xml.etree import ElementTree

from PIL import Image

_CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --faint: #595959; --paper: #ffffff; --line: #d9d9d9; --tint: #f5f5f5;
  --mark: #8a4b00; --marked: #fff3e0; --link: #005a9e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --faint: #ababab; --paper: #161616; --line: #3d3d3d;
  --tint: #232323; --mark: #ffb74d; --marked: #33260f; --link: #7cc0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p, ul, pre, figure, details, .scroll { margin: 0 0 1rem; }
.headline { font-size: 1.25rem; }
.headline strong { font-size: 1.7rem; font-variant-numeric: tabular-nums; }
.note { padding: .6rem .9rem; border-left: 4px solid var(--mark); background: var(--marked); }
.faint, figcaption, .caption { color: var(--faint); font-size: .9rem; }
a { color: var(--link); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
pre { padding: .7rem .9rem; background: var(--tint); overflow-x: auto; white-space: pre-wrap; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; min-width: min(100%, 22rem); font-size: .93rem; overflow-wrap: normal; }
.caption { margin-bottom: .3rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
thead th { vertical-align: bottom; }
tbody th { min-width: 7rem; }
.pairs td { overflow-wrap: anywhere; }
th + th, td + td, th + td { padding-left: .4rem; }
figure { break-inside: avoid; }
figure .scroll { margin-bottom: .4rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
summary { cursor: pointer; color: var(--link); }
.colour { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 2px; }
@media (max-width: 40rem) { tbody th { min-width: 6rem; max-width: 9rem; overflow-wrap: anywhere; } }
@media print { nav { display: none; } details > * { display: block; } }
"""

Element = ElementTree.Element
Content = str | Element | None | Sequence["Content"]


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """An element with text and elements in it; `class_` stands for the attribute `class`."""
    made = Element(tag, {name.rstrip("_"): value for name, value in attributes.items()})
    _fill(made, content)
    return made


def _fill(parent: Element, content: Content) -> None:
    for part in content:
        if isinstance(part, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + part
            else:
                parent.text = (parent.text or "") + part
        elif isinstance(part, Element):
            parent.append(part)
        elif part is not None:
            _fill(parent, part)


def section(title: str, *content: Content) -> Element:
    """A section with a heading, which `document` lists at the top of the page."""
    name = re.sub(r"\W+", "-", title.lower()).strip("-")
    return element("section", element("h2", title), *content, id=name)


def table(rows: Sequence[dict[str, Content]], caption: str = "", heads: bool = True) -> Element:
    """A table that scrolls where it is too wide, without the columns that are empty.

    Args:
      rows: a dict a row, by the name of the column, all with the same; the first column names the row.
      caption: above the table, and its name for screen readers.
      heads: whether the names of the columns are shown.
    """
    columns = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    numbers = {name for name in columns[1:] if all(_is_number(row[name]) for row in rows)}
    kind = lambda name: {"class_": "number"} if name in numbers else {}
    head = element("thead", element("tr", [element("th", name, scope="col", **kind(name)) for name in columns]))
    lines = []
    for row in rows:
        first = element("th", row[columns[0]], scope="row")
        lines.append(element("tr", first, [element("td", row[name], **kind(name)) for name in columns[1:]]))
    named = {} if heads else {"class_": "pairs"}
    body = element("table", head if heads else None, element("tbody", lines), **named)
    above = element("p", caption, class_="caption") if caption else None
    return element("div", above, element("div", body, **_scrolling(caption or columns[0])))


def _is_number(cell: Content) -> bool:
    return (
        cell in ("", None)
        or isinstance(cell, str)
        and bool(re.fullmatch(r"[-+−]?[\d.,]+(e[-+]?\d+)?( .{1,24})?", cell))
    )


def pairs(values: dict[str, Content], caption: str = "") -> Element:
    """A table of names and values."""
    return table([{"name": name, "value": value} for name, value in values.items() if value], caption, heads=False)


def picture(png: bytes, alt: str, caption: Content = "") -> Element:
    """A PNG within the page. It shrinks with the screen as long as its text can be read, and scrolls beyond."""
    width, height = Image.open(io.BytesIO(png)).size
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    size = {"width": str(width), "height": str(height), "style": f"min-width:{0.6 * width:.0f}px"}
    scroll = element("div", element("img", src=source, alt=alt, **size), **_scrolling(alt))
    return element("figure", scroll, element("figcaption", caption) if caption else None)


def _scrolling(label: str) -> dict[str, str]:
    """Attributes of what scrolls sideways where it is too wide: with the keyboard too, and named for screen readers."""
    return {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": label}


def note(*content: Content) -> Element:
    """A sentence that must not be overlooked."""
    return element("p", *content, class_="note")


def document(title: str, header: Sequence[Content], sections: Sequence[Element | None]) -> bytes:
    """The page: the header, links to the sections, the sections; those that are None are left out."""
    sections, names = [part for part in sections if part is not None], set()
    for number, part in enumerate(sections, start=1):
        if not part.get("id") or part.get("id") in names:  # Titles may differ in characters that no id has.
            part.set("id", f"{part.get('id')}-{number}".strip("-"))
        names.add(part.get("id"))
    links = [element("li", element("a", part[0].text, href="#" + part.get("id"))) for part in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _CSS),
    )
    navigation = element("nav", element("ul", links), **{"aria-label": "Sections"})
    main = element("main", element("header", header), navigation, sections)
    root = element("html", head, element("body", main), lang="en")
    text = "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"
    return text.encode("utf-8", "xmlcharrefreplace")
