"""Mapped members share the free memory: a program waits until there is room for it, or until nothing else runs."""

import concurrent.futures
import threading

import jax

from digits.runtime import memory
from digits.runtime.signals import Listener
from digits.sweeps import mapped
from digits.sweeps.members import Company, Watcher
from digits.training.startup import Start


class Saying(Watcher):
    def __init__(self):
        self.said, self.spoken = [], threading.Event()

    def say(self, text):
        self.said.append(text)
        self.spoken.set()


def test_a_program_waits_for_room_and_says_so_once(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 2**20)
    monkeypatch.setattr(mapped, "SECONDS_BETWEEN_LOOKS", 0.01)
    watcher, taken = Saying(), threading.Event()
    room, device = mapped._Room(Company(watcher, Listener(), Start("optdigits", None))), jax.devices()[0]

    def take():
        with room.taken(3 * 2**20, device):
            taken.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with room.taken(5 * 2**20, device):  # Nothing else runs: it does not wait.
            second = pool.submit(take)
            assert watcher.spoken.wait(30) and not taken.wait(0.1)
        second.result(30)
    assert taken.is_set() and watcher.said == ["a run waits for others to end: it needs 3 MiB, 1 MiB are free"]


def test_a_signal_ends_the_wait(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 0)
    listener = Listener()
    room, device = mapped._Room(Company(Watcher(), listener, Start("optdigits", None))), jax.devices()[0]
    listener.heard = 15
    with room.taken(1, device), room.taken(1, device):
        pass
