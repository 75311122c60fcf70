"""The learning curves of runs, by what lies on their axes."""

import io
import types

import pandas as pd
from PIL import Image
import pytest

from digits.analysis.figures.curves import curves, panels
from digits.analysis.figures.style import BLUE, VERMILLION, png


def run(*losses, validation=True, rate=lambda epoch: 0.1):
    """What has a history: of these losses, accuracies of 1 - loss, and the same of validation, half as good."""
    none = {"val_loss": None, "val_accuracy": None}
    history = [
        {"epoch": e, "loss": loss, "accuracy": 1 - loss, "learning_rate": rate(e), "seconds": 1.0}
        | ({"val_loss": 2 * loss, "val_accuracy": 1 - 2 * loss} if validation else none)
        for e, loss in enumerate(losses, start=1)
    ]
    return types.SimpleNamespace(history=history)


def lines(axes):
    """Colour, style and points of what is drawn as a line."""
    found = [line for line in axes.lines if line.get_linestyle() != "None"]
    return {(line.get_color(), line.get_linestyle()): line.get_xydata().tolist() for line in found}


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_run_is_a_panel_of_loss_and_one_of_accuracy():
    figure = curves([run(0.4, 0.3)])
    loss, accuracy = figure.axes
    assert (loss.get_title(), loss.get_xlabel(), loss.get_ylabel()) == ("Loss", "epoch", "cross-entropy (nats)")
    assert accuracy.get_ylabel() == "accuracy (fraction)" and loss.get_yscale() == "linear"
    assert lines(loss) == {(BLUE, "--"): [[1, 0.4], [2, 0.3]], (BLUE, "-"): [[1, 0.8], [2, 0.6]]}
    assert labels(figure) == ["training", "validation"]


def test_a_table_without_validation_is_drawn_like_a_list():
    listed = run(0.4, 0.3, validation=False)
    table = types.SimpleNamespace(history=pd.DataFrame(listed.history).set_index("epoch").astype(float))
    for one in (listed, table):
        figure = curves([one])
        assert lines(figure.axes[0]) == {(BLUE, "--"): [[1, 0.4], [2, 0.3]]}
        assert labels(figure) == ["training"]


def test_a_rate_that_varies_and_a_loss_over_orders_of_magnitude_have_their_axes():
    figure = curves([run(0.4, 0.3, 0.002, rate=lambda epoch: 0.1 / epoch)])
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert "log scale" in figure.axes[0].get_ylabel()
    vanishing = curves([run(0.4, 0.3, rate=lambda epoch: 10.0 ** (-9 * epoch))])
    assert vanishing.axes[2].get_yscale() == "linear"


def test_documented_epochs_are_marks_and_lost_ones_are_not():
    documented = {"loss": [0.5, None, 0.4], "accuracy": [0.8, 0.9, 0.9]}
    figure = curves([run(0.4)], documented)
    marks = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert marks == [[[1, 0.5], [3, 0.4]]]
    assert labels(figure) == ["training", "validation", "documented, training"]


def test_a_run_has_its_colour_and_members_are_a_mean_with_their_range():
    runs = {"a": run(0.4, 0.3), "$b": [run(0.2, 0.1, 0.05), run(0.4)]}
    figure = curves(runs)
    assert lines(figure.axes[0])[VERMILLION, "--"] == [[1, pytest.approx(0.3)], [2, 0.1], [3, 0.05]]
    (band, _) = figure.axes[0].collections
    x, y = band.get_paths()[0].vertices.T
    assert (y[x == 1].min(), y[x == 1].max()) == (0.2, 0.4)
    assert labels(figure)[:2] == ["a", "$b (mean and range of 2)"]
    assert Image.open(io.BytesIO(png(figure))).size[0] == 1200  # A name is no mathematics.


def test_several_runs_are_told_apart_by_markers_too():
    runs = {"a": run(0.4, 0.3), "b": run(0.5, 0.4)}
    for axes in curves(runs).axes:
        assert {(line.get_color(), line.get_marker()) for line in axes.lines} == {(BLUE, "o"), (VERMILLION, "s")}
    assert {line.get_marker() for line in curves([run(0.4, 0.3)]).axes[0].lines} == {"None"}


def test_panels_are_figures_of_their_own_without_the_names_of_runs():
    runs = {"a": run(0.4, 0.3, rate=lambda epoch: 0.1 / epoch), "b": run(0.5, 0.4)}
    whole, found = curves(runs), panels(runs)
    assert list(found) == ["loss", "accuracy", "learning_rate"]
    for axes, figure in zip(whole.axes, found.values()):
        (own,) = figure.axes
        assert lines(own) == lines(axes) and own.get_title() == axes.get_title()
        assert labels(figure) == ["training", "validation"]
        assert Image.open(io.BytesIO(png(figure))).size[0] == 600
