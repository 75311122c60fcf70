"""Keras's rules between epochs: a lower learning rate on a plateau, and early stopping."""

import dataclasses

from ml_collections import ConfigDict


def _improves(monitor: str, value: float, best: float | None, min_delta: float) -> bool:
    if best is None:
        return True
    return value - min_delta > best if monitor.endswith("accuracy") else value + min_delta < best


@dataclasses.dataclass
class Plateau:
    """Keras's ReduceLROnPlateau and its memory between epochs."""

    learning_rate: float
    best: float | None = None
    wait: int = 0
    resting: int = 0

    def update(self, config: ConfigDict, monitor: str, value: float) -> None:
        """Takes the monitored metric of the epoch that ended. Lowers `learning_rate` when the patience is over."""
        if self.resting:
            self.resting -= 1
            self.wait = 0
        if _improves(monitor, value, self.best, config.min_delta):
            self.best, self.wait = value, 0
        elif not self.resting:
            self.wait += 1
            if self.wait >= config.patience and self.learning_rate > config.min_learning_rate:
                self.learning_rate = max(self.learning_rate * config.factor, config.min_learning_rate)
                self.resting, self.wait = config.cooldown, 0


@dataclasses.dataclass
class EarlyStopping:
    """Keras's EarlyStopping and its memory between epochs; `best_epoch` counts from 1 and is 0 before the first."""

    best: float | None = None
    best_epoch: int = 0
    wait: int = 0
    stop: bool = False

    def update(self, config: ConfigDict, monitor: str, value: float, epoch: int) -> None:
        """Takes the monitored metric of `epoch`, which ended. Sets `stop` when the patience, if not 0, is over."""
        self.wait += 1
        if _improves(monitor, value, self.best, config.min_delta):
            self.best, self.best_epoch, self.wait = value, epoch, 0
        elif config.patience and self.wait >= config.patience and epoch > 1:
            self.stop = True
