"""Runs and sweeps in the real trackers, read back from their own stores. A tracker that is not installed is skipped."""

import importlib.util
import json
import os
import pathlib
import struct
import tempfile
import time
from typing import Any, NamedTuple

import pytest

from digits import sweep
from digits.config.values import flat, with_values
from digits.runs.workdir import Workdir
from digits.runtime.signals import Interrupted
from digits.training import loop, tracking, train
from tests.conftest import tiny_config

# Where the trackers keep the runs of all tests, which have names of their own. W&B and Trackio read their variables
# once, and MLflow takes seconds to make a database.
KEPT = pathlib.Path(tempfile.mkdtemp())
FOLDERS = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "TRACKIO_DIR")
FILES = {"config.json", "metrics.jsonl", "result.json"}


class Seen(NamedTuple):
    """A run as a tracker shows it: `figures` by name and step, `state` where the tracker has one."""

    name: str
    group: str | None
    state: str
    config: dict[str, Any]
    figures: dict[str, dict[int, float]]
    tested: dict[str, float]
    files: set[str]


def in_mlflow():
    """Reads through MLflow's client; the parents of runs are not listed, but name the groups."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("digits")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs if "mlflow.parentRunId" in run.data.tags}
    by_id = {run.info.run_id: run for run in runs}
    seen = []
    for run in runs:
        if (id := run.info.run_id) in parents:
            continue
        found = {name: client.get_metric_history(id, name) for name in run.data.metrics}
        assert all(len({one.step for one in history}) == len(history) for history in found.values())
        figures = {name: {one.step: one.value for one in history} for name, history in found.items()}
        tested = {name: run.data.metrics[name] for name in figures if name.startswith("test")}
        files = {file.path for file in client.list_artifacts(id)}
        files |= {file.path for inside in files for file in client.list_artifacts(id, inside) if not file.is_dir}
        parent = by_id.get(run.data.tags.get("mlflow.parentRunId"))
        group, state = parent and parent.info.run_name, run.info.status
        seen.append(Seen(run.info.run_name, group, state, run.data.params, figures, tested, files))
    return seen


def in_wandb():
    """Reads the files of offline runs, for which W&B has no Python API; joins those of a run, as `wandb sync` does."""
    parts = {}
    for path in sorted((KEPT / "wandb").glob("offline-run-*/*.wandb")):
        until = time.monotonic() + 20
        # W&B's own process writes the file, some time after a run has ended.
        while not (records := wandb_records(path)) or not records[-1].HasField("exit"):
            assert time.monotonic() < until
            time.sleep(0.1)
        parts.setdefault(path.stem, []).extend(records)
    seen = []
    for records in parts.values():
        figures, tested, files, config, state = {}, {}, set(), {}, ""
        run = next(record.run for record in records if record.HasField("run"))
        for record in records:
            if record.HasField("run"):
                for item in record.run.config.update:
                    if (key := item.key or item.nested_key[0]) != "_wandb":
                        config[key] = json.loads(item.value_json)
            elif record.HasField("history"):
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                for name, value in row.items():
                    if not name.startswith("_"):
                        before = figures.setdefault(name, {})
                        assert row["_step"] not in before  # Each epoch was sent once.
                        before[row["_step"]] = value
            elif record.HasField("summary"):
                values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
                tested |= {name: value for name, value in values.items() if name.startswith("test")}
            elif record.HasField("artifact") or record.request.HasField("log_artifact"):
                artifact = record.artifact if record.HasField("artifact") else record.request.log_artifact.artifact
                files |= {entry.path for entry in artifact.manifest.contents}
            elif record.HasField("exit"):
                state = str(record.exit.exit_code)
        seen.append(Seen(run.display_name, run.run_group or None, state, flat(config), figures, tested, files))
    return seen


def wandb_records(path):
    """The records of W&B's file: LevelDB's log format after seven bytes."""
    from wandb.proto import wandb_internal_pb2 as messages

    content, place, whole, records = path.read_bytes(), 7, b"", []
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # A full record, or the last part of one.
            records.append(messages.Record.FromString(whole))
            whole = b""
    return records


def in_trackio():
    """Reads through Trackio's API and, as its page does, its storage."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    seen = []
    try:
        runs = list(trackio.Api().runs("digits"))
    except ValueError:
        return []
    for run in runs:
        config = {key: value for key, value in run.config.items() if not key.startswith("_")}
        figures = {}
        for row in SQLiteStorage.get_logs("digits", run.name, run_id=run.id):
            for name, value in row.items():
                if name not in ("step", "timestamp"):
                    assert row["step"] not in figures.setdefault(name, {})
                    figures[name][row["step"]] = value
        name, _, identity = run.name.rpartition("-")
        tested = {name: next(iter(steps.values())) for name, steps in figures.items() if name.startswith("test")}
        artifact = SQLiteStorage.get_artifact_manifest("digits", f"run-{identity}", None)
        files = {entry["path"] for entry in artifact["manifest"]} if artifact else set()
        seen.append(Seen(name, run.config["_Group"], "", flat(config), figures, tested, files))
    return seen


