"""A sweep's directory as points, tables and a figure: numbers by hand, what failed, damaged files, what is drawn."""

import csv
import json
import sys

from matplotlib import figure
import pytest

from digits import errors, figures, report

RATE, KERNEL = "optimizer.learning_rate", "model.kernel_size"


@pytest.fixture
def make_sweep(tmp_path):
    """Writes a sweep: `runs` is (values, outcome) a member; an outcome is val_accuracy, a failure's kind or None."""

    def make(runs, chooses="val_accuracy", validation_is_test=False):
        members = []
        for values, outcome in runs:
            name = ",".join(f"{field}={value}" for field, value in values.items())
            members.append({"name": name, "values": values})
            if isinstance(outcome, float):
                finish(tmp_path / name, outcome)
            elif outcome:
                (tmp_path / name).mkdir()
                content = {"kind": outcome, "message": f"It {outcome}."}
                (tmp_path / name / "failure.json").write_text(json.dumps(content))
        about = {"config_file": "configs/simple_cnn.py", "fields": list(runs[0][0]), "members": members}
        about |= {"chooses": chooses, "validation_is_test": validation_is_test}
        (tmp_path / "sweep.json").write_text(json.dumps(about))
        return tmp_path

    return make


def finish(folder, accuracy):
    """A run of three epochs whose second was tested: val_loss is 1 - accuracy, the test figures are 0.1 worse."""
    folder.mkdir(exist_ok=True)
    at = {1: 0.5, 2: accuracy, 3: 0.6}
    lines = [json.dumps({"epoch": e, "val_accuracy": a, "val_loss": 1 - a}) + "\n" for e, a in at.items()]
    (folder / "metrics.jsonl").write_text("".join(lines))
    result = {"tested_epoch": 2, "test_accuracy": accuracy - 0.1, "test_loss": 1.1 - accuracy, "seconds": 12.5}
    (folder / "result.json").write_text(json.dumps(result))


def rates(outcomes):
    """Runs of {learning rate: an outcome for each seed}."""
    return [({RATE: rate, "seed": seed}, run) for rate, runs in outcomes.items() for seed, run in enumerate(runs)]


THREE = rates({0.1: ["diverged", "diverged"], 0.01: [0.95, None, "out of memory"], 0.001: [0.98, 0.99, 0.97]})


