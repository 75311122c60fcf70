"""The pictures of an evaluated run, by what is on their axes."""

import io

import numpy as np
from PIL import Image
import pytest

from digits.analysis import classification, statistics
from digits.analysis.figures import classes, sheet
from digits.analysis.figures.style import png

NAMES = ("cat", "dog", "axolotl")


@pytest.fixture
def mixed():
    """Two mistakes among seven: a cat taken for a dog, and a dog for an axolotl."""
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    predictions = np.array([0, 0, 0, 1, 1, 2, 2])
    return classification.measure(np.eye(3)[predictions] * np.arange(1, 8)[:, None], labels, NAMES)


def cells(figure):
    """Text and, where an error is coloured, the percentage behind it, by (row, column)."""
    axes = figure.axes[0]
    texts = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    array = axes.images[0].get_array()
    coloured = {(int(i), int(j)): array[i, j] for i, j in np.argwhere(~np.ma.getmaskarray(array))}
    return texts, coloured


def test_the_confusion_matrix_colours_errors_by_their_share_of_the_true_class(mixed):
    figure = classes.confusion(mixed["confusion"], NAMES)
    texts, coloured = cells(figure)
    assert texts == {(0, 0): "3", (0, 1): "1", (1, 1): "1", (1, 2): "1", (2, 2): "1"}  # Nothing where there is none.
    assert coloured == {(0, 1): 25, (1, 2): 50}
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(NAMES)
    assert axes.get_title() == "2 of 7 images misclassified (28.57%)"


def test_a_confusion_matrix_without_errors_has_no_colours():
    figure = classes.confusion([[1200, 0], [0, 0]], ("a", "b"))
    texts, coloured = cells(figure)
    assert texts == {(0, 0): "1,200", (1, 1): "0"} and coloured == {} and len(figure.axes) == 1
    png(figure)


def test_many_classes_and_long_names_fit():
    names = [f"class number {i}" for i in range(60)]
    figure = classes.confusion(np.eye(60, dtype=int) + np.eye(60, k=1, dtype=int), names)
    width, height = Image.open(io.BytesIO(png(figure))).size
    assert width < 2400 and height < 2400
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in zip(boxes, boxes[1:])) and min(box.x0 for box in boxes) >= 0


def test_reliability_shows_the_bins_that_have_images(mixed):
    filled = [b for b in mixed["calibration"]["bins"] if b["n"]]
    filled[0]["n"] = 10  # The others have too few images for a point that catches the eye.
    above, below = classes.reliability({"bins": filled}).axes
    (many,), few = above.containers[0].lines[0].get_xydata().tolist(), above.lines[-1]
    assert many == [filled[0]["confidence"], filled[0]["accuracy"]]
    assert few.get_xydata().tolist() == [[b["confidence"], b["accuracy"]] for b in filled[1:]]
    assert few.get_markerfacecolor() == "none" and few.get_label() == "the same of fewer than 10 images"
    assert [bar.get_height() for bar in below.patches] == [b["n"] for b in filled]
    assert above.get_title().startswith("How sure the network is, and how often it is right")


def robustness_rows(**accuracies):
    rows = [("none", 0, "", 0.9)]
    rows += [("rotation", amount, "degrees", accuracy) for amount, accuracy in ((-30, 0.5), (30, 0.6))]
    rows += [("contrast", amount, "factor", accuracy) for amount, accuracy in ((0.5, 0.8), (0.1, 0.0))]
    keys = ("change", "amount", "unit", "accuracy")

    def more(row):
        return {"n": 10, "accuracy_interval": statistics.wilson(round(row[3] * 10), 10)}

    return [dict(zip(keys, row)) | more(row) for row in rows]


def test_robustness_is_a_panel_a_change_with_its_unit():
    figure = classes.robustness(robustness_rows())
    assert figure.get_suptitle() == "Accuracy on 10 images, by how much they are changed"
    rotation, contrast = figure.axes
    assert (rotation.get_title(), rotation.get_xlabel()) == ("rotation", "degrees")
    assert (contrast.get_title(), contrast.get_xlabel()) == ("contrast", "factor")
    points = rotation.containers[0].lines[0]
    assert points.get_xydata().tolist() == [[-30, 0.5], [0, 0.9], [30, 0.6]]  # As they are: in the middle.
    assert contrast.containers[0].lines[0].get_xydata().tolist() == [[1, 0.9], [0.5, 0.8], [0.1, 0.0]]
    left, right = contrast.get_xlim()
    assert left > right  # Less contrast is more change.
    assert set(rotation.lines[0].get_ydata()) == {0.9} and rotation.get_ylim()[0] == 0


def test_pictures_of_mistakes_are_drawn_where_there_are_any(mixed, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    shown, draw = [], sheet.sheet
    monkeypatch.setattr(sheet, "sheet", lambda *args, **how: shown.append(args) or draw(*args, **how))
    pictures = classes.draw(mixed, images, robustness_rows())
    assert list(pictures) == ["confusion", "reliability", "mistakes", "doubtful", "robustness"]
    for content in pictures.values():
        Image.open(io.BytesIO(content)).load()
    (mistakes, captions), (doubtful, _) = shown
    np.testing.assert_array_equal(mistakes, images[[5, 3]])  # The surest first.
    probability = np.exp(6) / (np.exp(6) + 2)
    assert captions[0] == f"image 5\ntrue dog\npredicted axolotl\np = {probability:.4f}"
    np.testing.assert_array_equal(doubtful, images[[0, 1, 2, 4, 6]])
    right = classification.measure(np.eye(3), np.arange(3), NAMES)
    assert list(classes.draw(right, images[:3])) == ["confusion", "reliability", "doubtful"]
