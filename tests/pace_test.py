"""The steps of a call: enough for the wanted time, the same in all processes, until one of them hears a signal."""

import numpy as np

from digits import pace, processes
from digits.signals import Listener


def test_a_call_takes_about_the_wanted_time_and_at_least_a_step():
    own = pace.Pace(Listener())
    assert own.steps == 1 and own.seconds_per_step is None
    for seconds_per_step, often, steps in ((0.01, False, 300), (0.01, True, 50), (10.0, True, 1)):
        own.agree(seconds_per_step, often)
        assert own.steps == steps and own.seconds_per_step == seconds_per_step


def test_alone_a_signal_is_heard_at_once():
    listener = Listener()
    own = pace.Pace(listener)
    listener.heard = 15
    assert own.heard == 15


def test_of_several_processes_all_take_the_steps_of_the_first_and_stop_together(monkeypatch):
    listener, others = Listener(), [[0, 7], [0, 9]]
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(processes, "gather", lambda *own: np.array([others[0], own]))
    own = pace.Pace(listener)
    listener.heard = 15
    assert own.heard is None  # The other process does not know yet.
    own.agree(0.01, often=False)
    assert own.steps == 7 and own.heard == 15
    listener.heard, others[0] = None, [2, 7]
    own.agree(0.01, often=False)
    assert own.heard == 2