@pytest.fixture
def drawn(monkeypatch):
    """The matplotlib figures that were saved."""
    saved, save = [], figure.Figure.savefig

    def savefig(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(figure.Figure, "savefig", savefig)
    return saved


def test_points_carry_mean_deviation_and_interval(make_sweep):
    best = report.read_sweep(make_sweep(THREE)).points[0]
    accuracy = best.summary("val_accuracy")
    assert best.values == {RATE: 0.001} and best.count("finished") == accuracy.n == 3
    assert (accuracy.mean, accuracy.std) == (pytest.approx(0.98), pytest.approx(0.01))
    # Student's t of 2 degrees of freedom at 97.5%: 4.302653; times 0.01 / sqrt(3).
    assert accuracy.interval() == (pytest.approx(0.98 - 0.0248414), pytest.approx(0.98 + 0.0248414))
    assert best.summary("val_loss").mean == pytest.approx(0.02)
    assert best.summary("test_accuracy").mean == pytest.approx(0.88)
    assert best.summary("test_loss").mean == pytest.approx(0.12)


def test_one_member_has_no_deviation_and_none_has_no_mean():
    one, none = report.summarize([0.5, None]), report.summarize([])
    assert (one.n, one.mean, one.std, one.interval(), str(one)) == (1, 0.5, None, None, "0.5000")
    assert (none.n, none.mean, none.std, none.interval(), str(none)) == (0, None, None, None, "")
    assert str(report.summarize([0.989, 0.991])) == "0.9900 ± 0.0014"


def test_failures_and_unfinished_members_are_told_apart(make_sweep):
    sweep = report.read_sweep(make_sweep(THREE))
    assert [point.values[RATE] for point in sweep.points] == [0.001, 0.01, 0.1]
    assert [point.rest() for point in sweep.points] == ["", "1 out of memory, 1 unfinished", "2 diverged"]
    failed = sweep.members[0]
    assert (failed.state, failed.message, failed.figures["test_loss"]) == ("diverged", "It diverged.", None)


@pytest.mark.parametrize("chooses", report.FIGURES)
def test_high_accuracies_and_low_losses_come_first(make_sweep, chooses):
    folder = make_sweep(rates({4: ["error"], 3: [0.7], 1: [0.95], 2: [0.8, 0.99]}), chooses)
    assert [point.values[RATE] for point in report.read_sweep(folder).points] == [1, 2, 3, 4]


def test_a_figure_that_is_no_number_comes_after_all_others(make_sweep):
    folder = make_sweep(rates({1: [float("nan")], 2: [0.1], 3: [None]}))
    assert [point.values[RATE] for point in report.read_sweep(folder).points] == [2, 1, 3]


def test_a_member_that_failed_and_then_finished_has_finished(make_sweep):
    folder = make_sweep(rates({0.1: ["diverged"]}))
    finish(folder / f"{RATE}=0.1,seed=0", 0.9)
    assert report.read_sweep(folder).members[0].figures["val_accuracy"] == 0.9


def test_seeds_and_folds_belong_to_one_point(make_sweep):
    runs = [({"seed": s, "data.fold": f}, 0.9 + s / 100 + f / 1000) for s in range(2) for f in range(3)]
    sweep = report.read_sweep(make_sweep(runs))
    (point,) = sweep.points
    assert point.values == {} and point.summary("val_accuracy").n == 6
    lines = report.sweep_markdown(sweep).splitlines()
    assert lines[0] == "seeds and folds alone choose nothing" and "interval" not in lines[4]
    # From the mean, the six lie 4, 5 and 6 thousandths to either side: sqrt(2 * 77e-6 / 5).
    assert lines[6].startswith("| 6 | 0.9060 ± 0.0055 |")


def test_lists_stand_for_tuples(make_sweep):
    folder = make_sweep([({"model.blocks": [[32], [64]]}, 0.9), ({"model.blocks": [[32, 32]]}, 0.8)])
    points = report.read_sweep(folder).points
    assert [point.values["model.blocks"] for point in points] == [((32,), (64,)), ((32, 32),)]


def test_the_table_says_what_chose(make_sweep):
    lines = report.sweep_markdown(report.read_sweep(make_sweep(THREE))).splitlines()
    assert lines[0] == "chosen by val_accuracy, reported on the test set"
    assert lines[4].split(" | ")[1:3] == ["n", "val_accuracy"] and lines[4].endswith("| not finished |")
    assert lines[6] == (
        "| 0.001 | 3 | 0.9800 ± 0.0100 | 0.0200 ± 0.0100 | 0.8800 ± 0.0100 | 0.1200 ± 0.0100 | 0.9552 to 1.0048 |  |"
    )
    assert lines[7] == "| 0.01 | 1 | 0.9500 | 0.0500 | 0.8500 | 0.1500 |  | 1 out of memory, 1 unfinished |"
    assert lines[8] == "| 0.1 | 0 |  |  |  |  |  | 2 diverged |" and len(lines) == 9


@pytest.mark.parametrize("chooses, validation_is_test", [("test_accuracy", False), ("val_loss", True)])
def test_a_choice_by_the_test_set_is_marked(make_sweep, chooses, validation_is_test):
    def first(runs):
        return report.sweep_markdown(report.read_sweep(make_sweep(runs, chooses, validation_is_test))).splitlines()[0]

    assert first(rates({1: [0.9]})).startswith("one point alone chooses nothing")
    assert first(rates({1: [0.9], 2: [0.8]})) == (
        "chosen by the test set: its figures are too good; "
        '`--config.data.validation="last(10000)"` holds out a validation set'
    )


def test_no_validation_leaves_its_columns_out(make_sweep):
    folder = make_sweep(rates({1: [0.9], 2: [0.8]}), "test_accuracy")
    for path in folder.glob("*/metrics.jsonl"):
        path.write_text('{"epoch": 2, "val_loss": null, "val_accuracy": null}\n')
    sweep = report.write_sweep(folder)
    assert sweep.members[0].figures["val_loss"] is None
    assert report.sweep_markdown(sweep).splitlines()[4] == f"| {RATE} | n | test_accuracy | test_loss |"


def test_a_torn_last_line_is_ignored(make_sweep):
    folder = make_sweep(rates({0.1: [0.9, None]}))
    with open(folder / f"{RATE}=0.1,seed=0" / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "va')
    (folder / f"{RATE}=0.1,seed=1").mkdir()
    (folder / f"{RATE}=0.1,seed=1" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}')
    assert [member.trained_epochs for member in report.read_sweep(folder).members] == [3, 1]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("sweep.json", None, "is no sweep, for it holds no sweep.json"),
        ("sweep.json", "{", r"sweep.json cannot be read as JSON"),
        ("sweep.json", "[]", r"sweep.json is damaged: it has no valid 'config_file'"),
        (
            "sweep.json",
            ("chooses", "seconds"),
            "sweep.json says that 'seconds' chooses, .* one of val_accuracy, val_loss",
        ),
        ("sweep.json", ("members", []), "sweep.json is damaged: it names no members"),
        ("sweep.json", ("members", [{"name": "a", "values": {}}]), "sweep.json has a member without .*'name': 'a'"),
        ("*=0.9,*/result.json", "{}", "result.json is damaged: it has no valid 'test_loss'"),
        ("*=0.9,*/metrics.jsonl", '{"epoch": 1}\nx\n{"epoch": 2}\n', "metrics.jsonl is damaged: a line before"),
        ("*=0.9,*/metrics.jsonl", '{"epoch": 1}\n', "metrics.jsonl is damaged: epoch 2, which was tested"),
        ("*=0.8,*/failure.json", '"diverged"', "failure.json is damaged: it has no valid 'kind'"),
    ],
)
def test_a_damaged_file_is_named(make_sweep, name, content, message):
    folder = make_sweep(rates({0.9: [0.9], 0.8: ["diverged"]}))
    (path,) = folder.glob(name)
    if content is None:
        path.unlink()
    elif isinstance(content, tuple):
        path.write_text(json.dumps(json.loads(path.read_text()) | {content[0]: content[1]}))
    else:
        path.write_text(content)
    with pytest.raises(errors.UserError, match=message):
        report.read_sweep(folder)


