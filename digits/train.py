"""Training: the loop over epochs that records, applies the rules between epochs, checkpoints, and tests at the end."""

import dataclasses
import functools
import os
import signal
import threading
import time
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import augment, data, evaluate, models, optimizer, record
from digits.errors import UserError, require
from digits.step import TrainState, init_state, make_run_steps, make_train_step, shuffled, zero_totals

# How long one call of the compiled epoch should take: the bar moves smoothly, a signal is heard soon.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


class Interrupted(Exception):
    """The run was stopped by a signal, and saved."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


def check(config: ConfigDict) -> None:
    """Raises UserError for a config that makes no sense, before anything is loaded, compiled or written."""
    whole = lambda value, low, high=2**31: isinstance(value, int) and low <= value < high
    for name in ("epochs", "batch_size", "eval_batch_size", "checkpoint_every"):
        require(whole(config[name], 1), name, config[name], "a whole number from 1")
    require(whole(config.seed, 0), "seed", config.seed, "a whole number from 0 to 2147483647")
    data.check(config.data)
    models.check(config.model)
    optimizer.check(config)
    augment.check(config.augment)


def train_and_evaluate(
    config: ConfigDict, workdir: str | os.PathLike, data_dir: str | None = None, origin: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Trains, or goes on training, the run of `config` in `workdir`, and tests it at the end.

    Args:
      config: as configs/base.py declares it.
      workdir: the run's directory: new, empty, or of a run with the same config.
      data_dir: see `data.load`.
      origin: what to record of where the config came from.

    Returns:
      The content of result.json.

    Raises:
      UserError: the config, the data or the workdir do not allow it; nothing was written.
      Interrupted: SIGINT or SIGTERM; the run was saved.
    """
    check(config)
    files = record.Workdir(workdir)
    files.check(config)
    if result := files.result():
        record.say(f"This run is finished: {files.path}. Its result:")
        record.say(record.closing_lines(config, result, files))
        return result
    return _Training(config, files, data_dir, origin or {}).run()


