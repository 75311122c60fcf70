"""Saving the state of a run, and going back to it after an end of any kind."""

from collections.abc import Callable
from typing import Any

import jax

from digits.runs.checkpoints import Checkpoints, best, latest
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training.state import RunState


class Saves:
    """The saved states of a run. Of several processes the first one alone reads and writes them, for all.

    Args:
      workdir: the run's folder.
      about: JSON that every checkpoint tells beside the state: the config and the names of the classes.
      steps_per_epoch: updates in an epoch.
      put: copies arrays to the devices.
    """

    def __init__(self, workdir: Workdir, about: dict[str, Any], steps_per_epoch: int, put: Callable[[Any], Any]):
        self._workdir, self._about, self._steps_per_epoch, self._put = workdir, about, steps_per_epoch, put
        self._checkpoints = Checkpoints(workdir.checkpoints) if processes.first() else None

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        if self._checkpoints:
            self._checkpoints.prepare()

    def latest(self, state: RunState, say: Callable[[str], None]) -> RunState | None:
        """The latest saved state of a run that has just begun with `state`; None if there is none.

        Says which damaged checkpoints it has deleted. Raises UserError if none is intact.
        """
        required = {**self._about, **state.about()}
        return self._found(state, lambda: latest(self._checkpoints, self._workdir, state.arrays(), required, say))

    def best(self, state: RunState) -> RunState:
        """The state at the end of the best epoch; UserError if its checkpoint is damaged."""
        step = state.stopping.best_epoch * self._steps_per_epoch
        return self._found(state, lambda: best(self._checkpoints, self._workdir, state.arrays(), step))

    def _found(self, state: RunState, find: Callable[[], tuple[Any, dict[str, Any]] | None]) -> RunState | None:
        """Gives all processes the state that the first process finds, if it finds any."""
        found = []

        def about() -> dict[str, Any] | None:
            saved = find()
            if saved is None:
                return None
            found.append(saved[0])
            return saved[1]

        told = processes.from_first(about)
        if told is None:
            return None
        # The other processes give arrays of the same shapes.
        arrays = found[0] if found else jax.device_get(state.arrays())
        return state.restored(processes.arrays_from_first(arrays), told, self._put)

    def step(self, state: RunState) -> int:
        """Updates so far."""
        return state.epoch * self._steps_per_epoch + state.step_in_epoch

    def steps(self) -> list[int]:
        """The updates after which a state was saved, the latest first."""
        return self._checkpoints.steps() if self._checkpoints else []

    def save(self, state: RunState) -> None:
        """Saves a state in the background."""
        if self._checkpoints:
            best = state.stopping.best_epoch * self._steps_per_epoch
            with self._workdir.writing():
                self._checkpoints.save(self.step(state), state.arrays(), {**self._about, **state.about()}, best)

    def save_once(self, state: RunState) -> None:
        """Saves a state, unless it was saved before or the run has not begun to train."""
        with self._workdir.writing():
            if self.step(state) and self.step(state) not in self.steps():
                self.save(state)

    def close(self) -> None:
        """Waits until everything is on disk."""
        if self._checkpoints:
            with self._workdir.writing():
                self._checkpoints.close()
