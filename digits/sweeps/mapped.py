"""Trains mapped members: several threads call the program of a single run, each for one member, on all local devices.

The results have the same bits as those of single runs on one device.
"""

import collections
from collections.abc import Iterator, Sequence
import concurrent.futures
import contextlib
import functools
import threading

import jax

from digits.runtime import environment, memory
from digits.runtime.signals import Interrupted
from digits.sweeps.members import SECONDS_BETWEEN_LOOKS, Company, Member
from digits.training.loop import Loop
from digits.training.program import Shared
from digits.training.recorder import Outputs
from digits.training.run import Run, prepare
from digits.training.startup import Start


def train(members: Sequence[Member], workers: int, shared: Shared, company: Company) -> None:
    """Trains members, `workers` at a time on each local device, until all have ended or a signal is heard.

    train(members, workers=2, shared=shared, company=company)
    """
    waiting, room = collections.deque(members), _Room(company)
    devices = jax.local_devices()
    count = min(workers * len(devices), len(members))
    # A device has its own copy of the images and its own programs.
    by_device = [shared, *(Shared(shared.dataset) for _ in devices[1:count])]

    def work(device: jax.Device, own: Shared) -> None:
        with environment.settings(), jax.default_device(device):
            while not company.listener.heard:
                try:
                    member = waiting.popleft()
                except IndexError:
                    return
                with company.failing(member), contextlib.suppress(Interrupted):
                    _train_one(member, device, own, room, company)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        left = {pool.submit(work, devices[i % len(devices)], by_device[i % len(devices)]) for i in range(count)}
        while left:
            # Only this thread handles signals; one to a suspended process may wake another thread instead.
            done, left = concurrent.futures.wait(left, SECONDS_BETWEEN_LOOKS)
            for worker in done:
                worker.result()


def _train_one(member: Member, device: jax.Device, shared: Shared, room: "_Room", company: Company) -> None:
    company.watcher.begun(member)
    member.files.forget_failure()
    start = Start(member.config.data.name, None)  # The member's own clock.
    images = functools.partial(company.images, member)
    prepared = prepare(member.config, member.files, shared, member.origin)
    prepared.program.compile(prepared.examples)
    need, moves = memory.needed(prepared.program.compiled), company.watcher.moves
    with company.tracked(member) as tracked, room.taken(need, device):
        outputs = Outputs(images=images, moves=moves, warn=company.warn, start=start, tracked=tracked)
        with Run(prepared, outputs) as run:
            company.watcher.finished(member, Loop(run, company.listener).train(), None)


class _Room:
    """The free memory, which the programs of several threads share."""

    def __init__(self, company: Company):
        self._company, self._running, self._changed = company, 0, threading.Condition()

    @contextlib.contextmanager
    def taken(self, need: int, device: jax.Device) -> Iterator[None]:
        """Waits until a device has `need` bytes free, no other program runs, or a signal was heard."""
        told = False
        with self._changed:
            while self._running and need > (free := memory.free(device)) and not self._company.listener.heard:
                if not told:
                    self._company.watcher.say(
                        f"a run waits for others to end: it needs {memory.mib(need)}, {memory.mib(free)} are free"
                    )
                    told = True
                self._changed.wait(SECONDS_BETWEEN_LOOKS)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
