"""HTML by which a loaded run, an ensemble, an evaluation or a page shows itself in a notebook. Needs no matplotlib."""

from collections.abc import Iterable, Sequence
import dataclasses
import html
import math
import os
import pathlib
from typing import Any

_CELL = "text-align:left"  # Jupyter's own style puts cells to the right.
_WIDTH, _HEIGHT = 260, 70  # Pixels of a picture.


@dataclasses.dataclass(frozen=True)
class Frame:
    """A page that needs no other file, such as a report or an exported network: a notebook shows it in a frame.

        Frame("runs/simple_cnn/report.html")

    The notebook holds the page itself: it needs no server, also in Colab, and no kernel when it is opened again.

    Attributes:
      path: the page's file.
      height: pixels.
    """

    path: str | os.PathLike
    height: int = 900

    def _repr_html_(self) -> str:
        page = pathlib.Path(self.path).read_text("utf-8")
        # A page without an address of its own takes that of the notebook: links to its sections would lead there.
        page = page.replace("<head>", '<head><base href="about:srcdoc">', 1)
        return f'<iframe srcdoc="{html.escape(page)}" width="100%" height="{self.height}" style="border: 0"></iframe>'


def title(text: str) -> str:
    """A line in bold: title("12 runs")."""
    return f"<p><b>{html.escape(text)}</b></p>"


def table(rows: Iterable[Sequence[Any]], heading: Sequence[str] = ()) -> str:
    """A table whose first column, and heading if it has one, are bold: table([("epochs", 3)])."""

    def cell(kind: str, value: Any) -> str:
        return f'<{kind} style="{_CELL}">{html.escape(str(value))}</{kind}>'

    lines = ["".join(cell("th", name) for name in heading)] if heading else []
    lines += [cell("th", first) + "".join(cell("td", value) for value in rest) for first, *rest in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def curves(records: Sequence[dict[str, float | None]]) -> str:
    """A small picture of the accuracies over the epochs; empty below two epochs.

    curves(digits.load("runs/simple_cnn").records)
    """
    lines = {name: [record.get(name) for record in records] for name in ("accuracy", "val_accuracy")}
    shown = [value for line in lines.values() for value in line if _number(value)]
    if len(records) < 2 or not shown:
        return ""
    low, high = min(shown), max(shown)

    def points(line: Sequence[float | None]) -> str:
        places = [
            (4 + (_WIDTH - 8) * i / (len(line) - 1), 4 + (_HEIGHT - 8) * (high - value) / ((high - low) or 1))
            for i, value in enumerate(line)
            if _number(value)
        ]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    styles = {
        "accuracy": 'stroke="#0072B2" stroke-dasharray="4 3"',
        "val_accuracy": 'stroke="#0072B2" stroke-width="2"',
    }
    drawn = "".join(
        f'<polyline fill="none" {styles[name]} points="{points(line)}"/>' for name, line in lines.items() if any(line)
    )
    caption = f"Accuracy from {low:.4f} to {high:.4f} over the epochs: of training (dashed), of validation (solid)"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{caption}">{drawn}</svg>'
        f'<div style="font-size:smaller">{caption}</div>'
    )


def _number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