READ = {"mlflow": in_mlflow, "wandb": in_wandb, "trackio": in_trackio}


@pytest.fixture(params=READ)
def tracker(request, monkeypatch):
    """The name of a tracker, which keeps its runs in KEPT; a machine that is busy may take long for a call."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(tracking, "_PATIENCE", 600)
    monkeypatch.chdir(KEPT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{KEPT}/mlflow.db")
    for name in FOLDERS:
        monkeypatch.setenv(name, str(KEPT))
    for name in list(os.environ):
        if name.startswith(("MLFLOW_EXPERIMENT", "WANDB_API", "WANDB_TAGS", "TRACKIO_SPACE", "TRACKIO_SERVER")):
            monkeypatch.delenv(name)
    return request.param


def tracked(tracker, config, folder):
    """Trains, or goes on, with a tracker that must not fail."""
    with tracking.Tracking(tracking.names(tracker)).run(Workdir(folder), pytest.fail) as run:
        train.train_and_evaluate(config, folder, tracked=run)


def of(tracker, folder):
    """The run of a folder's name, of which the tracker must have one."""
    (seen,) = [seen for seen in READ[tracker]() if seen.name == folder.name]
    return seen


def check(seen, folder, tracker):
    """The tracker shows what is in the run's folder."""
    files = Workdir(folder)
    history, result = files.read()
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"):
        assert seen.figures[name] == {record["epoch"]: record[name] for record in history}
    assert seen.tested["test_accuracy"] == result["test_accuracy"] and seen.tested["test_loss"] == result["test_loss"]
    if tracker != "wandb":
        assert list(seen.figures["test_accuracy"]) == [result["tested_epoch"]]
    config = flat(files.about()["config"])
    assert seen.config == ({key: str(value) for key, value in config.items()} if tracker == "mlflow" else config)
    assert seen.files >= FILES
    assert seen.state == {"mlflow": "FINISHED", "wandb": "0", "trackio": ""}[tracker]


def test_a_run_is_what_its_folder_holds_and_its_report_comes_with_it(tracker, tmp_path):
    folder = tmp_path / f"a run, of={tracker}"
    config = tiny_config()
    with tracking.Tracking(tracking.names(tracker)).run(Workdir(folder), pytest.fail) as run:
        train.train_and_evaluate(config, folder, tracked=run)
        (folder / "figures").mkdir()
        (folder / "figures" / "curves.png").write_bytes(b"a picture")
        (folder / "report.html").write_text("<p>the report")
    seen = of(tracker, folder)
    check(seen, folder, tracker)
    assert seen.group is None and {"report.html", "figures/curves.png"} <= seen.files
    tracked(tracker, config, folder)  # The tracker has it.
    assert of(tracker, folder) == seen


def test_a_run_that_was_stopped_goes_on_in_the_same_run(tracker, tmp_path, monkeypatch):
    folder, config = tmp_path / f"stopped_{tracker}", tiny_config()
    config.checkpoint_every = 1
    train_epoch = loop.Loop.train_epoch

    def stopped(self):
        if self._run.state.epoch == 2:
            self._run.stop(2)
        train_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "train_epoch", stopped)
        with pytest.raises(Interrupted):
            tracked(tracker, config, folder)
    seen = of(tracker, folder)
    assert list(seen.figures["loss"]) == [1, 2] and not seen.tested
    assert seen.state == {"mlflow": "KILLED", "wandb": "130", "trackio": ""}[tracker]
    tracked(tracker, config, folder)
    check(of(tracker, folder), folder, tracker)


