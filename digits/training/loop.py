"""The loop over the epochs of a run that trains by its own program."""

import concurrent.futures
import time
from typing import Any

import jax
import numpy as np

from digits.runtime import environment, processes
from digits.runtime.memory import out_of_memory_named
from digits.runtime.signals import Listener
from digits.training.run import Run

# Wanted seconds of one call of the compiled epoch, where a bar moves and where only signals are awaited.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


class Loop:
    """Trains a run by its own program, whose compilation has begun. A signal that `listener` hears stops it."""

    def __init__(self, run: Run, listener: Listener):
        self._run, self._steps, self._count = run, run.program.steps_per_epoch, run.program.examples
        self._pace = _Pace(listener)
        self._order = run.order()
        with run.recorder.waiting("compiling ..."):
            self._compiled = run.program.compiled
        self._compile_seconds = time.perf_counter() - run.opened_at
        # Each thread that trains members has a default device of its own.
        self._device = jax.config.jax_default_device  # type: ignore[attr-defined]

    def train(self) -> dict[str, Any]:
        """Trains to the end and tests; returns the content of result.json. Raises as `train_and_evaluate`."""
        while not self._run.done:
            self.train_epoch()
        return self._run.finish()

    def train_epoch(self) -> None:
        """Trains to the end of the epoch and ends it. Raises Interrupted, with everything saved, after a signal."""
        run, state, pace, profile = self._run, self._run.state, self._pace, self._run.recorder.profile
        number, last = state.epoch + 1, run.config.epochs
        started = began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(1) as background:
            # Shuffling takes a tenth of a short epoch on two cores: a thread makes the next order meanwhile. Several
            # processes must give their devices all work in the same order; they make it after the epoch.
            following = None if processes.several() else background.submit(self._order_after_next)
            run.recorder.progress(number, self._count, self._images_until(state.step_in_epoch))
            while state.step_in_epoch < self._steps:
                left = (self._steps - state.step_in_epoch) * (pace.seconds_per_step or np.inf)
                aside = profile.look(number, last, time.perf_counter() - began, left)
                started, began = started + aside, began + aside
                run.recorder.images(self._call(), number, state.totals)
                if pace.heard:
                    break
            state.seconds += time.perf_counter() - started
            if state.step_in_epoch < self._steps:
                run.stop(pace.heard)
            self._order = following.result() if following else run.order(2)
        run.end_epoch(state.train, state.totals, state.seconds)
        profile.end_epoch(number, time.perf_counter() - began)
        if pace.heard and number < last:
            run.stop(pace.heard)

    def _order_after_next(self) -> jax.Array:
        """The order of the epoch after the one under way. The thread that makes it has no settings of JAX yet."""
        with environment.settings(), jax.default_device(self._device):
            return self._run.order(2)

    def _call(self) -> int:
        """Calls the program for about the wanted time, at first for one step; returns the number of images."""
        run, state, pace = self._run, self._run.state, self._pace
        start, stop = state.step_in_epoch, min(state.step_in_epoch + pace.steps, self._steps)
        before = time.perf_counter()
        with run.recorder.profile.phase("train", step=start), out_of_memory_named(run.config.batch_size):
            state.train, state.totals = self._compiled(
                state.train, state.totals, run.examples.train, self._order, np.int32(start), np.int32(stop)
            )
            jax.block_until_ready(state.totals)
        seconds = time.perf_counter() - before
        if not pace.seconds_per_step:
            run.recorder.first_step(self._compile_seconds)
            run.saves.prepare()
        pace.agree(seconds / (stop - start), run.recorder.moves)
        run.check_loss(stop)
        state.step_in_epoch = stop
        return self._images_until(stop) - self._images_until(start)

    def _images_until(self, step: int) -> int:
        """The images in the first steps of an epoch."""
        return min(step * self._run.config.batch_size, self._count)


class _Pace:
    """Decides how many steps the next call makes and whether a signal stops the run. All processes agree on both."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._agreed: int | None = None  # The signal that all processes know of.
        self.seconds_per_step: float | None = None
        self.steps = 1

    def agree(self, seconds_per_step: float, often: bool) -> None:
        """After each call, takes the number of steps from the first process, and a signal from any process."""
        self.seconds_per_step = seconds_per_step
        wanted = _SECONDS_BETWEEN_UPDATES if often else _SECONDS_BETWEEN_LOOKS
        answers = processes.gather(self._listener.heard or 0, max(1, round(wanted / seconds_per_step)))
        self._agreed, self.steps = int(answers[:, 0].max()) or None, int(answers[0, 1])

    @property
    def heard(self) -> int | None:
        """The signal that stops the run. Several processes stop only when all have agreed on it."""
        return self._agreed if processes.several() else self._listener.heard
