"""Records: the protocol holds, searches keep validation figures alone, and the page has all seeds."""

import csv
import importlib
import json
import signal

import pytest

from configs import fast_99
from digits import sweep as digits_sweep
from digits.errors import UserError
from digits.runs import sweep_folder
from digits.runtime.signals import Interrupted
from experiments import records_search
from experiments.collecting import collected
from experiments.rendering import records as tables
from experiments.rendering.results import Results
from experiments.studies import records
from tests.conftest import ROOT
from tests.made_sweeps import THREE, make, rates
from tests.result_pages import made_up


@pytest.mark.parametrize("arm", records.STUDY.arms, ids=lambda arm: arm.name)
def test_a_record_trains_on_all_training_images_and_is_tested_once(arm):
    config = importlib.import_module(f"configs.{arm.config}").get_config()
    assert config.data.validation == "none" and not config.early_stopping.restore_best
    assert all(field.startswith("model.") for field in arm.overrides), "the recipe is the config's"
    assert arm.repeats == "seed" and not config.monitor.startswith("val_")


def test_the_recorded_seeds_are_the_first_ones_of_one_commit():
    for name, entry in collected.read(records.STUDY, collected.FOLDER).items():
        (arm,) = (arm for arm in records.STUDY.arms if arm.name == name)
        seeds = sorted([member["seed"] for member in entry["members"]] + entry["diverged"])
        assert seeds == list(range(len(seeds))) and len(seeds) <= arm.seeds, name
        assert len({member["result"]["commit"] for member in entry["members"]}) == 1, "one recipe, one commit"
        assert not any(member["result"]["dirty"] for member in entry["members"])


def test_the_search_holds_out_writers_and_logs_no_test_figure():
    assert records_search.VALIDATION == {"data.validation": "writer_folds(5)"}
    assert not any("test" in column for column in records_search.COLUMNS)
    for log in records_search.FOLDER.glob("*.csv"):
        assert (ROOT / "configs" / f"{log.stem}.py").exists()
        rows = list(csv.DictReader(log.read_text().splitlines()))
        assert rows and tuple(rows[0]) == records_search.COLUMNS
        for row in rows:
            assert "test" not in row["changes"] and row["commit"]


@pytest.mark.parametrize("wrong", ["--sweep.data.fold=0:3", "--config.data.validation=test"])
def test_the_search_refuses_another_validation(wrong, capsys):
    assert records_search.main(["search", "--config=fast_99", "--sweep.seed=0:2", wrong]) == 2
    assert wrong.split("=")[0].removeprefix("--") in capsys.readouterr().err


def test_the_search_trains_candidates_on_five_folds_of_writers(monkeypatch):
    plans = []

    def train(plan, *_):
        plans.append(plan)
        raise UserError("enough")

    monkeypatch.setattr(digits_sweep, "train", train)
    assert records_search.main(["search", "--config=fast_99", "--sweep.batch_size=32,64"]) == 2
    (plan,) = plans
    assert {config.data.validation for config in plan.configs} == {"writer_folds(5)"}
    assert [values["data.fold"] for values in plan.values] == 2 * [0, 1, 2, 3, 4]
    assert plan.origin["overrides"] == {"data.validation": "writer_folds(5)"}


def test_a_stopped_search_logs_the_candidates_that_were_tried(tmp_path, monkeypatch):
    def train(plan, *_):
        tmp_path.joinpath("sweep").mkdir()
        make(plan.workdir, rates({0.1: ["diverged"], 0.01: [0.95, None], 0.001: [None, None]}))
        raise Interrupted(signal.SIGTERM, "the command")

    monkeypatch.setattr(digits_sweep, "train", train)
    monkeypatch.setattr(records_search, "FOLDER", tmp_path)
    command = ["search", "--config=fast_99", "--sweep.batch_size=32,64", f"--workdir={tmp_path / 'sweep'}"]
    assert records_search.main(command) == 128 + signal.SIGTERM
    rows = list(csv.DictReader((tmp_path / "fast_99.csv").read_text().splitlines()))
    assert [(row["folds"], row["not_finished"]) for row in rows] == [("1", "1 unfinished"), ("0", "1 diverged")]


