"""One run: its data and program, its folder, its state, the end of every epoch, and its result."""

import contextlib
import dataclasses
import functools
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from digits.config.values import config_to_json
from digits.errors import Diverged
from digits.models import families
from digits.runs.workdir import Workdir, resuming_command
from digits.runtime import environment, processes
from digits.runtime.signals import Interrupted
from digits.training.program import Examples, Program, Shared, check_batch
from digits.training.recorder import Outputs, Recorder
from digits.training.resume import RunState, Saves
from digits.training.step import TrainMetrics, TrainState


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run before it opens its folder: its config, its data and its program; `about` is that of `Workdir.create`."""

    config: ConfigDict
    workdir: Workdir
    examples: Examples
    program: Program
    about: dict[str, Any]


def prepare(
    config: ConfigDict,
    workdir: Workdir,
    shared: Shared,
    origin: dict[str, Any] | None = None,
    convolution: str | None = None,
) -> Prepared:
    """Splits the data of a run and makes its program; writes nothing.

    Args:
      config: as configs/base.py declares it.
      workdir: the run's folder.
      shared: the dataset and the programs of the runs on the same devices.
      origin: JSON about where the config came from; see `workdir.resuming_command`.
      convolution: how the convolutions are computed, if not as the config says.

    Raises:
      UserError: the config does not fit the data, or another process has other data.
    """
    examples = processes.together(lambda: shared.examples(config))
    processes.check_same("The images", examples.about["digest"])
    check_batch(config, examples.about["train"])
    arithmetic = {"convolution": convolution or families.implementation(config.model), **environment.arithmetic()}
    about = {**(origin or {}), "data": examples.about, "arithmetic": arithmetic}
    return Prepared(config, workdir, examples, shared.program(config, examples), about)


class Run:
    """A run that has opened its folder and its state, fresh or from the latest checkpoint.

        with Run(prepare(config, workdir, shared)) as run:
            result = Loop(run, listener).train()

    `loop.Loop` or a program of several runs (digits/sweeps/batched.py) trains it: takes `state` and `order()`, calls
    `end_epoch(train, totals, seconds)` after every epoch until the run is `done`, and then `finish()`.

    Args:
      prepared: see `prepare`.
      outputs: where it reports to beside its folder.
      alone: whether the run trains by its own program, which is then compiled while the run opens.

    Raises:
      UserError: the folder cannot be written, is in use, or has no intact checkpoint.
    """

    def __init__(self, prepared: Prepared, outputs: Outputs = Outputs(), alone: bool = True):
        self.config, self.workdir, self.about = prepared.config, prepared.workdir, prepared.about
        self.examples, self.program = prepared.examples, prepared.program
        self._put = self.program.devices.put
        saved = {"config": config_to_json(self.config), "class_names": list(self.examples.class_names)}
        with contextlib.ExitStack() as opened:
            opened.callback(self.workdir.release)
            processes.from_first(lambda: self.workdir.create(self.config, self.about))
            self.recorder = Recorder(self.config, self.workdir, self.about, outputs)
            opened.callback(self.recorder.close)
            self.opened_at = time.perf_counter()
            if alone:
                self.program.compile(self.examples)
            self.saves = Saves(self.workdir, saved, self.program.steps_per_epoch, self._put)
            opened.callback(self.saves.close)
            opened.callback(self.recorder.profile.close)
            fresh = RunState.fresh(self.config, self.program)
            self.recorder.begun(self.program.model, self.program.steps_per_epoch)
            restored = self.saves.latest(fresh, self.recorder.say)
            self.state = restored or fresh
            self.recorder.went_on(self.state, bool(restored))
            self._opened = opened.pop_all()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error) -> None:
        """Waits until everything is written."""
        self._opened.__exit__(*error)

    @property
    def done(self) -> bool:
        """Whether the last epoch has ended, or the run stopped early."""
        return self.state.epoch >= self.config.epochs or self.state.stopping.stop

    def order(self, ahead: int = 1) -> jax.Array:
        """The order of the training images, as indices, in the epoch that is `ahead` of the last whole one."""
        return self.program.order(self.config.seed, self.state.epoch + ahead)

    def save(self) -> None:
        """Saves the run as it is, unless it is saved already or has not begun to train."""
        self.saves.save_once(self.state)

    def stop(self, signal: int) -> None:
        """Saves the run and raises Interrupted for a signal."""
        self.save()
        self.saves.close()
        raise Interrupted(signal, resuming_command(self.about, self.workdir) + self.recorder.flags)

    def end_epoch(self, train: TrainState, totals: TrainMetrics, seconds: float) -> None:
        """Ends an epoch: validates, records, applies the plateau and early-stopping rules, saves.

        Args:
          train: the state after the epoch's last step.
          totals: the metrics of the epoch.
          seconds: time that the steps took.

        Raises:
          Diverged: a loss is no finite number.
        """
        state, phase, started = self.state, self.recorder.profile.phase, time.perf_counter()
        state.train, state.totals = train, totals
        self.check_loss(self.program.steps_per_epoch)
        state.epoch, state.step_in_epoch, state.seconds = state.epoch + 1, 0, 0.0
        with phase("evaluate"):
            metrics = self._metrics()
        self._check_finite("validation loss", metrics["val_loss"])
        line = {
            "epoch": state.epoch,
            **metrics,
            "learning_rate": self.program.learning_rate(state.train),
            "seconds": seconds + time.perf_counter() - started,
            "images_per_second": self.program.examples / seconds,
        }
        state.apply_rules(self.config, metrics[self.config.monitor], self._put)
        state.totals = self._put(TrainMetrics.empty())
        best = state.stopping.best_epoch == state.epoch
        with phase("record"):
            self.recorder.epoch(line, best)
        if best or self.done or state.epoch % self.config.checkpoint_every == 0:
            with phase("checkpoint"):
                self.saves.save(state)

    def _metrics(self) -> dict[str, float | None]:
        """Loss and accuracy of the epoch that ended, as running means, and of the validation images."""
        found = jax.device_get(self.state.totals).compute()
        metrics = {name: float(found[name]) for name in ("loss", "accuracy")}
        validated = self._evaluate(self.examples.validation) if self.examples.validation else dict.fromkeys(metrics)
        return metrics | {f"val_{key}": value for key, value in validated.items()}

    def _evaluate(self, examples: tuple) -> dict[str, float]:
        return self.program.evaluate(self.state.train, *examples)

    def finish(self) -> dict[str, Any]:
        """Tests the last or the best weights; writes and returns the result."""
        config, epochs, stopping = self.config, self.state.epoch, self.state.stopping
        if stopping.stop:
            self.recorder.say(f"stopped early: {config.monitor} has not improved since epoch {stopping.best_epoch}")
        tested_epoch = stopping.best_epoch if config.early_stopping.restore_best else epochs
        if tested_epoch != epochs:
            self.state = self.saves.best(self.state)
            self.recorder.say(f"testing the weights of epoch {tested_epoch}, the best by {config.monitor}")
        test = self._evaluate(self._put(self.examples.test))
        self._check_finite("test loss", test["loss"])
        tested = {
            "test_loss": test["loss"],
            "test_accuracy": test["accuracy"],
            "tested_epoch": tested_epoch,
            "best_epoch": stopping.best_epoch or None,
            "epochs": epochs,
        }

        def written() -> dict[str, Any]:
            self.saves.close()  # The result is written last: a run with a result has its checkpoints.
            return self.recorder.result(tested, self.examples, functools.partial(self.program.logits, self.state.train))

        return processes.from_first(written)

    def check_loss(self, stop: int) -> None:
        """Raises Diverged if the loss was no finite number in a step of this epoch before `stop`."""
        totals = self.state.totals
        if lost := int(totals.steps_lost.compute()):
            where = f"in epoch {self.state.epoch + 1}, step {stop - lost + 1} of {self.program.steps_per_epoch}"
            raise self._diverged("loss", float(totals.loss.total), where)

    def _check_finite(self, name: str, loss: float | None) -> None:
        """Raises Diverged if the loss after an epoch is no finite number.

        The last step may have spoilt the weights, although its own loss, computed before its update, was finite.
        """
        if loss is not None and not np.isfinite(loss):
            raise self._diverged(name, loss, f"after epoch {self.state.epoch}")

    def _diverged(self, name: str, loss: float, where: str) -> Diverged:
        kept = [step // self.program.steps_per_epoch for step in self.saves.steps()]
        rate = self.program.learning_rate(self.state.train)
        return Diverged(
            f"The {name} became {loss} {where}, at a learning rate of {rate:g}: try a config.optimizer.learning_rate "
            f"below {self.config.optimizer.learning_rate:g}, or config.optimizer.clip_norm=1. "
            f"{self.workdir.path} keeps "
            + (f"the checkpoint of epoch {kept[0]}." if kept else "no checkpoint, for it had none yet.")
        )
