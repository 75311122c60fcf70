"""The style that all figures share: colours, fonts, resolution, PNG."""

from collections.abc import Sequence
import io
import sys
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
import numpy as np

from digits.analysis.figures.lettering import LetteredFigure

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, VERMILLION, SKY, DARK = "#0072B2", "#D55E00", "#56B4E9", "#333333"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", SKY, "#000000", "#767676")
_MARKERS, _SIGNS = "os^Dv*PX", "●■▲◆▼★✚✕"
STYLE = {
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.titlesize": 11,
    "font.size": 10,
    "grid.alpha": 0.3,
    "text.parse_math": False,  # A value may hold a $.
}
DPI = 120

# Decorates a function that draws with matplotlib: it draws in STYLE.
styled = matplotlib.rc_context(STYLE)


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure; its sides are in inches."""
    return LetteredFigure(figsize=(width, height), dpi=DPI, layout="constrained")


def enable_in_notebook() -> None:
    """In IPython, registers the PNG display of figures, which otherwise happens only once pyplot was used."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell and Figure not in shell.display_formatter.formatters["image/png"]:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})


class Look(NamedTuple):
    """How a run is told apart: the colour and marker of its lines, and a character that looks like the marker."""

    colour: str
    marker: str
    sign: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Assigns each run a look, the same in every figure and table of a report. Looks repeat after eight runs."""
    return {name: Look(COLOURS[i % 8], _MARKERS[i % 8], _SIGNS[i % 8]) for i, name in enumerate(names)}


def text_colour(image: AxesImage, value: float) -> str:
    """Chooses white or black for text on the colour that an image gives a value."""
    brightness = np.dot(image.cmap(image.norm(value))[:3], (0.3, 0.6, 0.1))
    return "white" if brightness < 0.5 else "black"


@styled
def png(figure: Figure) -> bytes:
    """Saves a figure as a PNG file; returns its bytes."""
    file = io.BytesIO()
    # With optimize, saving takes nearly twice as long and the file is a twentieth smaller.
    figure.savefig(file, format="png", pil_kwargs={"compress_level": 4})
    return file.getvalue()
