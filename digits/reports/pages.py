"""Writes reports on runs: pages that explain themselves and need no other file, from templates/*.html.j2."""

import base64
from collections.abc import Iterable, Sequence
import importlib.util
import os
import pathlib
import re
import struct
from typing import Any

import jinja2
from markupsafe import Markup, escape

from digits.errors import UserError
from digits.reports.judged_run import JudgedRun, SharedByRuns, write_pictures
from digits.runs import files
from digits.runtime import paths

# Explained at the end of a page; headings of tables link there.
_WORDS = {
    "nats": "The unit of a loss: minus the natural logarithm of the probability that the network gave to the true "
    "class. 0 is perfect; guessing among ten classes gives 2.303.",
    "95% interval": "The range that covers the true value in 95% of all such experiments: for one network that of "
    "Wilson (1927), made for proportions; for the mean of several runs that of Student's t on the scale of the logit.",
    "precision": "Of the images that the network gave this class, the share that belong to it.",
    "recall": "Of the images of this class, the share that the network found.",
    "F1": "The harmonic mean of precision and recall: high only if both are.",
    "expected calibration error": "ECE: how far the network's confidence and its accuracy lie apart, on average over "
    "all images. 0.02 means: when it says 90%, it is right in about 88% or 92% of all cases.",
    "p, corrected": "The probability that chance alone makes a difference as large as this one, multiplied by Holm's "
    "method (1979) for the number of comparisons: who compares often finds something by chance.",
}


def write(
    workdir: str | os.PathLike, data_dir: str | None = None, output: str | os.PathLike | None = None
) -> pathlib.Path:
    """Writes the report on one run: WORKDIR/report.html and WORKDIR/figures/*.png, or `output` alone.

        write("runs/simple_cnn")

    The report on an unfinished run shows its training so far and evaluates no test images.

    Returns:
      The page's path.

    Raises:
      UserError: there is no run, a part of it is missing or damaged, its data cannot be read, or the files cannot be
        written.
    """
    _require_libraries()
    from digits.reports import run_page

    content, pictures = run_page.content(JudgedRun(workdir, SharedByRuns(data_dir)))
    page = render("run.html.j2", content)
    if output is not None:
        return _write_page(output, page)
    folder = pathlib.Path(workdir).expanduser()
    write_pictures(folder / "figures", pictures)
    return _write_page(folder / "report.html", page)


def compare(
    workdirs: Sequence[str | os.PathLike], output: str | os.PathLike, data_dir: str | None = None
) -> pathlib.Path:
    """Writes a report that compares 2 to 8 runs with the first of them.

        compare(["runs/dense_32_32", "runs/dense_64_64"], "dense.html")

    Args:
      workdirs: the folders of runs and sweeps; a sweep takes part with its best point.
      output: the page's path.
      data_dir: see `data.load`.

    Returns:
      The page's path.

    Raises:
      UserError: as `write`; also for another number of runs.
    """
    _require_libraries()
    from digits.reports import comparison_page

    content = comparison_page.content(workdirs, SharedByRuns(data_dir))
    return _write_page(pathlib.Path(output), render("comparison.html.j2", content))


def _require_libraries() -> None:
    """Raises UserError if a library that the modules of pages import is not installed."""
    for name, package in (("matplotlib", "matplotlib"), ("PIL", "pillow")):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"A report needs {package}, which is not installed: pip install {package}.")


def _write_page(path: str | os.PathLike, page: bytes) -> pathlib.Path:
    path = paths.local(path, "--output")
    files.write(path, page)
    return path


def render(template: str, content: dict[str, Any]) -> bytes:
    """Renders a template with its variables, which are escaped."""
    text = _templates.get_template(template).render(content, contents=Contents(), words=_WORDS)
    return text.encode("utf-8", "xmlcharrefreplace")  # A file's name may have characters that UTF-8 has not.


