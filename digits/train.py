"""Training: the loop over epochs that records, applies the rules between epochs, checkpoints, and tests at the end."""

from collections.abc import Callable
import concurrent.futures
import dataclasses
import os
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from digits import (
    checkpoint,
    events,
    hosts,
    measures,
    optimizer,
    profile,
    record,
    restoring,
    sheet,
    startup,
    summary,
    terminal,
)
from digits.checks import check, check_batch
from digits.config import config_to_json
from digits.errors import Diverged
from digits.interrupt import Interrupted, Listener
from digits.parallel import Devices
from digits.program import Shared, out_of_memory_named, prepare_jax
from digits.step import TrainState, zero_totals

# How long one call of the compiled epoch should take: the bar moves smoothly, a signal is heard soon.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


def train_and_evaluate(
    config: ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    origin: dict[str, Any] | None = None,
    start: startup.Start | None = None,
    profile: bool = False,
) -> dict[str, Any]:
    """Trains, or goes on training, the run of `config` in `workdir`, and tests it at the end.

    Args:
      config: as configs/base.py declares it.
      workdir: the run's directory: new, empty, or of a run with the same config.
      data_dir: see `data.load`.
      origin: what to record of where the config came from.
      start: the clock, and the dataset that is being read, of a process that has just been started.
      profile: whether to write a trace to WORKDIR/profile.

    Returns:
      The content of result.json.

    Raises:
      UserError: the config, the data or the workdir do not allow it; nothing was written.
      Interrupted: SIGINT or SIGTERM; the run was saved.
    """
    check(config)
    files = record.Workdir(workdir)
    hosts.from_first(lambda: files.check(config))
    if result := hosts.from_first(files.result):
        say = _terminal().say
        say(f"This run is finished: {files.path}. Its result:")
        say(terminal.closing_lines(config, result, files))
        return result
    prepare_jax(config)
    start, listener = start or startup.Start(config.data.name, data_dir), Listener()
    shared = Shared(start.dataset, Devices.of(jax.devices()))
    training = Training(config, files, shared, listener, origin, _terminal(), start, profile)
    with listener:
        return training.run()


def _terminal() -> terminal.Terminal:
    """Where one of several processes speaks for all."""
    return terminal.Terminal() if hosts.first() else terminal.Silent()


