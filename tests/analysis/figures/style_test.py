"""The style of figures: inside the functions that draw, and nowhere else."""

import io

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from digits.analysis.figures.style import BLUE, looks, png, styled


def test_a_figure_is_drawn_in_the_style_and_others_are_not():
    @styled
    def grid():
        return matplotlib.rcParams["axes.grid"]

    assert grid() and not matplotlib.rcParams["axes.grid"]


def test_looks_repeat_after_eight_and_differ_in_more_than_colour():
    found = looks([f"run {i}" for i in range(9)])
    assert len(set(found.values())) == 8 and found["run 8"] == found["run 0"] == (BLUE, "o", "●")
    for of in zip(*found.values()):  # Colours, markers, signs.
        assert len(set(of)) == 8


def test_a_figure_becomes_a_png_of_its_size():
    assert Image.open(io.BytesIO(png(Figure(figsize=(2, 1), dpi=50)))).size == (100, 50)
