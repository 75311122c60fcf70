"""The pictures of a classifier: confusion matrix, reliability diagram, robustness, mistakes and doubtful images."""

from collections.abc import Sequence
import math
from typing import Any

from matplotlib import colors, patches
from matplotlib.figure import Figure
import numpy as np

from digits.analysis import statistics
from digits.analysis.figures import sheet
from digits.analysis.figures.lettering import class_labels
from digits.analysis.figures.style import BLUE, VERMILLION, new_figure, png, styled, text_colour

_PANELS_A_ROW = 4
_FEW = 10  # Images of a bin, below which its accuracy says next to nothing.


@styled
def confusion(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draws the confusion matrix: counts, and errors coloured by their share of the true class's images.

        confusion([[48, 2], [0, 50]], ["cat", "dog"]).savefig("confusion.png")

    The diagonal is grey: on its scale the few errors of a good network would all look like none.

    Args:
      matrix: KxK numbers of images; rows are true classes, columns predicted ones.
      class_names: K names.
    """
    counts, k = np.asarray(matrix), len(class_names)
    class_names, legend = class_labels(class_names)
    support = counts.sum(axis=1, keepdims=True)
    percent = 100 * counts / np.maximum(support, 1)
    off_diagonal = ~np.eye(k, dtype=bool)
    shown = np.ma.masked_where((counts == 0) | ~off_diagonal, percent)
    errors, n = int(counts[off_diagonal].sum()), int(counts.sum())
    side = min(max(4.6, 0.46 * k), 16)
    columns = min(3, -(-len(legend) // 12)) or 1
    figure = new_figure(side + 1.3, side + 0.5 + 0.17 * -(-len(legend) // columns))
    axes = figure.subplots()
    axes.grid(False)
    # The palest colour differs from white, so that a single error is seen.
    colours = colors.LinearSegmentedColormap.from_list("errors", ["#FDF0E0", "#F0A050", VERMILLION, "#7A2E00"])
    image = axes.imshow(shown, cmap=colours, vmin=0, vmax=shown.max() if errors else 1)
    size = min(11, 88 * side / k / max(len(f"{counts.max():,}"), 3))
    for i, j in np.ndindex(k, k):
        if i == j:
            axes.add_patch(patches.Rectangle((j - 0.5, i - 0.5), 1, 1, fc="#E8EEF2", ec="none"))
        if size < 4 or not counts[i, j] and i != j:
            continue
        colour = "#446" if i == j else text_colour(image, percent[i, j])
        axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=size, color=colour)
    overlap = max(map(len, class_names)) * 0.085 > side / k  # A character is that many inches wide.
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if overlap else {}
    axes.set_xticks(range(k), class_names, **turned)
    axes.set_yticks(range(k), class_names)
    axes.set_xticks(np.arange(k - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(k - 1) + 0.5, minor=True)
    axes.grid(True, which="minor", color="#DDDDDD", lw=0.6, alpha=1)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{errors:,} of {n:,} images misclassified ({errors / n:.2%})")
    if errors:
        figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, label="errors of this kind (% of the true class)")
    if legend:
        lines = [patches.Patch(alpha=0, label=line) for line in legend]
        figure.legend(
            handles=lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=8, handlelength=0
        )
    return figure


@styled
def reliability(calibration: dict[str, Any]) -> Figure:
    """Draws accuracy against confidence, over the number of images of each confidence.

        reliability(measured["calibration"]).savefig("reliability.png")

    Args:
      calibration: the "calibration" of `classification.measure`.
    """
    bins = [b for b in calibration["bins"] if b["n"]]
    n = sum(b["n"] for b in calibration["bins"])
    figure = new_figure(5, 5.4)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color=VERMILLION, lw=1.2, label="as accurate as confident")
    many = [b for b in bins if b["n"] >= _FEW]
    x, y = [b["confidence"] for b in many], [b["accuracy"] for b in many]
    _error_bars(above, x, y, [statistics.wilson(round(b["accuracy"] * b["n"]), b["n"]) for b in many])
    if few := [(b["confidence"], b["accuracy"]) for b in bins if b["n"] < _FEW]:
        label = f"the same of fewer than {_FEW} images"
        above.plot(*zip(*few), "o", color="#767676", mfc="none", ms=4, mew=0.8, label=label)
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy (fraction)")
    above.set_title(f"How sure the network is, and how often it is right\n{n:,} images", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    lows, widths = [b["low"] for b in bins], [b["high"] - b["low"] for b in bins]
    below.bar(lows, [b["n"] for b in bins], widths, align="edge", color=BLUE, ec="white", lw=0.5)
    below.set_yscale("log")
    # From 0.5, so that the bar of a single image is seen.
    below.set_ylim(0.5, 2 * max(b["n"] for b in bins))
    below.yaxis.set_major_formatter("{x:,.0f}")
    below.set(xlabel="confidence: the predicted class's probability", ylabel="images\nlog scale")
    return figure


@styled
def robustness(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draws accuracy against the amount of each change, a panel a change, from the rows of `robustness.measure`.

    robustness(rows).savefig("robustness.png")
    """
    unchanged = next(row for row in rows if row["change"] == "none")
    names = list(dict.fromkeys(row["change"] for row in rows if row is not unchanged))
    columns = min(_PANELS_A_ROW, len(names))
    lines = math.ceil(len(names) / columns)
    figure = new_figure(2.6 * columns + 0.6, 2.7 * lines + 0.7)
    places = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
    for axes, name in zip(places, names):
        of = [row for row in rows if row["change"] == name]
        unit, descending = of[0]["unit"], of[0]["amount"] > of[-1]["amount"]  # The stronger change lies on the right.
        # The unchanged images are a point too: a contrast of 1, or any other change by 0.
        of.append(unchanged | {"amount": 1 if unit == "factor" else 0})
        of.sort(key=lambda row: row["amount"], reverse=descending)
        x, y = [row["amount"] for row in of], [row["accuracy"] for row in of]
        axes.axhline(unchanged["accuracy"], ls="--", color=VERMILLION, lw=1.2, label="unchanged images")
        _error_bars(axes, x, y, [row["accuracy_interval"] for row in of], line="-")
        axes.set(xlabel=unit, title=name, ylim=(0, 1.02))
        if descending:
            axes.invert_xaxis()
    for i, axes in enumerate(places):
        if i % columns == 0:
            axes.set_ylabel("accuracy (fraction)")
        if i >= len(names):
            axes.remove()
    handles, labels = places[0].get_legend_handles_labels()
    figure.suptitle(f"Accuracy on {unchanged['n']:,} images, by how much they are changed", fontsize=12)
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _error_bars(axes: Any, x: Sequence[float], y: Sequence[float], intervals: Sequence[tuple[float, float]], line=""):
    """Draws points with their 95% intervals."""
    # Rounding may put a proportion outside its Wilson interval by the last bit.
    down = [max(0.0, middle - low) for middle, (low, _) in zip(y, intervals)]
    up = [max(0.0, high - middle) for middle, (_, high) in zip(y, intervals)]
    label = "accuracy and its 95% interval"
    axes.errorbar(x, y, yerr=(down, up), fmt="o" + line, color=BLUE, ms=4, lw=1.2, capsize=2, label=label)


def draw(
    measured: dict[str, Any], images: np.ndarray, robustness_rows: Sequence[dict[str, Any]] | None = None
) -> dict[str, bytes]:
    """Draws the pictures of a classifier, PNG files by name.

    Args:
      measured: the result of `classification.measure`.
      images: NxHxW, the images that were measured.
      robustness_rows: the rows of `robustness.measure`, if robustness was measured.

    Returns:
      "confusion" and "reliability"; "mistakes" and "doubtful", unless there are none; and "robustness" if measured.
    """
    class_names = [of["name"] for of in measured["per_class"]]
    pictures = {
        "confusion": png(confusion(measured["confusion"], class_names)),
        "reliability": png(reliability(measured["calibration"])),
    }
    for name in ("mistakes", "doubtful"):
        if measured[name]:
            pictures[name] = sheet.png(sheet.examples(measured[name], images, class_names))
    if robustness_rows:
        pictures["robustness"] = png(robustness(robustness_rows))
    return pictures
