"""What is drawn of a sweep."""

import itertools
import random

from matplotlib import figure
import pytest

from digits.reports import sweep_axes, sweep_figure, tables
from digits.runs.sweep_folder import read_sweep
from tests.conftest import slow, slow_but
from tests.made_sweeps import KERNEL, RATE, THREE, rates


@pytest.fixture
def drawn(monkeypatch):
    """The matplotlib figures that were saved."""
    saved, save = [], figure.Figure.savefig

    def savefig(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(figure.Figure, "savefig", savefig)
    return saved


def test_one_field_is_a_panel_with_all_values_on_its_axis(make_sweep, drawn):
    tables.write_sweep(make_sweep(THREE))
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (RATE, "val_accuracy (fraction)")
    assert {text.get_text() for text in axes.texts} == {"2 of 3", "2 of 2"}
    assert "configs/simple_cnn.py" in drawn[0].get_suptitle() and drawn[0].bbox.width == 1200


def test_two_fields_are_a_heat_map_with_panels_beside(make_sweep, drawn):
    cells = {(0.1, 3): 0.9, (0.1, 5): "diverged", (0.2, 3): 0.8, (0.2, 5): None, (0.3, 3): 0.95, (0.3, 5): 0.7}
    sweep = tables.write_sweep(make_sweep([({RATE: r, KERNEL: k}, run) for (r, k), run in cells.items()]))
    heat_map = next(axes for axes in drawn[0].axes if axes.images)
    assert (heat_map.get_ylabel(), heat_map.get_xlabel()) == (RATE, KERNEL)
    array = heat_map.images[0].get_array()
    assert array.tolist() == [[0.9, None], [0.8, None], [0.95, 0.7]]
    texts = {text.get_position()[::-1]: text.get_text() for text in heat_map.texts}
    assert texts[0, 1] == "1 diverged" and texts[1, 1] == "1 unfinished" and texts[2, 0] == "0.9500"
    hatched = [patch.get_xy() for patch in heat_map.patches if patch.get_hatch()]
    framed = [patch.get_xy() for patch in heat_map.patches if not patch.get_hatch()]
    assert sorted(hatched) == [(0.5, -0.5), (0.5, 0.5)] and framed == [(-0.48, 1.52)]
    assert sweep.points[0].values == {RATE: 0.3, KERNEL: 3}
    panels = [axes for axes in drawn[0].axes if axes.get_ylabel() == "val_accuracy (fraction)"]
    assert {axes.get_xlabel() for axes in panels} == {RATE, KERNEL}
    assert panels[0].get_ylim() == panels[1].get_ylim()


def random_search(fields, count, seeds=1):
    """Points of a random search: learning rates over three decades, and other fields."""
    rng, runs = random.Random(0), []
    for i in range(count):
        values = {RATE: float(f"{10 ** rng.uniform(-4, -1):.4g}"), "batch_size": rng.randint(16, 256)}
        values |= {"optimizer.beta_1": float(f"{rng.uniform(0.8, 0.99):.4g}")}
        values = {field: values[field] for field in fields}
        runs += [(values | {"seed": seed}, "diverged" if i == 1 else 0.9 + i / 1000) for seed in range(seeds)]
    return runs


@pytest.mark.parametrize("count", [50, *slow(6)])
@pytest.mark.parametrize("fields", [(RATE, "batch_size"), (RATE, "batch_size", "optimizer.beta_1")])
def test_a_random_search_is_a_scatter_on_the_scales_of_its_fields(make_sweep, drawn, count, fields):
    sweep = tables.write_sweep(make_sweep(random_search(fields, count, seeds=2)))
    assert not any(axes.images for axes in drawn[0].axes)
    scatters = [axes for axes in drawn[0].axes if axes.collections and axes.get_xlabel().startswith(fields)]
    assert len(scatters) == {2: 1, 3: 3}[len(fields)]
    (image,) = scatters[0].collections
    best = sweep.points[0]
    assert scatters[0].get_xscale() == "log" and len(image.get_array()) == count - 1
    assert tuple(image.get_offsets()[-1]) == (best.values[RATE], best.values["batch_size"])
    assert image.get_array()[-1] == max(image.get_array()) == best.summary("val_accuracy").mean
    # Points differ in every field: no line joins them.
    assert all(line.get_linestyle() in ("None", "") for axes in drawn[0].axes for line in axes.lines)


FEW = [({RATE: rate, "seed": seed}, 0.9 + seed / 100) for rate in (1e-4, 1.1e-4, 1e-3, 1.2e-3, 3e-2) for seed in (0, 1)]
WORDS = [({"model.hidden": (8 * i,) * i, "optimizer.name": "adam"}, 0.9 + i / 100) for i in range(1, 9)]
SHAPES = {
    "6 of two": random_search((RATE, "batch_size"), 6),
    "50 of two": random_search((RATE, "batch_size"), 50),
    "6 of three": random_search((RATE, "batch_size", "optimizer.beta_1"), 6),
    "50 of three": random_search((RATE, "batch_size", "optimizer.beta_1"), 50),
    "50 of one": random_search((RATE,), 50),
    "irregular list": FEW,
    "tuples": WORDS,
    "grid": [({"batch_size": b, RATE: r}, 0.9 + b / 1e4) for b in range(16, 40) for r in (1e-4, 1.5e-4, 2e-4)],
    "failures": [
        ({RATE: r, KERNEL: k, "seed": s}, 0.9 if s else "diverged") for r in (1, 2) for k in (3, 5) for s in (0, 1)
    ],
    "folds": [({KERNEL: k, "data.fold": f}, 0.9 + k / 1000 + f / 100) for k in (2, 3, 5, 7, 11) for f in range(5)],
}


@pytest.mark.parametrize("shape", slow_but(["50 of two", "tuples"], SHAPES))
def test_labels_of_ticks_do_not_overlap(make_sweep, drawn, shape):
    sweep_figure.panels(tables.write_sweep(make_sweep(SHAPES[shape])))
    for axes in itertools.chain.from_iterable(one.axes for one in drawn):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            shown = [label for label in shown if label.get_text() and label.get_visible()]
            if shown and shown[0].get_rotation():  # Turned labels lie beside each other if their ends do.
                ends = sorted(label.get_window_extent().x1 for label in shown)
                assert all(b - a > 12 for a, b in zip(ends, ends[1:])), shape
                continue
            boxes = [label.get_window_extent() for label in shown]
            assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2)), shape


