"""The command line of sweeps: plan, mistakes, failures, kills, and the study of kernel sizes."""

import collections
import csv
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import digits
from digits import sweep
from digits.runs import sweep_folder
from digits.runs.workdir import Workdir
from tests.conftest import ROOT

TINY = (
    "--config=configs/quickstart.py", "--config.model.family=dense", "--config.model.blocks=()",
    "--config.model.block_dropout=0.0", "--config.model.hidden=(16,)", "--config.tensorboard=False",
    "--config.epochs=3", "--config.batch_size=50",
)  # fmt: skip


def rows(folder, name="sweep.csv"):
    with open(folder / name) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def diverging(tmp_path_factory):
    """Five points, one of which diverges: the finished process and the sweep's folder."""
    folder = tmp_path_factory.mktemp("sweep") / "five"
    rates = "--sweep.optimizer.learning_rate=1e-3,3e-3,1e-2,1e30,1e-4"
    command = [*TINY, "--config.optimizer.name=sgd", rates, f"--workdir={folder}"]
    return run(command), command, folder


def run(command, **env):
    command = [sys.executable, "-m", "digits.sweep", *command]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_diverging_point_is_reported_and_the_others_have_results(diverging):
    done, _, folder = diverging
    assert done.returncode == 1
    assert done.stderr.splitlines()[:2] == [
        "",
        "error: 1 of 5 runs failed (1 diverged); members.csv says more:",
    ]
    (failed,) = done.stderr.splitlines()[2:]
    assert failed.startswith("  learning_rate=1e+30  diverged: The loss became ")
    states = collections.Counter(member["state"] for member in rows(folder, "members.csv"))
    assert states == {"finished": 4, "diverged": 1}
    last = rows(folder)[-1]
    assert (last["optimizer.learning_rate"], last["n"], last["failed"]) == ("1e+30", "0", "1")
    means = [float(row["val_accuracy_mean"]) for row in rows(folder)[:4]]
    assert means == sorted(means, reverse=True)
    assert "Traceback" not in done.stdout + done.stderr
    # Nothing is left behind but what is told.
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        ".lock", "sweep.json", "sweep.csv", "members.csv", "sweep.md",
    }  # fmt: skip
    assert (folder / "figures" / "sweep.png").stat().st_size > 10_000


def test_the_plan_comes_first_and_the_result_and_the_next_commands_last(diverging):
    done, _, folder = diverging
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "chosen by val_accuracy, reported on the test set",
        "configs/quickstart.py: 5 points = 5 runs",
        "3 epochs each, 1 program, in",
        str(folder),
    ]
    assert sum("/5  test accuracy 0." in line for line in lines) == 4
    assert sum("/5  diverged              learning_rate=1e+30" in line for line in lines) == 1
    best = rows(folder)[0]["optimizer.learning_rate"]
    assert lines[-4].startswith(f"best: optimizer.learning_rate={best}, val accuracy 0.")
    assert lines[-3:] == [
        "next:",
        f"  python -m digits.report {folder}",
        f"  python -m digits.evaluate --workdir={folder}",
    ]


def test_a_finished_sweep_trains_nothing_again_and_gives_the_same_table(diverging):
    _, command, folder = diverging
    before = {path: path.read_bytes() for path in folder.glob("*.csv")}
    done = run(command)
    assert done.returncode == 1 and "4 finished before" in done.stdout and "1/1  " not in done.stdout
    assert {path: path.read_bytes() for path in folder.glob("*.csv")} == before


def test_every_member_is_a_run_that_loads_and_that_main_knows(diverging, run_module):
    folder = diverging[2] / "learning_rate=0.003"
    run = digits.load(folder)
    assert run.config.optimizer.learning_rate == 3e-3 and run.result["epochs"] == 3
    overrides = json.loads((folder / "config.json").read_text())["overrides"]
    flags = [f"--config.{field}={value}" for field, value in overrides.items()]
    done = run_module("digits.main", TINY[0], *flags, f"--workdir={folder}", "--noreport")
    assert done.returncode == 0 and "This run is finished" in done.stdout


def test_another_sweep_in_the_folder_is_refused(diverging):
    _, command, folder = diverging
    done = run([*command[:-2], "--sweep.seed=0:2", f"--workdir={folder}"])
    assert done.returncode == 2 and "holds a sweep with other fields" in done.stderr
    assert len(rows(folder)) == 5