class Training:
    """One run from its data to its result: the host's side of the training.

    `run` does it all. Where several runs are trained by one program (digits/population.py), that calls `begin`, sets
    `state` and `totals` and calls `end_epoch` after each epoch until the run is `done`, and then `finish` and `close`.
    """

    def __init__(
        self,
        config: ConfigDict,
        files: record.Workdir,
        shared: Shared,
        listener: Listener,
        origin: dict[str, Any] | None = None,
        shown: terminal.Terminal | None = None,
        start: startup.Start | None = None,
        profiled: bool = False,
    ):
        self.config, self.listener, self._agreed = config, listener, None
        self.files = files if hosts.first() else record.Spectator(files.path)
        self.start = start or startup.Start(config.data.name, None)
        self.terminal = shown or terminal.Silent()
        self.say = self.terminal.say
        self.examples, self.put = hosts.together(lambda: shared.examples(config)), shared.devices.put
        hosts.check_same("The images", self.examples.about["digest"])
        self.count = self.examples.about["train"]
        check_batch(config, self.count)
        self.program = shared.program(config, self.examples)
        self.steps_per_epoch = -(-self.count // config.batch_size)
        self.about = {**(origin or {}), "data": self.examples.about}
        self.first_step = {"seconds_to_first_step": None, "compile_seconds": None}
        self.profile = profile.Profile(files.path / "profile" if profiled and hosts.first() else None)
        self.checkpoints = checkpoint.Checkpoints(files.checkpoints) if hosts.first() else checkpoint.NoCheckpoints()
        self.device = jax.config.jax_default_device  # Where members of a population are spread over several.
        # For what must not keep the training thread waiting.
        self.background = concurrent.futures.ThreadPoolExecutor(1)

    def run(self) -> dict[str, Any]:
        """Trains to the end and tests; returns the result. Raises as `train_and_evaluate`."""
        try:
            self.begin()
            while not self.done:
                self.train_epoch()
            return self.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Waits until everything is written."""
        self.profile.close()
        self.background.shutdown()
        try:
            with self.files.writing():
                self.checkpoints.close()
            if hasattr(self, "events"):
                self.events.close()
        finally:
            self.files.release()

    @property
    def done(self) -> bool:
        return self.epoch >= self.config.epochs or self.stopping.stop

    def begin(self, alone: bool = True) -> None:
        """Makes the run's directory and state, fresh or from the latest checkpoint, and `alone` its program."""
        config, say = self.config, self.say
        hosts.from_first(lambda: self.files.create(config, self.about))
        self.events = events.Events(self.files.path / "tensorboard", config.tensorboard and hosts.first())
        self.events.hyperparameters(config)
        began = time.perf_counter()
        if alone:
            self.program.compile(self.examples)
        self.state, self.totals = self.program.init(config)
        self.epoch, self.step_in_epoch, self.seconds = 0, 0, 0.0
        self.seconds_per_step, self.next_steps = None, 1
        self.plateau = optimizer.Plateau(config.optimizer.learning_rate)
        self.stopping = optimizer.EarlyStopping()
        say(summary.table(self.program.model))
        say(terminal.opening_line(config, self.examples.about, self.steps_per_epoch))
        if self._restore(self._find_latest):
            say(f"going on with {self.files.path} after epoch {self.epoch}, step {self.step_in_epoch}")
        # Also records of a first epoch whose checkpoint was never finished.
        self.files.truncate(self.epoch)
        for line in self.files.history():
            say(terminal.epoch_line(line, config.epochs))
        self.order = self.next_order()
        if alone:
            self.program.compiled  # Waits for it.
        self.compile_seconds = time.perf_counter() - began

    def next_order(self, ahead: int = 1) -> jax.Array:
        """The order of the examples in the epoch `ahead` of the last whole one."""
        return self.program.order(self.config.seed, self.epoch + ahead)

    def _next_order_on(self, device: jax.Device | None) -> jax.Array:
        """`next_order` for the epoch after next, in another thread, which has not this one's default device."""
        with jax.default_device(device):
            return self.next_order(2)

    def _saved(self) -> dict[str, Any]:
        # The scalars are the config's, and no step is lost in what is saved.
        train = {name: value for name, value in vars(self.state).items() if name != "scalars"}
        return {"train": train, "totals": {name: total for name, total in self.totals.items() if name != "lost"}}

    def _restore(self, find: Callable[[], tuple[Any, dict[str, Any]] | None]) -> bool:
        """Goes back to what the first process finds, if it finds anything; the others are given it."""
        found = []
        about = hosts.from_first(lambda: found.extend(find() or ()) or (found[1] if found else None))
        if about is None:
            return False
        self._take(hosts.arrays_from_first(found[0] if found else jax.device_get(self._saved())), about)
        return True

    def _find_latest(self) -> tuple[Any, dict[str, Any]] | None:
        return restoring.latest(self.checkpoints, self.files, self._saved(), self._about().keys(), self.say)

    def _find_best(self) -> tuple[Any, dict[str, Any]]:
        step = self.stopping.best_epoch * self.steps_per_epoch
        return restoring.best(self.checkpoints, self.files, self._saved(), step)

    def _take(self, saved: dict[str, Any], about: dict[str, Any]) -> None:
        self.state = TrainState(**self.put(saved["train"]), scalars=self.state.scalars)
        self.totals = self.put({**zero_totals(), **saved["totals"]})
        self.epoch, self.step_in_epoch, self.seconds = about["epoch"], about["step_in_epoch"], about["seconds"]
        self.plateau = optimizer.Plateau(**about["plateau"])
        self.stopping = optimizer.EarlyStopping(**about["early_stopping"])

    def _about(self) -> dict[str, Any]:
        return {
            "config": config_to_json(self.config),
            "class_names": list(self.examples.class_names),
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "seconds": self.seconds,
            "plateau": dataclasses.asdict(self.plateau),
            "early_stopping": dataclasses.asdict(self.stopping),
        }

    def _save(self) -> None:
        best = self.stopping.best_epoch * self.steps_per_epoch
        with self.files.writing():
            self.checkpoints.save(self.step, self._saved(), self._about(), best)

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    def train_epoch(self) -> None:
        config, number = self.config, self.epoch + 1
        started = began = time.perf_counter()
        order = self.order
        # On two cores it takes a tenth of a short epoch to shuffle: the next order is made beside this epoch.
        # Several processes must give their devices everything in the same order, and wait for it.
        following = None if hosts.several() else self.background.submit(self._next_order_on, self.device)
        done = min(self.step_in_epoch * config.batch_size, self.count)
        progress = self.terminal.progress(number, config.epochs, self.count, done)
        while self.step_in_epoch < self.steps_per_epoch:
            left = (self.steps_per_epoch - self.step_in_epoch) * (self.seconds_per_step or np.inf)
            aside = self.profile.look(number, config.epochs, time.perf_counter() - began, left)
            started, began = started + aside, began + aside
            images = self._call(order)
            progress.update(images)
            if self.heard and self.step_in_epoch < self.steps_per_epoch:
                progress.close()
                self.seconds += time.perf_counter() - started
                self._stop_here()
        progress.close()
        self.seconds += time.perf_counter() - started
        self.order = following.result() if following else self.next_order(2)
        self.end_epoch(self.seconds)
        self.profile.end_epoch(self.epoch, time.perf_counter() - began)
        if self.heard and self.epoch < config.epochs:
            self._stop_here()

    def _call(self, order: jax.Array) -> int:
        """Trains for about the wanted time, at first one step; returns the number of images."""
        start, stop = self.step_in_epoch, min(self.step_in_epoch + self.next_steps, self.steps_per_epoch)
        before = time.perf_counter()
        with self.profile.phase("train", step=start):
            with out_of_memory_named(self.config.batch_size):
                self.state, self.totals = self.program.compiled(
                    self.state, self.totals, *self.examples.train, order, np.int32(start), np.int32(stop)
                )
                jax.block_until_ready(self.totals)
        first, self.seconds_per_step = not self.seconds_per_step, (time.perf_counter() - before) / (stop - start)
        if first:
            self._arrive()
        self._agree()
        self._check_loss(stop)
        self.step_in_epoch = stop
        return min(stop * self.config.batch_size, self.count) - start * self.config.batch_size

    def _agree(self) -> None:
        """What comes next: as many steps as the first process can take in the wanted time, or a signal that any heard."""
        often = self.terminal.moves or self.profile.active
        wanted = _SECONDS_BETWEEN_UPDATES if often else _SECONDS_BETWEEN_LOOKS
        answers = hosts.gather(self.listener.heard or 0, max(1, round(wanted / self.seconds_per_step)))
        self._agreed, self.next_steps = int(answers[:, 0].max()) or None, int(answers[0, 1])

    @property
    def heard(self) -> int | None:
        """The signal on which the run must stop; of several processes, when all know of it."""
        return self._agreed if hosts.several() else self.listener.heard

    def _arrive(self) -> None:
        """After the first step: notes how long it took to get there, and prepares what comes after the first epoch."""
        self.first_step = {"seconds_to_first_step": self.start.seconds(), "compile_seconds": self.compile_seconds}
        self.say(
            f"first step after {self.first_step['seconds_to_first_step']:.1f} s "
            f"(compilation {self.compile_seconds:.1f} s of it)"
        )
        self.start.arrived()
        self.checkpoints.prepare()

    def save(self) -> None:
        """Saves the run as it is, unless that was done or it has not begun to train."""
        with self.files.writing():
            if self.step and self.step not in self.checkpoints.steps():
                self._save()

    def _stop_here(self) -> None:
        self.save()
        with self.files.writing():
            self.checkpoints.close()
        raise Interrupted(self.heard, terminal.command(self.about, self.files))

    def end_epoch(self, trained: float) -> None:
        """Validates, records, applies the plateau and early-stopping rules, checkpoints; after `trained` seconds."""
        config, phase, started = self.config, self.profile.phase, time.perf_counter()
        self._check_loss(self.steps_per_epoch)
        self.epoch, self.step_in_epoch, self.seconds = self.epoch + 1, 0, 0.0
        with phase("evaluate"):
            metrics = self._metrics()
        self._check_finite("validation loss", metrics["val_loss"])
        with phase("record"):
            line = {
                "epoch": self.epoch,
                **metrics,
                "learning_rate": self.program.learning_rate(self.state),
                "seconds": trained + time.perf_counter() - started,
                "images_per_second": self.count / trained,
            }
            self.say(terminal.epoch_line(line, config.epochs))
            self.files.append(line)
            self.events.metrics(self.epoch, {name: line[name] for name in record.METRICS})
        monitored = metrics[config.monitor]
        if monitored is not None:
            self.stopping.update(config.early_stopping, config.monitor, monitored, self.epoch)
            if config.schedule.name == "plateau":
                self.plateau.update(config.schedule, config.monitor, monitored)
                rate = np.asarray(self.plateau.learning_rate, self.state.learning_rate.dtype)
                self.state = self.state.replace(learning_rate=self.put(rate))
        self.totals = self.put(zero_totals())
        best = self.stopping.best_epoch == self.epoch
        last = self.epoch == config.epochs or self.stopping.stop
        if best or last or self.heard or self.epoch % config.checkpoint_every == 0:
            with phase("checkpoint"):
                self._save()

    def _check_loss(self, stop: int) -> None:
        """Raises Diverged if the loss was no finite number in a step of this epoch before `stop`."""
        if lost := int(self.totals["lost"]):
            where = f"in epoch {self.epoch + 1}, step {stop - lost + 1} of {self.steps_per_epoch}"
            raise self._diverged("loss", float(self.totals["loss"]), where)

    def _check_finite(self, what: str, loss: float | None) -> None:
        """Raises Diverged for a loss that shows what the last step of an epoch did: its own was that before the step."""
        if loss is not None and not np.isfinite(loss):
            raise self._diverged(what, loss, f"after epoch {self.epoch}")

    def _diverged(self, what: str, loss: float, where: str) -> Diverged:
        kept = [step // self.steps_per_epoch for step in self.checkpoints.steps()]
        return Diverged(
            f"The {what} became {loss} {where}, at a learning rate of {self.program.learning_rate(self.state):g}: try a "
            f"config.optimizer.learning_rate below {self.config.optimizer.learning_rate:g}, or "
            f"config.optimizer.clip_norm=1. {self.files.path} keeps "
            + (f"the checkpoint of epoch {kept[0]}." if kept else "no checkpoint, for it had none yet.")
        )

    def _metrics(self) -> dict[str, float | None]:
        """Loss and accuracy of the epoch that ended, as running means, and of the validation set."""
        totals = jax.device_get(self.totals)
        metrics = {
            "loss": float(totals["loss"] / totals["count"]),
            "accuracy": float(totals["correct"] / totals["count"]),
        }
        validated = self._evaluate(self.examples.validation) if self.examples.validation else dict.fromkeys(metrics)
        return metrics | {f"val_{key}": value for key, value in validated.items()}

    def _evaluate(self, examples) -> dict[str, float]:
        return self.program.evaluate(self.state, *examples)

    def finish(self) -> dict[str, Any]:
        """Tests the last or the best weights and writes the result."""
        config, epochs = self.config, self.epoch
        if self.stopping.stop:
            self.say(f"stopped early: {config.monitor} has not improved since epoch {self.stopping.best_epoch}")
        best_epoch = self.stopping.best_epoch
        tested_epoch = best_epoch if config.early_stopping.restore_best else epochs
        if tested_epoch != epochs:
            self._restore(self._find_best)
            self.say(f"testing the weights of epoch {tested_epoch}, the best by {config.monitor}")
        test = self._evaluate(self.put(self.examples.test))
        self._check_finite("test loss", test["loss"])
        tested = {
            "test_loss": test["loss"],
            "test_accuracy": test["accuracy"],
            "tested_epoch": tested_epoch,
            "best_epoch": best_epoch or None,
            "epochs": epochs,
        }
        return hosts.from_first(lambda: self._write_result(tested))

    def _write_result(self, tested: dict[str, Any]) -> dict[str, Any]:
        config, history = self.config, self.files.history()
        with self.files.writing():
            self.checkpoints.close()  # The result is written last: where it stands, the checkpoints do too.
        result = {
            **tested,
            "validation_is_test": config.data.validation == "test",
            "seed": config.seed,
            "seconds": sum(line["seconds"] for line in history),
            "images_per_second": float(np.median([line["images_per_second"] for line in history])),
            **self.first_step,
            **record.environment(),
            "data": self.about["data"],
            "config_file": self.about.get("config_file"),
        }
        self.files.write_result(result)
        self._show_test(result)
        self.say(terminal.closing_lines(config, result, self.files))
        self.events.close()
        if self.events.problem:
            self.say(f"no TensorBoard events were written ({self.events.problem})")
        return result

    def _show_test(self, result: dict[str, Any]) -> None:
        """The test figures and the worst mistakes, for TensorBoard."""
        if not self.config.tensorboard:
            return
        epoch, (images, labels) = result["tested_epoch"], map(np.asarray, self.examples.test)
        self.events.metrics(epoch, {name: result[name] for name in ("test_loss", "test_accuracy")})
        names = self.examples.class_names
        if worst := measures.measure(self.program.logits(self.state, images), labels, names)["mistakes"]:
            self.events.picture(epoch, "mistakes", lambda: sheet.examples(worst, images, names))


if __name__ == "__main__":  # A likely slip, which would do nothing and say nothing.
    from digits.command_line import UserError, refuse

    raise SystemExit(refuse(UserError("digits.train is no command: python -m digits.main is.")))