class Contents(list):
    """The sections of a page, (id, heading), in order."""

    def __init__(self):
        super().__init__()
        self._pictures = 0

    def add(self, heading: str) -> str:
        """Adds a section and returns an id for it that no other section has."""
        id = re.sub(r"\W+", "-", heading.lower()).strip("-")
        if not id or id in dict(self):
            id = f"{id}-{len(self) + 1}".strip("-")
        self.append((id, heading))
        return id

    def picture(self) -> str:
        """Returns an id for the page's next picture."""
        self._pictures += 1
        return f"picture-{self._pictures}"


def _columns(rows: Sequence[dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """Lists the columns of a table that are not empty, each with its HTML attributes.

    Numbers are aligned right, and a phone does not squeeze sentences and long headings.
    """
    first, *names = [name for name in rows[0] if any(row[name] for row in rows)]
    found: list[tuple[str, dict[str, str]]] = [(first, {})]
    for name in names:
        cells = [row[name] for row in rows]
        classes = {
            "sentence": max(map(len, cells)) > 40,
            "words": max(map(len, [name, *cells])) > 20,
            "number": all(map(_is_number, cells)),
        }
        chosen = " ".join(kind for kind, holds in classes.items() if holds)
        found.append((name, {"class": chosen} if chosen else {}))
    return found


def _is_number(cell: str) -> bool:
    """Whether a cell is empty or a number, perhaps with a unit of a few characters."""
    return not cell or bool(re.fullmatch(r"(± |to |< )?[-+−]?[\d.,]+(e[-+]?\d+)?( .{1,24})?", cell))


def _breakable(cell: str) -> Markup:
    """A text that breaks where a reader would: a number before "±" and "to", a long name at its commas and dots."""
    parts = re.split(" (?=± |to )", cell)
    if all(map(_is_number, parts)):
        return _whole(parts)
    return Markup("<wbr>").join(_pieces(re.sub(r"\b([np]) ([=<]) (?=\d)", "\\1\xa0\\2\xa0", cell)))


def _whole(parts: Iterable[str]) -> Markup:
    """A text that breaks between its parts only."""
    return Markup(" ").join(Markup('<span class="whole">{}</span>').format(part) for part in parts)


def _pieces(name: str) -> list[str]:
    return re.split(r"(?<=[,=/_.])(?=[^\W\d])", name) if len(name) > 20 else [name]


def _wide(rows: Sequence[dict[str, str]]) -> bool:
    """Whether a table is too wide for a phone, with some 40 characters a line."""
    characters = 0.0
    for name, attributes in _columns(rows):
        pieces = (piece for cell in (name, *(row[name] for row in rows)) for piece in _pieces(cell))
        longest = max(len(word) for piece in pieces for word in piece.split(" "))
        least = {"sentence": 22, "words": 13}.get(attributes.get("class", "").partition(" ")[0], 0)
        characters += max(longest, least) + 1.5
    return characters > 42


def _explained(heading: str) -> Markup:
    """A heading or a row's name in which words of the glossary are links to it, and explained under the pointer."""
    found = re.fullmatch(rf"(.*?)\b({'|'.join(map(re.escape, _WORDS))})(\W*)", heading)
    if not found:
        return _breakable(heading)
    link = Markup('<a class="word" href="#{}" title="{}">{}</a>')
    return escape(found[1]) + link.format(_word_id(found[2]), _WORDS[found[2]], found[2]) + found[3]


def _word_id(word: str) -> str:
    return "word-" + re.sub(r"\W+", "-", word)


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    """Makes the rows of a table of names and values, without empty values."""
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _png_size(png: bytes) -> tuple[int, int]:
    """Reads width and height in pixels from the beginning of a PNG file."""
    return struct.unpack(">II", png[16:24])


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "figure": "{:.4f}".format,
    "count": "{:,}".format,
    "columns": _columns,
    "breakable": _breakable,
    "whole": _whole,
    "explained": _explained,
    "wide": _wide,
    "word_id": _word_id,
    "pairs": _pairs,
    "size": _png_size,
    "base64": _base64,
    "sentence": _sentence,
}