BAD = {
    "unknown field": (["--sweep.optimizer.learning_rat=1"], "did you mean --sweep.optimizer.learning_rate?"),
    "empty list": (["--sweep.seed="], "--sweep.seed is '', but it must be a list such as"),
    "no values": (["--sweep.seed"], "--sweep.seed has no values"),
    "wrong type": (["--sweep.optimizer.learning_rate=1e-3,fast"], "has the value 'fast', but it must be a finite"),
    "range without draws": (["--sweep.optimizer.learning_rate=log(1e-4,1e-1)"], "--sample=50"),
    "nothing swept": ([], "Nothing is swept"),
    "a flag of one run": (["--sweep.seed=0:2", "--profile"], "--profile is for one run"),
    "given twice": (["--sweep.seed=1", "--sweep.seed=2"], "given twice"),
    "a batch too large": (
        ["--sweep.batch_size=50,5000"], "batch_size=5000 cannot be trained: config.batch_size is 5000"
    ),
    "a kernel too large": (
        ["--config.model.family=cnn", "--config.model.blocks=((4,),)", "--sweep.model.kernel_size=3,40"],
        "kernel_size=40 cannot be trained: config.model.kernel_size is 40, but nothing is left of a 28x28 image",
    ),
    "too many parameters": (["--sweep.model.hidden=(8,),(20000,20000)"], "cannot be trained: config.model describes a"),
    "a fold that is none": (["--config.data.validation=folds(3)", "--sweep.data.fold=0:4"], "from 0 to 2"),
    "a value out of range": (["--sweep.model.hidden_dropout=0.5,1.5"], "model.hidden_dropout is 1.5"),
    "unknown flag": (["--sweeps.seed=1"], "did you mean --sweep.seed=1?"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD)
def test_mistakes_get_a_sentence_before_anything_is_written(mistake, tmp_path, run_command):
    arguments, sentence = BAD[mistake]
    done = run_command(sweep.main, *TINY, *arguments, f"--workdir={tmp_path / 'sweep'}")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_a_config_file_may_have_any_name(tmp_path, run_command):
    path = tmp_path / "mine.txt"
    path.write_text((ROOT / "configs" / "quickstart.py").read_text() + "\n\ndef sweep():\n    yield {'epochs': 0}\n")
    done = run_command(sweep.main, f"--config={path}", f"--workdir={tmp_path / 'sweep'}")
    assert done.returncode == 2 and "epochs=0 cannot be trained: config.epochs is 0" in done.stderr


def test_help_shows_how_to_sweep_and_imports_no_jax():
    command = [sys.executable, "-X", "importtime", "-m", "digits.sweep", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--sweep.seed=0:10" in done.stdout and "--sample" in done.stdout and "--workdir" in done.stdout
    assert "--coordinator" not in done.stdout and "report" not in done.stdout  # They are refused.
    assert " jax" not in done.stderr and " numpy" not in done.stderr


# Runs a sweep in a process that notes every epoch as it ends, before its checkpoint is written.
NOTING = """
import sys
from digits.training import run; from digits import sweep
end_epoch = run.Run.end_epoch
def noting(self, *ended):
    with open(sys.argv[1], "a") as file:
        file.write(f"{self.workdir.path.name} {self.state.epoch + 1}\\n")
    end_epoch(self, *ended)
run.Run.end_epoch = noting
sys.exit(sweep.main(["sweep", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_killed_and_started_again_trains_only_interrupted_epochs_twice(tmp_path):
    arguments = [*TINY[:-2], "--config.epochs=6", "--config.batch_size=10", "--sweep.seed=0:3"]
    arguments.append("--sweep.model.hidden=(16,),(24,)")
    notes, rng = tmp_path / "notes", random.Random(3)

    def start(folder):
        command = [sys.executable, "-c", NOTING, notes, *arguments, f"--workdir={folder}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def count():
        return len(notes.read_text().splitlines()) if notes.exists() else 0

    process = start(tmp_path / "killed")
    while count() < 10 and process.poll() is None:  # Of 36 epochs.
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = start(tmp_path / "killed")
    assert process.communicate(timeout=300) and process.returncode == 0
    trained = collections.Counter(notes.read_text().splitlines())
    assert len(trained) == 36
    # A kill meets two runs, each of which loses an epoch and, as these are shorter than a save, the one being saved.
    assert sum(trained.values()) - 36 <= 2 * 2 and max(trained.values()) <= 2
    assert sweep.main(["sweep", *arguments, f"--workdir={tmp_path / 'whole'}"]) == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_sigterm_saves_all_and_names_the_command_that_goes_on(tmp_path):
    command = [*TINY[:-2], "--config.epochs=500", "--sweep.seed=0:3", f"--workdir={tmp_path / 'sweep'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "digits.sweep", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("sweep/*/metrics.jsonl")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + 15 and err == "SIGTERM: stopping after this step and saving\n"
    assert "Stopped by SIGTERM and saved" in out and "python -m digits.sweep --config=" in out
    begun = [path.parent for path in tmp_path.glob("sweep/*/metrics.jsonl")]
    assert all(digits.load(folder, "latest").epoch < 500 for folder in begun)


@pytest.mark.slow
def test_a_choice_by_the_test_set_is_the_first_thing_it_says(tmp_path):
    short = [
        *TINY[:-2],
        "--config.epochs=1",
        "--config.data.validation=none",
        "--config.early_stopping.restore_best=False",
    ]
    done = run([*short, "--sweep.optimizer.learning_rate=1e-3,1e-2", f"--workdir={tmp_path / 'a'}"])
    warning = 'chosen by the test set: its figures are too good; `--config.data.validation="last(10000)"` holds out'
    assert done.returncode == 0 and done.stdout.startswith(warning)
    assert (tmp_path / "a" / "sweep.md").read_text().startswith(warning)


@pytest.mark.slow
def test_the_points_of_a_study_file_are_swept(tmp_path):
    study = tmp_path / "study.py"
    study.write_text(
        "from configs import quickstart\n"
        "def get_config():\n"
        "    config = quickstart.get_config()\n"
        "    config.model.family, config.model.blocks, config.model.block_dropout = 'dense', (), 0.0\n"
        "    config.epochs, config.tensorboard = 1, False\n"
        "    return config\n"
        "def sweep():\n"
        "    for width in (8, 12):\n"
        "        yield {'model.hidden': (width,), 'optimizer.learning_rate': 0.08 / width}\n"
    )
    done = run([f"--config={study}", "--sweep.seed=0:2", f"--workdir={tmp_path / 'sweep'}"], PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "2 points x 2 seeds = 4 runs\n1 epoch each, 2 programs, in\n" in done.stdout
    assert {row["model.hidden"] for row in rows(tmp_path / "sweep")} == {"(8,)", "(12,)"}
    study.write_text(study.read_text().replace("0.08 / width", "0.08 / 0"))
    done = run([f"--config={study}", f"--workdir={tmp_path / 'sweep'}"], PYTHONPATH=str(ROOT))
    assert done.returncode == 2 and "sweep() of" in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.slow
def test_the_search_for_a_kernel_size_prints_what_the_notebook_prints(tmp_path, run_module):
    small = [
        "--config.data.name=optdigits", "--config.data.validation=folds(3)", "--config.epochs=1",
        "--config.model.family=dense", "--config.model.blocks=()", "--config.model.block_dropout=0.0",
        "--config.model.hidden=(8,)", "--config.tensorboard=False",
    ]  # fmt: skip
    done = run_module("experiments.kernel_size_search", *small, f"--workdir={tmp_path / 'search'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Fitting 3 folds for each of 5 candidates, totalling 15 fits\n")
    assert "5 points x 3 folds = 15 runs\n1 epoch each, 5 programs, in\n" in done.stdout
    found = sweep_folder.read_sweep(tmp_path / "search")
    best = found.points[0]
    folds = [member.figures["val_accuracy"] for member in best.members]
    mean, std = np.mean(folds), np.std(folds)
    size = best.values["model.kernel_size"]
    assert f"Best: {mean:f} using {{'n_kernel': {size}}}\n" in done.stdout
    assert f"{mean:f} ({std:f}) with: {{'n_kernel': {size}}}\n" in done.stdout
    assert done.stdout.count(") with: {'n_kernel': ") == 5
    refit = Workdir(tmp_path / "search" / "refit").result()
    assert refit["data"] | {"digest": ""} == {"digest": "", "train": 1437, "validation": 0, "test": 360}
    config = json.loads(pathlib.Path(tmp_path / "search" / "refit" / "config.json").read_text())["config"]
    assert config["model"]["kernel_size"] == size
