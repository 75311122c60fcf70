"""Tests of digits.runtime.signals; tests/training/train_test.py has what a run does with a signal."""

import signal
import threading

import pytest

from digits.runtime.signals import Interrupted, Listener


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_kept_and_the_second_stops(number):
    before = signal.getsignal(number)
    with Listener() as listener:
        assert listener.heard is None
        signal.raise_signal(number)
        assert listener.heard == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


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
