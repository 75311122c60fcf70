"""The axes of the figure of a sweep: the values of a field and their scale, the scale of the figure that chooses."""

from matplotlib import figure
import pytest

from digits.reports import sweep_axes
from digits.runs import sweep_folder
from tests.made_sweeps import KERNEL, RATE, rates


@pytest.mark.parametrize(
    "values, kind",
    [
        ([0.001, 0.01], "log"),
        ([1e-4, 2e-4, 5e-4, 1e-3], "log"),
        ([32, 64, 128], "log"),
        ([1, 2, 3, 4], "linear"),
        ([0.0, 0.1, 1.0], "linear"),
        ([-1, 100], "linear"),
        ([100, 101, 102], "linear"),
        ([3, 5], "linear"),
        ([False, True], "categorical"),
        (["adam", "sgd"], "categorical"),
        ([3, (5, 3)], "categorical"),
    ],
)
def test_the_axis_suits_the_values(values, kind):
    assert sweep_axes.axis_kind(values) == kind


def swept(make_sweep, runs, chooses="val_accuracy"):
    return sweep_folder.read_sweep(make_sweep(runs, chooses))


def test_numbers_ascend_and_other_values_stay_in_the_order_of_the_sweep(make_sweep):
    names, rates_of = ("sgd", "adam", "rmsprop"), (0.1, 0.001, 0.01)
    runs = [({"optimizer.name": name, RATE: rate}, 0.9) for name, rate in zip(names, rates_of)]
    sweep = swept(make_sweep, runs)
    assert sweep_axes.values_of(sweep, "optimizer.name") == [*names]
    assert sweep_axes.values_of(sweep, RATE) == sorted(rates_of)


def test_figures_are_the_finite_ones(make_sweep):
    members = swept(make_sweep, rates({0.1: [0.9, "diverged", float("nan")], 0.2: [None, 0.8]})).members
    assert sweep_axes.figures(members, "val_accuracy") == [0.9, 0.8]


def test_labels_have_units_and_texts_few_digits_or_short_lines():
    assert sweep_axes.labelled("batch_size") == "batch_size (images)" and sweep_axes.labelled(RATE) == RATE
    assert sweep_axes.text_of(0.00123456) == "0.00123" and sweep_axes.text_of(12345) == "12345"
    assert max(map(len, sweep_axes.text_of((128,) * 20).split("\n"))) <= 24


@pytest.mark.parametrize(
    "chooses, accuracies, is_log",
    [
        ("val_accuracy", [0.1, 0.99, 0.97], True),
        ("val_loss", [0.1, 0.99, 0.97], True),
        ("val_accuracy", [0.97, 0.99, 0.98], False),
        ("val_loss", [0.97, 0.99, 0.98], False),
        ("val_loss", [2.0, 0.999, 0.5], False),  # A loss below zero has no logarithm.
    ],
)
def test_the_choosing_figure_has_a_log_scale_where_it_varies_much(make_sweep, chooses, accuracies, is_log):
    sweep = swept(make_sweep, rates({rate: [accuracy] for rate, accuracy in enumerate(accuracies, 1)}), chooses)
    scale = sweep_axes.log_scale(sweep)
    assert (scale is not None) == is_log
    if scale:
        shown = sweep_axes.figures(sweep.members, chooses)
        assert [float(scale.back(scale.to(value))) for value in shown] == pytest.approx(shown)
        better = max if chooses == "val_accuracy" else min
        worst_first = sorted(shown, reverse=better is min)
        places = [float(scale.to(value)) for value in worst_first]
        assert places == sorted(places, reverse=better is min) and set(scale.ticks) & {0.9, 0.1}


@pytest.mark.parametrize("xy", ["x", "y"])
def test_each_value_has_a_place_on_its_axis(make_sweep, xy):
    sweep = swept(make_sweep, [({KERNEL: k, "optimizer.name": n}, 0.9) for k in (5, 3) for n in ("sgd", "adam")])
    axes = figure.Figure().subplots()
    assert sweep_axes.set_field_axis(axes, xy, sweep, KERNEL, 40) == {3: 3, 5: 5}
    assert getattr(axes, f"get_{xy}label")() == KERNEL and getattr(axes, f"get_{xy}ticks")().tolist() == [3, 5]
    axes = figure.Figure().subplots()
    assert sweep_axes.set_field_axis(axes, xy, sweep, "optimizer.name", 40) == {"sgd": 0, "adam": 1}
    labels = getattr(axes, f"get_{xy}ticklabels")()
    assert [label.get_text() for label in labels] == ["sgd", "adam"]
