"""A sweep on a Ray cluster of this machine gives the table of a local one, also when it is killed or stopped."""

import csv
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import types

import pytest

from digits.errors import UserError
from digits.runs import files
from digits.sweeps import cluster, population
from tests.conftest import ROOT

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -r requirements-ray.txt"
)
EPOCHS = 20
# Two programs of two members each, one of which diverges.
SWEEP = (
    f"--config={ROOT}/configs/quickstart.py", "--config.model.family=dense", "--config.model.blocks=()",
    "--config.model.block_dropout=0.0", "--config.tensorboard=False", "--config.batch_size=100",
    f"--config.epochs={EPOCHS}", "--config.optimizer.name=sgd", "--sweep.model.hidden=(16,),(24,)",
    "--sweep.optimizer.learning_rate=0.03,1e30",
)  # fmt: skip
# What `python -m digits.sweep` does, and a look at what it has started.
SWEEP_WITHOUT_JAX = """
import sys
from digits import sweep
code = sweep.main(sys.argv)
from jax._src import xla_bridge
sys.exit("JAX was started" if xla_bridge._backends else code)
"""


def wait_for(condition, seconds=90):
    """Waits until it holds; returns what it gives."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def records(folder):
    """Lines in the metrics of each run."""
    return {path.parent.name: path.read_text().count("\n") for path in sorted(folder.glob("*/metrics.jsonl"))}


def tasks(folder):
    """The processes of tasks of a sweep that was started in `folder`."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_text().startswith("ray::_train") and (process / "cwd").samefile(folder):
                found.append(int(process.name))
        except OSError:
            pass  # It has ended.
    return found


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """A local sweep and one on Ray, started in their folder: one of its tasks is killed, then the user stops it, then
    it goes on. The local folder, Ray's, and how both calls on Ray ended."""
    folder = tmp_path_factory.mktemp("sweeps")
    # A socket's path may have 107 characters; a pytest folder within it is too long.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        env = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": temporary, "HOME": temporary}
        pipes = {"cwd": folder, "env": env, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        local = subprocess.Popen([sys.executable, "-m", "digits.sweep", *SWEEP, "--workdir=local"], **pipes)
        ray = [sys.executable, "-c", SWEEP_WITHOUT_JAX, *SWEEP, "--launcher=ray", "--workdir=ray"]
        first = subprocess.Popen(ray, start_new_session=True, **pipes)
        try:
            wait_for(lambda: len(records(folder / "ray")) == 2)
            os.kill(tasks(folder)[0], signal.SIGKILL)
            left = {run: count for run, count in records(folder / "ray").items() if count < EPOCHS}
            wait_for(lambda: all(records(folder / "ray")[run] > count for run, count in left.items()))
        finally:
            os.killpg(first.pid, signal.SIGINT)  # As Ctrl-C does.
        stopped = subprocess.CompletedProcess(first.args, first.wait(90), *first.communicate())
        finished = subprocess.run(ray, check=False, **pipes)
        assert local.wait() == 1, local.communicate()
    return folder / "local", folder / "ray", stopped, finished


@needs_ray
def test_table_on_ray_is_that_of_a_local_sweep_also_when_a_process_is_killed_and_the_sweep_stopped(sweeps):
    local, ray, _, _ = sweeps
    assert (local / "sweep.csv").read_bytes() == (ray / "sweep.csv").read_bytes()

    def members(folder):
        text = (folder / "members.csv").read_text().replace(str(folder), "")
        # The clock decides how many steps a call makes, and so whether the lost sum of losses is inf or already nan.
        rows = csv.DictReader(re.sub("became (inf|nan)", "became", text).splitlines())
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert members(local) == members(ray)
    assert [member["state"] for member in members(ray)] == ["finished", "diverged"] * 2
    assert members(ray)[0]["trained_epochs"] == str(EPOCHS)


@needs_ray
def test_driver_does_not_start_jax_and_tells_of_every_run_once(sweeps):
    *_, stopped, finished = sweeps
    assert finished.returncode == 1
    assert finished.stderr.startswith("\nerror: 2 of 4 runs failed (2 diverged); members.csv says more:\n")
    assert len(re.findall(r"^  hidden=.*learning_rate=1e\+30  diverged: ", finished.stderr, re.MULTILINE)) == 2
    shown = stopped.stdout + finished.stdout
    for hidden in (16, 24):
        for rate, outcome in (("0.03", r"test accuracy 0\."), (r"1e\+30", "diverged")):
            assert len(re.findall(rf"/\d  {outcome}.*  hidden={hidden},learning_rate={rate}\n", shown)) == 1


@needs_ray
def test_stopped_sweep_says_how_to_go_on_and_nothing_of_ray_s_logs(sweeps):
    *_, stopped, _ = sweeps
    assert stopped.returncode == 128 + signal.SIGINT, stopped.stderr
    assert "Stopped by SIGINT and saved. To go on:\n  python -m digits.sweep" in stopped.stdout
    assert stopped.stdout.rstrip().endswith("--launcher=ray --workdir=ray")
    assert stopped.stdout.count("it is run again (retries left: 4)") == 1
    assert stopped.stderr.count("\n") == 1 and stopped.stderr.startswith("stopping after this step and saving")
    assert "raylet" not in stopped.stdout


def test_missing_ray_is_one_sentence_before_anything_is_written(tmp_path, run_module):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ray'] = None\n")
    args = ("--config=configs/quickstart.py", "--sweep.seed=0:2", "--launcher=ray", f"--workdir={tmp_path}/sweep")
    done = run_module("digits.sweep", *args, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: --launcher=ray needs Ray") and done.stderr.count("\n") == 1
    assert "pip install -r requirements-ray.txt" in done.stderr
    assert not (tmp_path / "sweep").exists()


@needs_ray
def test_requests_and_addresses_that_cannot_be_are_refused(monkeypatch):
    cluster.check(cpus=0.5, gpus=0.5)
    for cpus, gpus, words in ((0, 0, "are both 0"), (1, 1.5, "--gpus is 1.5")):
        with pytest.raises(UserError, match=words):
            cluster.check(cpus, gpus)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match="RAY_ADDRESS is '127.0.0.1:1', but no Ray cluster answers"):
        cluster.check(cpus=1, gpus=0)


def test_task_sees_folders_as_absolute_and_only_the_devices_it_asked_for(monkeypatch):
    for name in ("JAX_PLATFORMS", "DIGITS_WRITERS_DIR", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIGITS_DATA_DIR", "some/data")
    monkeypatch.setenv("PYTHONPATH", "/more")
    given = cluster._environment(gpus=0)
    assert given["DIGITS_DATA_DIR"] == os.path.abspath("some/data") and "DIGITS_WRITERS_DIR" not in given
    assert given["PYTHONPATH"] == f"{ROOT}{os.pathsep}/more"
    assert given["JAX_PLATFORMS"] == "cpu" and "JAX_PLATFORMS" not in cluster._environment(gpus=1)
    assert cluster._environment(gpus=0.5)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.375"


def test_workdir_that_a_node_does_not_see_is_named(tmp_path, tiny):
    member = population.Member(tiny, tmp_path / "elsewhere" / "run")
    with pytest.raises(UserError, match="elsewhere is not there on .* --workdir must be on storage that all nodes"):
        cluster._train([cluster._packed(member, cpus=2, gpus=0)], None, os.getcwd())


def test_task_that_fails_fails_its_unfinished_members_alone(tmp_path, tiny):
    """Ray's part is played: a process that is killed more often than a task is run again."""
    heard = []
    watcher = types.SimpleNamespace(finished=lambda member, *outcome: heard.append((member.workdir.name, *outcome)))
    done, left = (population.Member(tiny, tmp_path / name) for name in ("done", "left"))
    done.workdir.mkdir()
    result = {"epochs": 1, "tested_epoch": 1, "test_loss": 0.3, "test_accuracy": 0.9}
    files.write_json(done.workdir / "config.json", {"config": {}})
    files.write_json(done.workdir / "result.json", result)

    class RayError(Exception):
        pass

    def get(task):
        raise RayError("The worker\ndied unexpectedly.")

    fake = types.SimpleNamespace(get=get, exceptions=types.SimpleNamespace(RayError=RayError))
    watch = cluster._Watch([done, left], watcher)
    cluster._end(fake, "task", watch)
    failure = {"kind": "error", "message": "RayError: The worker died unexpectedly."}
    assert heard == [("done", result, None), ("left", None, failure)]
    assert left.files.failure() == failure and done.files.failure() is None