def test_all_files_are_written_and_nothing_else(make_sweep):
    folder = make_sweep(THREE)
    before = {path.name for path in folder.rglob("*")}
    report.write_sweep(str(folder))
    report.write_sweep(folder)
    after = {path.name for path in folder.rglob("*")}
    assert after - before == {"sweep.csv", "members.csv", "sweep.md", "figures", "sweep.png"}
    assert (folder / "figures" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "sweep.md").read_text().endswith("(figures/sweep.png)\n")
    with open(folder / "sweep.csv") as file:
        best, second, worst = csv.DictReader(file)
    assert (best[RATE], best["n"], best["failed"], best["unfinished"]) == ("0.001", "3", "0", "0")
    assert float(best["val_accuracy_low"]) == pytest.approx(0.9551586)
    assert float(best["val_accuracy_high"]) == pytest.approx(1.0048414)
    assert float(best["test_loss_mean"]) == pytest.approx(0.12)
    assert float(best["test_loss_std"]) == pytest.approx(0.01)
    assert (second["failed"], second["unfinished"], second["val_loss_std"]) == ("1", "1", "")
    assert (worst["n"], worst["failed"], worst["val_accuracy_mean"]) == ("0", "2", "")
    with open(folder / "members.csv") as file:
        members = list(csv.DictReader(file))
    assert [member["state"] for member in members] == (
        ["diverged"] * 2 + ["finished", "unfinished", "out of memory"] + ["finished"] * 3
    )
    assert members[0]["message"] == "It diverged." and members[0]["val_loss"] == ""
    last = members[-1]
    assert (last[RATE], last["seed"], last["val_accuracy"], last["tested_epoch"]) == ("0.001", "2", "0.97", "2")
    assert (last["trained_epochs"], last["seconds"], last["validation_is_test"]) == ("3", "12.5", "False")


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(make_sweep, monkeypatch):
    folder = make_sweep(THREE)
    (folder / "sweep.csv").write_text("old")
    before = sorted(folder.iterdir())

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.os, "replace", full)
    with pytest.raises(errors.UserError, match=r"sweep.csv cannot be written \(No space left on device\)"):
        report.write_sweep(folder)
    assert sorted(folder.iterdir()) == before and (folder / "sweep.csv").read_text() == "old"