class _Training:
    """One run from its data to its result: the host's side of the training."""

    def __init__(self, config: ConfigDict, files: record.Workdir, data_dir: str | None, origin: dict[str, Any]):
        self.config, self.files = config, files
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", str(data.cache_dir() / "xla"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        dataset = data.load(config.data.name, data_dir)
        self.splits = data.split(dataset, config.data)
        self.examples = len(self.splits.train[1])
        accepted = f"at most the {self.examples:,} training examples"
        require(config.batch_size <= self.examples, "batch_size", config.batch_size, accepted)
        self.steps_per_epoch = -(-self.examples // config.batch_size)
        self.class_names = dataset.class_names
        build = lambda: models.build(config.model, len(self.class_names), jax.random.key(0))
        self.model = nnx.eval_shape(build)
        self.about = {
            **origin,
            "data": {
                "digest": dataset.digest(),
                "train": self.examples,
                "validation": len(self.splits.validation[1]) if self.splits.validation else 0,
                "test": len(self.splits.test[1]),
            },
        }
        self.signal, self.checkpoints = None, None

    def run(self) -> dict[str, Any]:
        config = self.config
        self.files.create(config, self.about)
        record.say(models.summary(self.model))
        counts = self.about["data"]
        record.say(
            f"{config.data.name}: {counts['train']:,} training, {counts['validation']:,} validation"
            f"{' (the test set itself)' if config.data.validation == 'test' else ''}, {counts['test']:,} test images; "
            f"{self.steps_per_epoch:,} steps an epoch; device: {record.device()}"
        )
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        handlers = {number: signal.signal(number, self._hear) for number in numbers}
        self.events = record.Events(self.files.path / "tensorboard", config.tensorboard)
        try:
            self._prepare()
            while self.epoch < config.epochs and not self.stopping.stop:
                self._train_epoch()
            return self._finish()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.events.close()
            if self.checkpoints:
                self.checkpoints.close()

    def _hear(self, number, _frame):
        if self.signal:
            raise KeyboardInterrupt  # The second time, at once and without saving.
        self.signal = number

    def _prepare(self) -> None:
        """Compiles the program and brings data and state, fresh or from the latest checkpoint, onto the device."""
        config = self.config
        started = time.perf_counter()
        graphdef, _, _ = models.split(self.model)
        run_steps = make_run_steps(
            make_train_step(config, graphdef, self.steps_per_epoch), self.examples, config.batch_size
        )
        init = jax.jit(functools.partial(init_state, config, len(self.class_names)))
        self.state, self.totals = init(np.int32(config.seed)), zero_totals()
        self.train = jax.device_put(self.splits.train)
        self.validation = jax.device_put(self.splits.validation)
        self.evaluate = evaluate.make_evaluate(graphdef, config.data.normalization, config.eval_batch_size)
        zero = np.int32(0)
        order = jax.ShapeDtypeStruct((self.examples,), jnp.int32)
        lowered = jax.jit(run_steps, donate_argnums=(0, 1)).lower(
            self.state, self.totals, *self.train, order, zero, zero
        )
        self.run_steps = lowered.compile()
        self.epoch, self.step_in_epoch, self.seconds = 0, 0, 0.0
        self.steps_per_call = max(1, self.steps_per_epoch // 50)  # Until its speed is known.
        self.plateau = optimizer.Plateau(config.optimizer.learning_rate)
        self.stopping = optimizer.EarlyStopping()
        record.say(f"compiled in {time.perf_counter() - started:.1f} s")
        if self.files.checkpoints.is_dir() and (step := self._open_checkpoints().latest_step()) is not None:
            self._restore(step)
            record.say(f"going on with {self.files.path} after epoch {self.epoch}, step {self.step_in_epoch}")
        # Also records of a first epoch whose checkpoint was never finished.
        self.files.truncate(self.epoch)
        for line in self.files.history():
            record.say(record.epoch_line(line, config.epochs))

    def _open_checkpoints(self):
        # Orbax takes a second to import: not before the first epoch has been trained.
        from digits import checkpoint

        self.checkpoints = self.checkpoints or checkpoint.Checkpoints(self.files.checkpoints)
        return self.checkpoints

    def _saved(self) -> dict[str, Any]:
        return {"train": vars(self.state), "totals": self.totals}

    def _restore(self, step: int) -> None:
        saved, about = self.checkpoints.restore(step, self._saved())
        self.state, self.totals = TrainState(**saved["train"]), saved["totals"]
        self.epoch, self.step_in_epoch, self.seconds = about["epoch"], about["step_in_epoch"], about["seconds"]
        self.plateau = optimizer.Plateau(**about["plateau"])
        self.stopping = optimizer.EarlyStopping(**about["early_stopping"])

    def _save(self, rank: int = 0) -> None:
        about = {
            "config": record.config_to_json(self.config),
            "class_names": list(self.class_names),
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "seconds": self.seconds,
            "plateau": dataclasses.asdict(self.plateau),
            "early_stopping": dataclasses.asdict(self.stopping),
        }
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        self._open_checkpoints().save(step, self._saved(), about, rank)

    def _train_epoch(self) -> None:
        config, number = self.config, self.epoch + 1
        order = shuffled(self.state.seed, number, self.examples)
        started = time.perf_counter()
        progress = record.Progress(
            number, config.epochs, self.examples, min(self.step_in_epoch * config.batch_size, self.examples)
        )
        wanted = _SECONDS_BETWEEN_UPDATES if record.shows_progress() else _SECONDS_BETWEEN_LOOKS
        while self.step_in_epoch < self.steps_per_epoch:
            start, stop = self.step_in_epoch, min(self.step_in_epoch + self.steps_per_call, self.steps_per_epoch)
            before = time.perf_counter()
            self.state, self.totals = self.run_steps(
                self.state, self.totals, *self.train, order, np.int32(start), np.int32(stop)
            )
            jax.block_until_ready(self.totals)
            self.steps_per_call = max(1, round(wanted * (stop - start) / (time.perf_counter() - before)))
            self.step_in_epoch = stop
            progress.update(min(stop * config.batch_size, self.examples) - start * config.batch_size)
            if self.signal and stop < self.steps_per_epoch:
                progress.close()
                self.seconds += time.perf_counter() - started
                self._stop_here()
        progress.close()
        self.seconds += time.perf_counter() - started
        self._end_epoch()
        if self.signal and self.epoch < config.epochs:
            self._stop_here()

    def _stop_here(self) -> None:
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        if self._open_checkpoints().latest_step() != step:
            self._save()
        self.checkpoints.close()
        command = record.command(self.about, self.files)
        raise Interrupted(
            self.signal, f"Stopped by {signal.Signals(self.signal).name} and saved. To go on:\n  {command}"
        )

    def _evaluate(self, examples) -> dict[str, float]:
        return self.evaluate(self.state.params, self.state.stats, *examples)

    def _end_epoch(self) -> None:
        """Validates, records, applies the plateau and early-stopping rules, checkpoints."""
        config = self.config
        trained, started = self.seconds, time.perf_counter()
        self.epoch, self.step_in_epoch, self.seconds = self.epoch + 1, 0, 0.0
        rate = optimizer.learning_rate(config.schedule, config.epochs, self.steps_per_epoch)
        totals = jax.device_get(self.totals)
        metrics = {
            "loss": float(totals["loss"] / totals["count"]),
            "accuracy": float(totals["correct"] / totals["count"]),
        }
        if not np.isfinite(metrics["loss"]):
            raise UserError(
                f"The loss became {metrics['loss']} in epoch {self.epoch}: try a config.optimizer.learning_rate below "
                f"{config.optimizer.learning_rate:g}, or config.optimizer.clip_norm=1. {self.files.path} keeps the "
                "epochs before."
            )
        validated = self._evaluate(self.validation) if self.validation else dict.fromkeys(metrics)
        metrics |= {f"val_{key}": value for key, value in validated.items()}
        line = {
            "epoch": self.epoch,
            **metrics,
            "learning_rate": float(rate(self.state.step - 1, self.state.learning_rate)),
            "seconds": trained + time.perf_counter() - started,
            "images_per_second": self.examples / trained,
        }
        record.say(record.epoch_line(line, config.epochs))
        self.files.append(line)
        self.events.write(self.epoch, {key: value for key, value in line.items() if value is not None})
        monitored = metrics[config.monitor]
        if monitored is not None:
            self.stopping.update(config.early_stopping, config.monitor, monitored, self.epoch)
            if config.schedule.name == "plateau":
                self.plateau.update(config.schedule, config.monitor, monitored)
                self.state = self.state.replace(learning_rate=jnp.asarray(self.plateau.learning_rate, jnp.float32))
        self.totals = zero_totals()
        best = self.stopping.best_epoch == self.epoch
        last = self.epoch == config.epochs or self.stopping.stop
        if best or last or self.signal or self.epoch % config.checkpoint_every == 0:
            self._save(rank=self.epoch if best else 0)

    def _finish(self) -> dict[str, Any]:
        config, epochs = self.config, self.epoch
        if self.stopping.stop:
            record.say(f"stopped early: {config.monitor} has not improved since epoch {self.stopping.best_epoch}")
        best_epoch = self.stopping.best_epoch
        tested_epoch = best_epoch if config.early_stopping.restore_best else epochs
        if tested_epoch != epochs:
            self._restore(self._open_checkpoints().best_step())
            record.say(f"testing the weights of epoch {tested_epoch}, the best by {config.monitor}")
        test = self._evaluate(jax.device_put(self.splits.test))
        self._open_checkpoints().close()  # The result is written last: where it stands, the checkpoints do too.
        self.checkpoints = None
        history = self.files.history()
        result = {
            "test_loss": test["loss"],
            "test_accuracy": test["accuracy"],
            "tested_epoch": tested_epoch,
            "best_epoch": best_epoch or None,
            "validation_is_test": config.data.validation == "test",
            "seed": config.seed,
            "epochs": epochs,
            "seconds": sum(line["seconds"] for line in history),
            "images_per_second": float(np.median([line["images_per_second"] for line in history])),
            **record.environment(),
            "data": self.about["data"],
            "config_file": self.about.get("config_file"),
        }
        self.files.write_result(result)
        record.say(record.closing_lines(config, result, self.files))
        self.events.close()
        if self.events.problem:
            record.say(f"no TensorBoard events were written ({self.events.problem})")
        return result