def test_a_run_that_w_and_b_has_got_already_is_not_sent_twice(tracker, tmp_path):
    if tracker != "wandb":
        pytest.skip("is about `wandb sync`")
    folder, config = tmp_path / "synced", tiny_config()
    tracked(tracker, config, folder)
    seen = of(tracker, folder)

    def files():
        return list((KEPT / "wandb").glob(f"offline-run-*-{Workdir(folder).identity}/*.wandb"))

    def later():  # W&B's folders have the names of seconds.
        time.sleep(1.1)
        tracked(tracker, config, folder)

    first = files()
    later()  # Replaces the folder, which is not sent yet.
    assert of(tracker, folder) == seen and len(files()) == 1 and files() != first
    second = files()
    second[0].with_name(f"{second[0].name}.synced").touch()
    later()
    assert set(second) < set(files()) and of(tracker, folder) == seen


def test_a_run_that_fails_has_failed_in_the_tracker_too(tracker, tmp_path):
    folder = tmp_path / f"failing_{tracker}"
    config = with_values(tiny_config(), {"optimizer.learning_rate": 1e30, "optimizer.name": "sgd"})
    with pytest.raises(Exception, match="became"):
        tracked(tracker, config, folder)
    state = {"mlflow": "FAILED", "wandb": "1"}
    if tracker in state:
        assert of(tracker, folder).state == state[tracker]


def test_a_finished_run_is_sent_as_a_whole(tracker, tmp_path):
    folder, config = tmp_path / f"before_{tracker}", tiny_config()
    train.train_and_evaluate(config, folder)
    tracked(tracker, config, folder)
    check(of(tracker, folder), folder, tracker)


@pytest.mark.parametrize("sharing", ["mapped", "batched"])
def test_each_run_of_a_sweep_is_a_run_of_a_group(sharing, tracker, tmp_path, capsys):
    folder = tmp_path / f"{sharing}_{tracker}"
    (tmp_path / "tiny.py").write_text("from tests.conftest import tiny_config as get_config")
    command = ["sweep", f"--config={tmp_path}/tiny.py", f"--workdir={folder}", "--sweep.seed=0:3"]
    command += [f"--config.population.sharing={sharing}", "--config.epochs=2"]
    assert sweep.main([*command, f"--track={tracker}"]) == 0
    looks = {"mlflow": "mlflow ui --backend-store-uri sqlite", "wandb": "wandb sync", "trackio": "trackio show"}
    assert f"\n  {looks[tracker]}" in capsys.readouterr().out

    def runs():
        return sorted(seen for seen in READ[tracker]() if seen.group == folder.name)

    names = [f"seed={seed}" for seed in range(3)]
    assert [seen.name for seen in runs()] == names
    for seen in runs():
        check(seen, folder / seen.name, tracker)
    if tracker == "mlflow":
        import mlflow

        client = mlflow.MlflowClient()
        (whole,) = client.search_runs(["1"], f"run_name = '{folder.name}'")
        assert whole.info.status == "FINISHED"
        files = {file.path for file in client.list_artifacts(whole.info.run_id)}
        assert {"sweep.md", "sweep.csv", "members.csv", "figures"} == files
    before = runs()
    assert sweep.main([*command, f"--track={tracker}"]) == 0  # The tracker has them.
    assert runs() == before


def test_the_runs_of_a_sweep_that_another_process_trained_are_sent_after_it(tracker, tmp_path):
    folder = tmp_path / f"elsewhere_{tracker}"
    folders = [folder / f"seed={seed}" for seed in range(2)]
    for seed, path in enumerate(folders):
        train.train_and_evaluate(with_values(tiny_config(), {"seed": seed, "epochs": 1}), path)
    tracks = tracking.Tracking((tracker,), folder)
    tracks.send_others(map(Workdir, [*folders, folder / "seed=2"]), pytest.fail)  # The last has not begun.
    for path in folders:
        (seen,) = [seen for seen in READ[tracker]() if seen.group == folder.name and seen.name == path.name]
        check(seen, path, tracker)