def test_a_candidate_is_a_row_and_a_repeated_one_replaces_it(tmp_path):
    sweep = sweep_folder.read_sweep(make(tmp_path, THREE))
    about = {"date": "2026-11-28", "commit": "abc"}
    rows = records_search.rows(sweep, {"epochs": 2, "data.validation": "writer_folds(5)"}, about)
    assert len(rows) == len(sweep.points) and json.loads(rows[0]["changes"])["epochs"] == 2
    assert rows[0]["val_accuracy"] == pytest.approx(sweep.points[0].summary("val_accuracy").mean, abs=1e-5)
    log = tmp_path / "log.csv"
    records_search.keep(log, rows)
    records_search.keep(log, [rows[0] | {"seconds": 77}])
    kept = list(csv.DictReader(log.read_text().splitlines()))
    assert len(kept) == len(rows) and [row["seconds"] for row in kept].count("77") == 1
    records_search.keep(log, [rows[0] | {"commit": "def"}])
    assert len(log.read_text().splitlines()) == len(rows) + 2


def found(count, diverged=()):
    """Results of fast_99 with this many finished seeds, of 100."""
    arms = [arm.name for arm in records.STUDY.arms]
    members = {name: made_up(count) if name == "fast_99" else [] for name in arms}
    return Results(members, dict.fromkeys(arms, []) | {"fast_99": list(diverged)}, (), {"fast_99": 9})


def test_the_page_shows_every_seed_with_its_interval_and_the_seconds_alone():
    measured = {"digits": {"rounds": [{"seconds": s} for s in (1, 3, 2)]}}
    machine = {"cpu": "A CPU", "cores": 2, "gpu": None}
    times = {"fast_99": {"contestants": measured, "commands": {}, "machine": machine}}
    text = "a\n<!-- speed -->\nold\n<!-- /speed -->\nb\n"
    page = tables.page(text, found(100), times)
    assert page.startswith("a\n<!-- speed -->\n| command |") and "old" not in page
    assert "| 0.9354 ± 0.0290 |" in page and "| 0.8859, 0.9849 | 100 | 9 |" in page
    assert "| 2.00 | A CPU, 2 cores |" in page
    assert tables.page(page, found(100), times) == page
    assert "| 98 of 100; diverged: 7, 8 |" in tables.page(text, found(98, diverged=[7, 8]), times)


@pytest.mark.parametrize("count", [0, 99])
def test_no_page_and_no_picture_has_a_record_that_lacks_a_seed(count):
    times = {"fast_99": {"contestants": {"digits": {"rounds": [{"seconds": 2.0}]}}, "commands": {}}}
    text = tables.page("<!-- speed -->\n<!-- /speed -->", found(count), times)
    assert text == "<!-- speed -->\nNot run yet.\n<!-- /speed -->"
    assert tables.pictures(found(count), times) == {}


def test_the_page_names_the_smallest_network_above_99_percent_and_the_best_below_each_limit():
    arms = records.PARAMETERS[:3]
    parameters = dict(zip((arm.name for arm in arms), (900, 1_500, 4_000)))
    accuracies = dict(zip(parameters, (0.985, 0.993, 0.991)))
    trained = {name: made_up(10, shift=accuracy - 0.9354) for name, accuracy in accuracies.items()}
    members = {arm.name: trained.get(arm.name, []) for arm in records.STUDY.arms}
    results = Results(members, dict.fromkeys(members, []), (), parameters)
    page = tables.page("<!-- parameters -->\nold\n<!-- /parameters -->\n", results, {})
    first, second, third = (arm.name.partition(",")[2] for arm in arms)
    assert page.index(f"| 900 | `{first}` |") < page.index(f"| 4,000 | `{third}` |")
    assert f"- Smallest with a mean above 99%: `{second}`, 1,500 parameters, 0.9930" in page
    assert f"- Best below 1,000 parameters: `{first}`, 900 parameters, 0.9850" in page
    assert f"- Best below 5,000 parameters: `{second}`" in page


def test_the_pictures_have_the_records_that_were_trained():
    times = {"fast_99": {"contestants": {"digits": {"rounds": [{"seconds": 2.0}]}}, "commands": {}}}
    assert set(tables.pictures(found(100), times)) == {"records_seconds", "records_parameters"}
    assert set(tables.pictures(found(100), {})) == {"records_parameters"}


def test_fast_99_has_the_peers_layers_alone():
    from benchmarks import problem

    config, changes = problem.resolve("fast_99", [], augments=())
    assert changes == [] and config == fast_99.get_config()
