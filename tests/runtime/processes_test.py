"""Several processes that train one run: what one process does, also when one of them is killed and all start again."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from digits.errors import UserError
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training import train
from tests.conftest import ROOT

CONFIG = "configs/dense_32_32.py"
# A dense network and plain SGD, which enlarges no rounding.
FIELDS = {
    "epochs": 5, "batch_size": 50, "data.name": "optdigits", "model.hidden": (16,), "model.hidden_batch_norm": True,
    "optimizer.name": "sgd", "optimizer.learning_rate": 0.05, "tensorboard": False, "data.validation": "last(200)",
}  # fmt: skip


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(workdir, *flags, count=2):
    """So many processes of one run on this machine."""
    address = free_address()
    fields = [f"--config.{name}={value}" for name, value in FIELDS.items()]
    return [
        subprocess.Popen(
            [
                sys.executable, "-m", "digits.main", f"--config={CONFIG}", *fields,
                "--noreport", f"--workdir={workdir}", f"--coordinator={address}", f"--num_processes={count}",
                f"--process_id={index}", *flags,
            ],
            cwd=ROOT, env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for index in range(count)
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_train_what_one_does_also_after_one_was_killed(tmp_path):
    from configs import dense_32_32
    from digits.config.values import with_values

    files = Workdir(tmp_path / "two")
    killed = start(files.path)
    deadline = time.monotonic() + 200
    while len(files.history()) < 2:
        assert time.monotonic() < deadline and all(one.poll() is None for one in killed), killed[0].communicate()
        time.sleep(0.01)
    killed[1].send_signal(signal.SIGKILL)
    said = killed[0].communicate(timeout=100)[0]
    assert killed[0].returncode == 1 and files.result() is None, said
    assert said.splitlines()[-1].startswith("error: Process 1 of this run has ended or was killed, and process 0 ends")
    assert "Traceback" not in said
    again = start(files.path)
    said = [one.communicate(timeout=250)[0] for one in again]
    assert [one.returncode for one in again] == [0, 0], said
    assert "going on with" in said[0] and "2 processes" in said[0]
    assert "epoch" not in said[1]  # The first speaks for all.
    train.train_and_evaluate(with_values(dense_32_32.get_config(), FIELDS), tmp_path / "one")
    one = Workdir(tmp_path / "one")
    for alone, together in zip(one.history(), files.history(), strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4), name
    assert files.result()["test_loss"] == pytest.approx(one.result()["test_loss"], rel=1e-4)


JOINS = """
import sys, time
from digits.runtime import processes
processes.join(sys.argv[1], 2, int(sys.argv[2]), timeout=int(sys.argv[3]))
print("joined", flush=True)
time.sleep(100)
"""


def joining(address, index, timeout):
    command = [sys.executable, "-c", JOINS, address, str(index), str(timeout)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_who_does_not_come_and_whose_first_process_is_lost_is_one_sentence():
    """Where no collective is under way, JAX finds out in a thread of C++, and would abort."""
    alone = {index: joining(free_address(), index, 1) for index in (0, 1)}
    both = [joining(address := free_address(), 0, 100), joining(address, 1, 100)]
    assert [one.stdout.readline() for one in both] == ["joined\n", "joined\n"]
    both[0].send_signal(signal.SIGKILL)
    for one, code, words in (
        (alone[0], 2, "error: Process 0 waited for the others at 127.0.0.1:"),
        (alone[1], 2, "error: Process 1 found no process 0 at 127.0.0.1:"),
        (both[1], 1, "error: Process 0 of this run has ended or was killed, and process 1 ends with it. The last"),
    ):
        said = one.communicate(timeout=100)[1]
        assert one.returncode == code and said.startswith(words) and said.count("\n") == 1, said
    both[0].communicate()


@pytest.mark.parametrize(
    "this, count, answers, lost",
    [(0, 2, True, "Process 1"), (1, 2, True, "Process 0"), (1, 3, False, "Process 0"), (1, 3, True, "Another process")],
)
def test_the_lost_process_is_named_if_it_can_be_known(this, count, answers, lost, monkeypatch):
    monkeypatch.setattr(processes, "_place", lambda: ("10.0.0.1:1", this, count))
    monkeypatch.setattr(processes, "_answers", lambda coordinator: answers)
    assert processes._gone().startswith(f"{lost} of this run has ended or was killed, and process {this} ends with it.")


@pytest.mark.slow
def test_a_signal_to_one_stops_both_and_what_the_first_refuses_all_refuse(tmp_path):
    both = start(tmp_path / "run", "--config.epochs=100000")
    deadline = time.monotonic() + 200
    while not Workdir(tmp_path / "run").history():
        assert time.monotonic() < deadline and all(one.poll() is None for one in both), both[0].communicate()
        time.sleep(0.05)
    both[1].send_signal(signal.SIGTERM)
    said = [one.communicate(timeout=100)[0] for one in both]
    assert [one.returncode for one in both] == [128 + signal.SIGTERM] * 2, said
    assert "Stopped by SIGTERM and saved" in said[0]
    other = start(tmp_path / "run", "--config.epochs=7")
    said = [one.communicate(timeout=100)[0] for one in other]
    assert [one.returncode for one in other] == [2, 2]
    assert all("config.epochs was 100000, is 7" in text for text in said)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("here:1", None, None), "--coordinator is here:1, but --num_processes and --process_id must be given with it"),
        ((None, 2, 0), "--num_processes is 2, but --coordinator must be given with it"),
        (("here", 2, 0), "--coordinator is 'here', but it must be HOST:PORT"),
        (("here:1", 2, 2), "--process_id is 2, but it must be from 0 to 1"),
    ],
)
def test_what_does_not_name_a_process_is_one_sentence(given, words):
    with pytest.raises(UserError, match=words):
        processes.join(*given)


@pytest.mark.parametrize(
    "environment, why",
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "the package kubernetes, which could ask for them, is not installed"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "two"}, "invalid literal for int"),
        (
            {
                "SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": "first",
                "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_LOCALID": "0",
            },
            "invalid literal for int",
        ),
    ],
    ids=["a pod without the client", "no number of tasks", "no number of this task"],
)  # fmt: skip
def test_where_the_scheduler_does_not_tell_a_process_trains_alone_and_says_so(environment, why, monkeypatch, capsys):
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.join(None, None, None)
    said = capsys.readouterr().out
    assert said.startswith("This process trains alone: JAX found no other processes of the job (") and why in said
    assert said.count("\n") == 1 and not processes.several()


def test_a_pod_that_may_not_ask_kubernetes_trains_alone(monkeypatch, capsys):
    def forbidden():
        raise RuntimeError("Kubernetes API Error: 403 - Forbidden\nIt appears that ...")

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(processes.private, "scheduled_processes", forbidden)
    processes.join(None, None, None)
    assert "(Kubernetes API Error: 403 - Forbidden)." in capsys.readouterr().out


def test_a_scheduler_that_started_one_process_starts_no_company(monkeypatch):
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    processes.join(None, None, None)
    assert not processes.several() and processes.first()
    assert processes.gather(3, 4).tolist() == [[3, 4]] and processes.from_first(lambda: "said") == "said"
