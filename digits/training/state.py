"""The state of a run: everything that a checkpoint saves, so that the run goes on from it with the same bits."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from digits.training.program import Program
from digits.training.rules import EarlyStopping, Plateau
from digits.training.step import TrainMetrics, TrainState, totals_from_saved, totals_to_save


@dataclasses.dataclass
class RunState:
    """What a run carries from one call of its program to the next.

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

    def arrays(self) -> dict[str, Any]:
        """The arrays of a checkpoint. The config has the numbers, which are left out."""
        train = {name: value for name, value in vars(self.train).items() if name != "numbers"}
        return {"train": train, "totals": totals_to_save(self.totals)}

    def about(self) -> dict[str, Any]:
        """The rest of the state, as JSON."""
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "seconds": self.seconds,
            "plateau": dataclasses.asdict(self.plateau),
            "early_stopping": dataclasses.asdict(self.stopping),
        }

    def means(self) -> dict[str, float]:
        """Loss and accuracy of the epoch so far, as running means."""
        found = jax.device_get(self.totals).compute()
        return {name: float(found[name]) for name in ("loss", "accuracy")}

    def steps_lost(self) -> int:
        """The number of steps of this epoch from the first one on whose loss is no finite number."""
        return int(self.totals.steps_lost.compute())

    def summed_loss(self) -> float:
        """The loss of this epoch, summed over its images."""
        return float(self.totals.loss.total)

    def begin_epoch(self, put: Callable[[Any], Any]) -> None:
        """Sets the totals to zero."""
        self.totals = put(TrainMetrics.empty())

    def apply_rules(self, config: ConfigDict, monitored: float | None, put: Callable[[Any], Any]) -> None:
        """Shows an epoch's monitored metric to the rules: early stopping, and the plateau rule of the learning rate."""
        if monitored is None:
            return
        self.stopping.update(config.early_stopping, config.monitor, monitored, self.epoch)
        if config.schedule.name == "plateau":
            self.plateau.update(config.schedule, config.monitor, monitored)
            rate = np.asarray(self.plateau.learning_rate, self.train.learning_rate.dtype)
            self.train = self.train.replace(learning_rate=put(rate))

    def restored(self, arrays: dict[str, Any], about: dict[str, Any], put: Callable[[Any], Any]) -> "RunState":
        """The state whose `arrays()` and `about()` these were; `put` copies arrays to the devices."""
        return RunState(
            TrainState(**put(arrays["train"]), numbers=self.train.numbers),
            put(totals_from_saved(arrays["totals"])),
            Plateau(**about["plateau"]),
            EarlyStopping(**about["early_stopping"]),
            about["epoch"],
            about["step_in_epoch"],
            about["seconds"],
        )
