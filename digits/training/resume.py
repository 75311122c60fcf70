"""The state of a run, saved in its folder and restored after an end of any kind: the run goes on with the same bits."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from digits.runs.checkpoints import Checkpoints, best, latest
from digits.runs.workdir import Workdir
from digits.runtime import processes
from digits.training.program import Program
from digits.training.rules import EarlyStopping, Plateau
from digits.training.step import TrainMetrics, TrainState


@dataclasses.dataclass
class RunState:
    """The values that a run carries from one call of its program to the next.

    Attributes:
      train: parameters, statistics, optimizer state and step, on the device.
      totals: the metrics of the epoch under way.
      plateau, stopping: the rules between epochs.
      epoch: whole epochs so far.
      step_in_epoch: updates so far of the epoch under way.
      seconds: time spent so far on the epoch under way.
    """

    train: TrainState
    totals: TrainMetrics
    plateau: Plateau
    stopping: EarlyStopping
    epoch: int = 0
    step_in_epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def fresh(cls, config: ConfigDict, program: Program) -> "RunState":
        """The state before the first step."""
        return cls(*program.init(config), Plateau(config.optimizer.learning_rate), EarlyStopping())

    def apply_rules(self, config: ConfigDict, monitored: float | None, put: Callable[[Any], Any]) -> None:
        """Gives the monitored metric of an epoch to early stopping and to the plateau rule of the learning rate."""
        if monitored is None:
            return
        self.stopping.update(config.early_stopping, config.monitor, monitored, self.epoch)
        if config.schedule.name == "plateau":
            self.plateau.update(config.schedule, config.monitor, monitored)
            rate = np.asarray(self.plateau.learning_rate, self.train.learning_rate.dtype)
            self.train = self.train.replace(learning_rate=put(rate))

    def arrays(self) -> dict[str, Any]:
        """The arrays of a checkpoint. `numbers` is left out, because the config has them. No saved step is lost."""
        train = {name: value for name, value in vars(self.train).items() if name != "numbers"}
        loss, accuracy = self.totals.loss, self.totals.accuracy
        return {"train": train, "totals": {"loss": loss.total, "correct": accuracy.total, "count": loss.count}}

    def about(self) -> dict[str, Any]:
        """The rest of the state, as JSON."""
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "seconds": self.seconds,
            "plateau": dataclasses.asdict(self.plateau),
            "early_stopping": dataclasses.asdict(self.stopping),
        }

    def restored(self, arrays: dict[str, Any], about: dict[str, Any], put: Callable[[Any], Any]) -> "RunState":
        """The state whose `arrays()` and `about()` these were; `put` copies arrays to the devices."""
        saved, totals = arrays["totals"], TrainMetrics.empty()
        totals = totals.replace(
            loss=totals.loss.replace(total=saved["loss"], count=saved["count"]),
            accuracy=totals.accuracy.replace(total=saved["correct"], count=saved["count"]),
        )
        return RunState(
            TrainState(**put(arrays["train"]), numbers=self.train.numbers),
            put(totals),
            Plateau(**about["plateau"]),
            EarlyStopping(**about["early_stopping"]),
            about["epoch"],
            about["step_in_epoch"],
            about["seconds"],
        )


class Saves:
    """The saved states of a run. Of several processes the first one alone reads and writes them, for all.

    Args:
      workdir: the run's folder.
      about: JSON that every checkpoint has beside the state: the config and the names of the classes.
      steps_per_epoch: updates in an epoch.
      put: copies arrays to the devices.
    """

    def __init__(self, workdir: Workdir, about: dict[str, Any], steps_per_epoch: int, put: Callable[[Any], Any]):
        self._workdir, self._about, self._steps_per_epoch, self._put = workdir, about, steps_per_epoch, put
        self._checkpoints = Checkpoints(workdir.checkpoints, workdir.identity) if processes.first() else None

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        if self._checkpoints:
            self._checkpoints.prepare()

    def latest(self, state: RunState, say: Callable[[str], None]) -> RunState | None:
        """The latest saved state of a run that has just begun with `state`; None if there is none.

        Gives `say` a sentence for each damaged checkpoint that it deletes. Raises UserError if none is intact.
        """
        required = {**self._about, **state.about()}
        found = self._found(state, lambda: latest(self._checkpoints, self._workdir, state.arrays(), required, say))
        if found and self._checkpoints:
            with self._workdir.writing():
                self._checkpoints.remove_replaced(found.stopping.best_epoch * self._steps_per_epoch)
        return found

    def best(self, state: RunState) -> RunState:
        """The state at the end of the best epoch; UserError if its checkpoint is damaged."""
        step = state.stopping.best_epoch * self._steps_per_epoch
        return self._found(state, lambda: best(self._checkpoints, self._workdir, state.arrays(), step))

    def _found(self, state: RunState, find: Callable[[], tuple[Any, dict[str, Any]] | None]) -> RunState | None:
        """Gives all processes the state that the first process finds, if it finds any."""
        arrays = None

        def about() -> dict[str, Any] | None:
            nonlocal arrays
            arrays, saved = find() or (None, None)
            return saved

        told = processes.from_first(about)
        if told is None:
            return None
        if arrays is None:  # Not the first process: gives arrays of the same shapes to the broadcast.
            arrays = jax.device_get(state.arrays())
        return state.restored(processes.arrays_from_first(arrays), told, self._put)

    def _step(self, state: RunState) -> int:
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
                self._checkpoints.save(self._step(state), state.arrays(), {**self._about, **state.about()}, best)

    def save_once(self, state: RunState) -> None:
        """Saves a state, unless it was saved before or the run has not begun to train."""
        with self._workdir.writing():
            if self._step(state) and self._step(state) not in self.steps():
                self.save(state)

    def close(self) -> None:
        """Waits until everything is on disk."""
        if self._checkpoints:
            with self._workdir.writing():
                self._checkpoints.close()