def test_without_matplotlib_the_tables_are_written(make_sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = make_sweep(THREE)
    report.write_sweep(folder)
    assert (folder / "sweep.csv").exists() and not (folder / "figures").exists()
    assert "matplotlib is not installed" in (folder / "sweep.md").read_text().splitlines()[-1]


def test_neither_jax_nor_matplotlib_is_imported(make_sweep, tmp_path, run_module):
    folder = make_sweep(THREE)
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "probe.py").write_text(
        "import sys\nfrom digits import report\n"
        f"report.sweep_markdown(report.read_sweep({str(folder)!r}))\nprint('matplotlib' in sys.modules)\n"
        f"report.write_sweep({str(folder)!r})\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules, 'jax' in sys.modules)\n"
    )
    process = run_module("probe", env={"PYTHONPATH": f"{modules}:."})
    assert process.stdout.split() == ["False", "True", "False", "False"], process.stderr


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
    assert figures.axis_kind(values) == kind


def test_one_field_is_a_panel_with_all_values_on_its_axis(make_sweep, drawn):
    report.write_sweep(make_sweep(THREE))
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (RATE, "val_accuracy (fraction)")
    assert {text.get_text() for text in axes.texts} == {"2 of 3", "2 of 2"}
    assert "configs/simple_cnn.py" in drawn[0].get_suptitle() and drawn[0].bbox.width == 1200


def test_two_fields_are_a_heat_map_with_panels_beside(make_sweep, drawn):
    cells = {(0.1, 3): 0.9, (0.1, 5): "diverged", (0.2, 3): 0.8, (0.2, 5): None, (0.3, 3): 0.95, (0.3, 5): 0.7}
    sweep = report.write_sweep(make_sweep([({RATE: r, KERNEL: k}, run) for (r, k), run in cells.items()]))
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


def test_more_fields_are_a_panel_each_and_four_a_row(make_sweep, drawn):
    fields = ("optimizer.momentum", "augment.rotation", "batch_size", "model.hidden_batch_norm", "optimizer.name")
    low, high = (0.0, 0.0, 16, False, "adam"), (0.9, 10.0, 64, True, "sgd")
    runs = [(dict(zip(fields, low)), 0.9)]
    runs += [(dict(zip(fields, low)) | {field: value}, 0.8) for field, value in zip(fields, high)]
    report.write_sweep(make_sweep(runs))
    assert [axes.get_xlabel() for axes in drawn[0].axes] == [
        "optimizer.momentum", "augment.rotation (± degrees)", "batch_size (images)", *fields[3:],
    ]  # fmt: skip
    rows = [axes.get_subplotspec().rowspan.start for axes in drawn[0].axes]
    assert rows == [0, 0, 0, 1, 1] and len({axes.get_ylim() for axes in drawn[0].axes}) == 1


def test_seeds_alone_are_a_strip_and_a_single_run_is_no_figure(make_sweep, drawn):
    report.write_sweep(make_sweep([({"seed": seed}, 0.9 + seed / 100) for seed in range(3)]))
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "val_accuracy (fraction)" and sorted(axes.lines[0].get_xdata()) == [0.9, 0.91, 0.92]
    assert "mean ± std: 0.9100 ± 0.0100 (n = 3)" in axes.get_legend_handles_labels()[1]
    report.write_sweep(make_sweep([({"seed": 0}, 0.9)]))
    report.write_sweep(make_sweep(rates({5: [None, "diverged"]})))
    assert len(drawn) == 1


@pytest.mark.parametrize("chooses, scaled", [("val_accuracy", (0.1, 0.99)), ("val_loss", (0.01, 0.9))])
def test_one_bad_value_does_not_press_the_others_together(make_sweep, drawn, chooses, scaled):
    report.write_sweep(make_sweep(rates({1: [0.1], 0.1: [0.99], 0.01: [0.97]}), chooses))
    (axes,) = drawn[0].axes
    place = lambda accuracy: axes.transData.transform((1, accuracy if "acc" in chooses else 1 - accuracy))[1]
    part = abs(place(0.99) - place(0.97)) / abs(place(0.99) - place(0.1))
    assert axes.get_yscale() == "function" and part > 0.2
    low, high = axes.get_ylim()
    assert low < scaled[0] and scaled[1] < high


@pytest.mark.parametrize(
    "correct, n, low, high",
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0000),  # The third, turned round.
    ],
)
def test_intervals_of_proportions_are_wilsons(correct, n, low, high):
    assert report.wilson(correct, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert 0 <= report.wilson(correct, n)[0] and report.wilson(correct, n)[1] <= 1