@pytest.mark.parametrize(
    "shape, count",
    [("6 of three", 6), ("grid", 3), *slow(("50 of one", 1), ("6 of two", 3), ("failures", 3), ("folds", 1))],
)
def test_the_panels_are_pictures_that_a_phone_can_show(make_sweep, drawn, shape, count):
    pictures = sweep_figure.panels(read_sweep(make_sweep(SHAPES[shape])))
    assert len(pictures) == count == len(drawn)
    for description, one in zip(pictures, drawn):
        assert one.bbox.width == 600 and one.axes[0].get_xlabel() in labels_of(description)
        for legend in one.legends:
            box = legend.get_window_extent()
            assert 0 <= box.x0 and box.x1 <= 600


def labels_of(description):
    """The names of the axes of the fields of a picture: of "val_accuracy by a and b", those of a and b."""
    return [sweep_axes.labelled(field) for field in description.removeprefix("val_accuracy by ").split(" and ")]


def test_a_bar_does_not_set_the_axis_and_two_members_have_none(make_sweep, drawn):
    tables.write_sweep(make_sweep(rates({1: [0.5, 0.98, 0.99], 2: [0.97, 0.98, 0.985]})))
    low, high = drawn[0].axes[0].get_ylim()
    assert 0.35 < low < 0.5 and 0.99 < high < 1 and drawn[0].axes[0].containers
    tables.write_sweep(make_sweep(rates({1: [0.5, 0.98], 2: [0.97, 0.98]})))
    assert not drawn[1].axes[0].containers


def test_more_fields_are_a_panel_each_and_four_a_row(make_sweep, drawn):
    fields = ("optimizer.momentum", "augment.rotation", "batch_size", "model.hidden_batch_norm", "optimizer.name")
    low, high = (0.0, 0.0, 16, False, "adam"), (0.9, 10.0, 64, True, "sgd")
    runs = [(dict(zip(fields, low)), 0.9)]
    runs += [(dict(zip(fields, low)) | {field: value}, 0.8) for field, value in zip(fields, high)]
    tables.write_sweep(make_sweep(runs))
    assert [axes.get_xlabel() for axes in drawn[0].axes] == [
        "optimizer.momentum", "augment.rotation (± degrees)", "batch_size (images)", *fields[3:],
    ]  # fmt: skip
    rows = [axes.get_subplotspec().rowspan.start for axes in drawn[0].axes]
    assert rows == [0, 0, 0, 1, 1] and len({axes.get_ylim() for axes in drawn[0].axes}) == 1


def test_seeds_alone_are_a_strip_and_a_single_run_is_no_figure(make_sweep, drawn):
    tables.write_sweep(make_sweep([({"seed": seed}, 0.9 + seed / 100) for seed in range(3)]))
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "val_accuracy (fraction)" and sorted(axes.lines[0].get_xdata()) == [0.9, 0.91, 0.92]
    assert "mean ± std: 0.9100 ± 0.0100 (n = 3)" in axes.get_legend_handles_labels()[1]
    tables.write_sweep(make_sweep([({"seed": 0}, 0.9)]))
    assert sweep_figure.panels(tables.write_sweep(make_sweep(rates({5: [None, "diverged"]})))) == {}
    assert len(drawn) == 1


@pytest.mark.parametrize("chooses, scaled", [("val_accuracy", (0.1, 0.99)), ("val_loss", (0.01, 0.9))])
def test_one_bad_value_does_not_press_the_others_together(make_sweep, drawn, chooses, scaled):
    tables.write_sweep(make_sweep(rates({1: [0.1], 0.1: [0.99], 0.01: [0.97]}), chooses))
    (axes,) = drawn[0].axes

    def place(accuracy):
        return axes.transData.transform((1, accuracy if "acc" in chooses else 1 - accuracy))[1]

    part = abs(place(0.99) - place(0.97)) / abs(place(0.99) - place(0.1))
    assert axes.get_yscale() == "function" and part > 0.2
    low, high = axes.get_ylim()
    assert low < scaled[0] and scaled[1] < high
