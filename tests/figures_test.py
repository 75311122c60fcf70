"""What is drawn of runs."""

import io
import types

import numpy as np
import pandas as pd
from PIL import Image
import pytest

from digits import figures
from tests.conftest import tiny_config


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
    figure = figures.curves([run(0.4, 0.3)])
    loss, accuracy = figure.axes
    assert (loss.get_title(), loss.get_xlabel(), loss.get_ylabel()) == ("Loss", "epoch", "cross-entropy (nats)")
    assert accuracy.get_ylabel() == "accuracy (fraction)" and loss.get_yscale() == "linear"
    assert lines(loss) == {(figures.BLUE, "--"): [[1, 0.4], [2, 0.3]], (figures.BLUE, "-"): [[1, 0.8], [2, 0.6]]}
    assert labels(figure) == ["training", "validation"]


def test_a_table_without_validation_is_drawn_like_a_list():
    listed = run(0.4, 0.3, validation=False)
    table = types.SimpleNamespace(history=pd.DataFrame(listed.history).set_index("epoch").astype(float))
    for one in (listed, table):
        figure = figures.curves([one])
        assert lines(figure.axes[0]) == {(figures.BLUE, "--"): [[1, 0.4], [2, 0.3]]}
        assert labels(figure) == ["training"]


def test_a_rate_that_varies_and_a_loss_over_orders_of_magnitude_have_their_axes():
    figure = figures.curves([run(0.4, 0.3, 0.002, rate=lambda epoch: 0.1 / epoch)])
    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert "log scale" in figure.axes[0].get_ylabel()
    vanishing = figures.curves([run(0.4, 0.3, rate=lambda epoch: 10.0 ** (-9 * epoch))])
    assert vanishing.axes[2].get_yscale() == "linear"


def test_documented_epochs_are_marks_and_lost_ones_are_not():
    documented = {"loss": [0.5, None, 0.4], "accuracy": [0.8, 0.9, 0.9]}
    figure = figures.curves([run(0.4)], documented)
    marks = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert marks == [[[1, 0.5], [3, 0.4]]]
    assert labels(figure) == ["training", "validation", "documented, training"]


def test_a_run_has_its_colour_and_members_are_a_mean_with_their_range():
    runs = {"a": run(0.4, 0.3), "$b": [run(0.2, 0.1, 0.05), run(0.4)]}
    figure = figures.curves(runs)
    colours = figures.colours(list(runs))
    assert colours == {"a": figures.BLUE, "$b": figures.VERMILLION}
    assert lines(figure.axes[0])[colours["$b"], "--"] == [[1, pytest.approx(0.3)], [2, 0.1], [3, 0.05]]
    (band, _) = figure.axes[0].collections
    x, y = band.get_paths()[0].vertices.T
    assert (y[x == 1].min(), y[x == 1].max()) == (0.2, 0.4)
    assert labels(figure)[:2] == ["a", "$b (mean and range of 2)"]
    assert Image.open(io.BytesIO(figures.png(figure))).size[0] == 1200  # A name is no mathematics.


@pytest.mark.parametrize("shape, shown", [((3, 3, 1, 20), 20), ((5, 5, 1, 100), 64), ((784, 12), 12)])
def test_filters_are_the_weights_around_zero(shape, shown):
    kernel = np.random.default_rng(0).normal(size=shape)
    axes, bar = figures.filters(kernel).axes
    image = axes.images[0]
    assert image.norm.vmin == -image.norm.vmax and image.cmap.name == "RdBu_r" and bar.get_ylabel() == "weight"
    wall = image.get_array()
    side = 28 if len(shape) == 2 else shape[0]
    assert wall.count() == shown * side * side
    np.testing.assert_array_equal(wall[:side, :side], kernel[..., 0].reshape(side, side))
    # The second stands beside the first, behind a gap.
    gap = max(1, side // 10)
    np.testing.assert_array_equal(wall[:side, side + gap : 2 * side + gap], kernel[..., 1].reshape(side, side))
    assert str(shape[-1]) in axes.get_title() and ("the first 64" in axes.get_title()) == (shape[-1] > 64)


def test_dead_filters_are_white():
    assert figures.filters(np.zeros((3, 3, 1, 2))).axes[0].images[0].norm.vmax == 1


def test_samples_are_of_every_class_in_turn():
    labels = np.array([1, 1, 0, 0, 1, 2])
    assert figures.first_of_each(labels, 3, 2) == [2, 0, 5, 3, 1]
    assert figures.samples(np.zeros((6, 28, 28), np.uint8), labels, "abc").shape[2] == 3


def test_augmentation_is_rows_of_draws_below_the_originals():
    images, config = np.zeros((3, 28, 28), np.uint8), tiny_config().augment
    images[:, 4:20, 10:14] = 255
    ink = 255 - figures.augmentation(images, config, draws=2)[..., 0].astype(int)
    rows = np.split(ink[8 : 8 + 3 * 92], 3)  # 28 pixels of 3, and the gap of 8.
    assert len(ink) == 8 + 3 * 92
    assert not np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[1], rows[2])
    assert rows[1].sum() == pytest.approx(rows[0].sum(), rel=0.1)  # Turned, not lost.
