"""Tests of digits.runtime.signals; tests/training/train_test.py has what a run does with a signal."""

import signal
import subprocess
import sys
import threading

from absl import flags
import pytest

from digits import command_line
from digits.runtime import screen, signals
from digits.runtime.signals import Interrupted, Listener


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_kept_and_a_second_interrupts_nothing_in_another_program(number):
    before = signal.getsignal(number)
    with Listener() as listener:
        assert listener.heard is None
        signal.raise_signal(number)
        assert listener.heard == number
        signal.raise_signal(signal.SIGTERM)
        assert listener.heard == number
    assert signal.getsignal(number) == before


LISTENS = """
import hashlib, os, signal, sys
from digits.runtime import screen, signals
if sys.argv[1] == "command":
    signals.end_at_once()
with signals.Listener() as listener:
    for _ in range(int(sys.argv[2])):
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
        time = __import__("time").sleep(0.2)
    print("heard", listener.heard, flush=True)
    if sys.argv[1] == "command":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**26)  # Python's handlers wait until it is over, as for XLA.
"""


def listening(*args):
    command = [sys.executable, "-c", LISTENS, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_command_acknowledges_a_signal_at_once_and_ends_at_the_second_also_within_a_long_call():
    process = listening("command", 0, "SIGINT")
    assert process.stdout.readline() == "heard None\n"
    process.send_signal(signal.SIGINT)
    assert "stopping after this step and saving; Ctrl-C again" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", f"{signals._ENDED}\n") and process.returncode == 130


def test_sigterm_is_acknowledged_too():
    process = listening("command", 2, "SIGTERM")
    _, err = process.communicate(timeout=60)
    assert err.splitlines() == ["SIGTERM: stopping after this step and saving", signals._ENDED]
    assert process.returncode == 143


def test_another_program_that_handles_ctrl_c_waits_for_the_save_whatever_follows():
    process = listening("notebook", 2, "SIGINT")
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("heard 2\n", "stopping after this step and saving\n", 0)


INTERRUPTS = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "command, module",
    [(name, "absl") for name in ("main", "sweep", "evaluate", "report", "predict", "export", "demo")]
    + [("main", "jax")],
)
def test_ctrl_c_during_the_imports_of_a_command_prints_nothing(command, module, tmp_path, run_module):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS)
    args = ("--config=quickstart", f"--workdir={tmp_path}/run")
    done = run_module(f"digits.{command}", *args, env={"PYTHONPATH": str(tmp_path), "AT": module})
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_is_130_where_python_handles_it():
    def interrupted(_):
        raise KeyboardInterrupt

    assert command_line.run(["mine"], __name__, flags.FlagValues(), interrupted) == 130


def test_other_threads_do_not_listen():
    before, heard = signal.getsignal(signal.SIGTERM), []

    def listen():
        with Listener() as listener:
            heard.append((signal.getsignal(signal.SIGTERM), listener.heard))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [(before, None)]


def test_exit_code_is_the_shells():
    stopped = Interrupted(signal.SIGTERM, "python -m digits.main --workdir=x")
    assert stopped.exit_code == 143 and "SIGTERM" in str(stopped) and "--workdir=x" in str(stopped)


DRAWS = """
import os, signal, threading, time
from digits.runtime import signals
end, os._exit = os._exit, lambda code: (time.sleep(0.2), end(code))  # A thread may run before the process has ended.
def draw():
    while True:
        os.write(2, b"bar ")
        time.sleep(0.01)
signals.end_at_once()
with signals.Listener():
    threading.Thread(target=draw, daemon=True).start()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
"""


def test_no_thread_draws_a_bar_behind_the_last_sentence():
    done = subprocess.run([sys.executable, "-c", DRAWS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and done.stderr.endswith(f"{signals._ENDED}\n")


def test_the_acknowledgements_fit_a_terminal():
    first = [text + signals._AGAIN.get(number, "") for number, text in signals._ACKNOWLEDGED.items()]
    assert max(map(len, [*first, signals._ENDED])) <= screen.COLUMNS
