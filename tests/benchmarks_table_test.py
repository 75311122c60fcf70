"""Tests of the benchmarks' figures, which rounds give, and of their page, which the committed files give."""

import json
import re

import pytest

from benchmarks import driver, results, table
from tests.conftest import ROOT


def made_up(name, seconds, **more):
    rounds = [
        {"round": i + 1, "steps": 10, "seconds": s, "cpu_seconds": s, "cores_used_by_others": 0.0}
        for i, s in enumerate(seconds)
    ]
    report = {"rounds": rounds, "first_step_s": 1.5, "peak_mib": 300.4, "loss": 0.25, "accuracy": 0.9}
    return {name: report | {"test_accuracy": 0.8, "device": "cpu", "versions": {name: "1.0"}} | more}


def rendered(*files):
    """A page with a place for every table."""
    return table.render("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in table.tables([])), list(files))


def test_ratios_are_medians_of_pairs():
    # Round by round 2, 4 and 8 times as fast, while the quotient of the medians is 2.
    reports = made_up("digits", [1.0, 0.5, 5.0]) | made_up("torch_eager", [2.0, 2.0, 40.0])
    rows = results.summarize(reports, batch_size=100, flops=1e6, peak=1.0)
    assert vars(rows["torch_eager"]["ratio"]) == {"median": 4.0, "low": 2.0, "high": 8.0}
    assert rows["digits"]["ratio"] is None
    assert vars(rows["digits"]["steps"]) == {"median": 10.0, "low": 2.0, "high": 20.0}
    assert rows["digits"]["images"].median == 1000.0
    assert rows["digits"]["share"] == pytest.approx(1.0)  # 1000 images/s of 1 MFLOP against 1 GFLOP/s.
    assert results.paired_ratios({1: 4.0, 3: 6.0}, {1: 2.0, 2: 9.0, 3: 3.0}) == [2.0, 2.0]


def test_a_contestant_without_rounds_has_no_row():
    assert results.summarize(made_up("torch_eager", []), 1, 1.0, None) == {}
    (row,) = results.summarize(made_up("torch_eager", [1.0]), 1, 1.0, None).values()
    assert row["ratio"] is None and row["share"] is None


@pytest.mark.parametrize(
    "value, text", [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012")]
)
def test_number(value, text):
    assert results.number(value) == text


def test_origin_names_no_places():
    arguments = [
        "--model=deep_cnn",
        "--json",
        "/a/b",
        "--data_dir=/c",
        "--set=batch_size=3",
        "--peers_python=/d",
        "--epoch",
    ]
    command = results.origin("benchmarks.peers", arguments)["command"]
    assert command == "python -m benchmarks.peers --model=deep_cnn --set=batch_size=3 --epoch"


def peers_file():
    return {
        "kind": "peers", "model": "deep_cnn", "overrides": ["batch_size=64"], "changes": ["no augmentation"],
        "batch_size": 64, "parameters": 870634, "flops_per_image": 114e6, "sgemm_gflops": 150.0,
        "contestants": made_up("digits", [1.0]) | made_up("torch_eager", [2.0]) | made_up("torch_compile", [1.25]),
        "failed": {"keras_jax": "not installed"}, "machine": {"cpu": "Some CPU", "cores": 2, "gpu": None},
        "cores_used_by_others": 0.5, "date": "2026-11-21", "command": "python -m benchmarks.peers --model=deep_cnn",
    }  # fmt: skip


def test_every_table_renders_its_measurements():
    startup = {
        "kind": "startup", "model": "dense_32_32", "overrides": [],
        "machine": {"cpu": "Some CPU", "cores": 2, "gpu": None},
        "contestants": made_up("digits", [2.0, 3.0]) | made_up("torch_eager", [4.0, 4.0]), "date": "2026-11-21",
    }  # fmt: skip
    figures = {"loss": 0.5, "accuracy": 0.25, "test_loss": 0.125, "test_accuracy": 0.75, "seconds": 1.0}
    agreement = startup | {"kind": "agreement", "seed": 7, "contestants": {"stock": {"rounds": [figures]}}}

    def seconds(*values):
        return {"rounds": [{"round": i, "seconds": value} for i, value in enumerate(values)]}

    alone = seconds(4.0, 6.0) | {"steps": 50, "workers": 2}
    population = startup | {
        "kind": "population",
        "members": 10,
        "contestants": {"alone": alone, "mapped": seconds(2, 2)},
    }
    single = {"rounds": [{"round": 0, "seconds": 30.0, "training": 15.0}]}
    sweep = population | {"kind": "sweep", "members_are": "folds", "epochs": 3}
    sweep["contestants"] = {"sweep": seconds(10.0), "single": single}
    pairs = [(dtype, devices, (dtype, 1)) for dtype in ("float64", "float32") for devices in (2, 8)]
    apart = [
        {"dtype": dtype, "devices": devices, "than": than, "all": 2.0**-place}
        for place, (dtype, devices, than) in enumerate([*pairs, ("float32", 1, ("float64", 1))])
    ]
    compared = startup | {
        "kind": "devices",
        "model": "simple_cnn",
        "title": "simple_cnn",
        "steps": 30,
        "weights": apart,
    }
    ways = {"native": seconds(0.1, 0.2), "bernoulli": seconds(0.3, 0.2), "dot": seconds(1), "stock call": seconds(4)}
    operations = startup | {"kind": "operations", "load": [1.2, 3.4], "contestants": ways}
    layer = seconds(0.002, 0.001, 0.004) | {
        "layer": "28x28x32 to 32, 3x3", "pass": "forward", "flops": {"plain": 4e8, "executed": 1e8}, "error": 1.5e-6,
    }  # fmt: skip
    kernels = startup | {"kind": "kernels", "batch_size": 32, "sgemm_gflops": 100.0, "command": "python -m ..."}
    kernels["contestants"] = {"conv_0 forward": layer, "step": seconds(0.005) | {"layer": "a step", "pass": ""}}
    page = rendered(peers_file(), startup, agreement, population, sweep, compared, operations, kernels)
    assert "\nold\n" not in page
    summary = next(line for line in page.splitlines() if line.startswith("| `deep_cnn`"))
    # The best PyTorch is the compiled one, 1.25 times slower than digits.
    assert "(batch_size=64, no augmentation) | 64 | 640 | 1.25 [1.25-1.25] (`torch_compile`) | - |" in summary
    assert "| `torch_eager` | 5.00 [5.00-5.00] | 320 |" in page
    assert "| `dense_32_32` | 2.50 [2.00-3.00] | 4.00 [4.00-4.00] | 0.625 [0.500-0.750] |" in page
    assert "| `dense_32_32`, seed 7 | `stock` | 0.50000 | 0.25000 | 0.12500 | 0.75000 |" in page
    assert "| `dense_32_32` | 10 | 50 | 5.00 [4.00-6.00] | 2 | 2.50 [2.00-3.00] | - | Some CPU" in page
    sweep_row = (
        "| `dense_32_32`, 10 folds, 3 epochs | 10.0 [10.0-10.0] | 30.0 [30.0-30.0] | 3.00 [3.00-3.00] | 1.50 [1.50"
    )
    assert sweep_row in page
    assert "| `simple_cnn` | 30 | 1e+00 | 5e-01 | 2e-01 | 1e-01 | 6e-02 | Some CPU" in page
    assert "](results/devices_simple_cnn.png)" in page
    spreads = "7.50 [5.00-10.0] | 4.17 [3.33-5.00] | 2.00 [1.00-3.00]"
    assert f"| `dense_32_32` | {spreads} | 2 | 1-3 | Some CPU" in page
    assert "| `dense_32_32` | 1.00 [1.00-1.00] | 0.250 [0.250-0.250] | 4.00 [4.00-4.00] | 1 | 1-3 | Some CPU" in page
    assert "| 28x28x32 to 32, 3x3 | forward | 2.00 [1.00-4.00] | 200 | 200% | 50.0 | 50% | 1.5e-06 |" in page
    assert "| the rest of a training step |  | 3.00 |" in page
    for words in ("Some CPU, 2 cores", "Without `keras_jax`: not installed.", "torch_compile 1.0", "used 0.50 cores"):
        assert words in page


@pytest.mark.parametrize("page", ["benchmarks/README.md", "docs/performance.md"])
def test_the_committed_page_is_the_rendered_one(page):
    files, text = table.read(ROOT / "benchmarks" / "results"), (ROOT / page).read_text()
    assert text == table.render(text, files) and "Not measured yet" not in text


def test_every_table_has_its_place_and_the_readme_its_install():
    pages = [(ROOT / page).read_text() for page in ("benchmarks/README.md", "docs/performance.md")]
    places = [name for page in pages for name in re.findall("<!-- (?!/)(.*) -->", page)]
    assert sorted(places) == sorted(table.tables([]))
    assert driver.INSTALL.replace(" && ", "\n") in pages[0]


def test_the_short_table_has_what_was_trained_beside_both_peers(tmp_path):
    without_keras, both = peers_file(), peers_file() | {"model": "simple_cnn"}
    both["contestants"] = both["contestants"] | made_up("keras_tensorflow", [4.0])
    newer = both | {"model": "two_conv", "date": "2026-11-22"}
    for name, content in (("a", without_keras), ("b", both), ("c", newer)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    for page, name in (("docs/performance.md", "speed"), ("benchmarks/README.md", "peers")):
        (tmp_path / page).parent.mkdir()
        (tmp_path / page).write_text(f"before\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n")
    assert table.main(["table", f"--results={tmp_path}", f"--readme={tmp_path}/benchmarks/README.md"]) == 0
    assert "`two_conv`" in (tmp_path / "benchmarks/README.md").read_text()
    before, shown, after = re.split("(?:<!-- /?speed -->\n)", (tmp_path / "docs/performance.md").read_text())
    assert (before, after) == ("before\n", "after\n")
    assert shown.splitlines()[2:] == [
        "| `two_conv` | 64 | 640 | 1.2 | 4.0 | Some CPU, 2 cores | 2026-11-22 |",
        "| `simple_cnn` | 64 | 640 | 1.2 | 4.0 | Some CPU, 2 cores | 2026-11-21 |",
    ]


@pytest.mark.parametrize(
    "content, words",
    [
        ("{}", "x.json is not a file of benchmarks.peers"),
        ('{"kind": "peers", "model": "a", "overrides": []}', "has no 'contestants'"),
    ],
)
def test_a_broken_result_gives_one_sentence(tmp_path, capsys, content, words):
    (tmp_path / "x.json").write_text(content)
    (tmp_path / "README.md").write_text("A page.")
    assert table.main(["table", f"--results={tmp_path}", f"--readme={tmp_path}/README.md"]) == 2
    assert words in capsys.readouterr().err


def test_a_page_that_is_missing_is_named(tmp_path, capsys):
    assert table.main(["table", f"--results={tmp_path}", f"--readme={tmp_path}/other.md"]) == 2
    assert f"--readme is '{tmp_path}/other.md', but there is no such file." in capsys.readouterr().err


def test_whole_trainings_are_rendered():
    measured = {
        "kind": "time_to_accuracy", "model": "fast_99", "overrides": [], "target": 0.85, "epochs": 1,
        "examples": 60000, "batch_size": 64, "parameters": 1234,
        "commands": {"digits": {"warm": [4.0], "cold": [20.0]}},
        "contestants": made_up("digits", [1.0, 2.0]) | made_up("torch_eager", [4.0, 10.0]), "cores_used_by_others": 0,
        "machine": {"cpu": "Some CPU", "cores": 2, "gpu": None}, "date": "2026-11-28", "command": "python -m ...",
    }  # fmt: skip
    for name, accuracy in (("digits", 0.9), ("torch_eager", 0.8)):
        for item in measured["contestants"][name]["rounds"]:
            item["test_accuracy"] = accuracy
    text = rendered(measured)
    assert "| digits | 1.50 [1.00-2.00] | 0.9000 ± 0.0000 | 2 | yes | 4.00 [4.00-4.00] | 20.0 [20.0-20.0] | - |" in text
    assert "| torch_eager | 7.00 [4.00-10.0] | 0.8000 ± 0.0000 | 2 | **no** | - | - | 4.50 [4.00-5.00] |" in text


def test_a_notebooks_training_is_rendered():
    measured = {
        "kind": "notebook", "model": "deep_cnn", "overrides": ["epochs=2"], "epochs": 2,
        "contestants": made_up("digits", [10.0, 20.0]) | made_up("keras_notebook", [40.0, 60.0]),
        "machine": {"cpu": "Some CPU", "cores": 2, "gpu": None}, "date": "2026-11-28", "command": "python -m ...",
    }  # fmt: skip
    for report in measured["contestants"].values():
        for item in report["rounds"]:
            item |= {"val_accuracy": 0.98, "test_accuracy": 0.99}
    text = rendered(measured)
    accuracies = "0.9800 [0.9800-0.9800] | 0.9900 [0.9900-0.9900] | 2"
    assert f"| digits | 15.0 [10.0-20.0] | {accuracies} | - |" in text
    assert f"| keras_notebook | 50.0 [40.0-60.0] | {accuracies} | 3.50 [3.00-4.00] |" in text
