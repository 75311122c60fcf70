"""Training: the loop over epochs that records, applies the rules between epochs, checkpoints, and tests at the end."""

import concurrent.futures
import dataclasses
import os
import time
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from digits import augment, checkpoint, data, evaluate, models, optimizer, profile, record, startup
from digits.errors import UserError, require
from digits.interrupt import Interrupted, Listener
from digits.step import TrainState, compile_steps, init_state, make_run_steps, make_train_step, shuffled, zero_totals

# How long one call of the compiled epoch should take: the bar moves smoothly, a signal is heard soon.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


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
    files.check(config)
    if result := files.result():
        record.say(f"This run is finished: {files.path}. Its result:")
        record.say(record.closing_lines(config, result, files))
        return result
    start = start or startup.Start(config.data.name, data_dir)
    return _Training(config, files, start, origin or {}, profile).run()


class _Training:
    """One run from its data to its result: the host's side of the training."""

    def __init__(
        self,
        config: ConfigDict,
        files: record.Workdir,
        start: startup.Start,
        origin: dict[str, Any],
        profiled: bool,
    ):
        self.config, self.files, self.start = config, files, start
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", str(data.cache_dir() / "xla"))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        dataset = start.dataset()
        splits = data.split(dataset, config.data)
        self.examples = len(splits.train[1])
        accepted = f"at most the {self.examples:,} training examples"
        require(config.batch_size <= self.examples, "batch_size", config.batch_size, accepted)
        self.steps_per_epoch = -(-self.examples // config.batch_size)
        self.class_names = dataset.class_names
        self.model = nnx.eval_shape(lambda: models.build(config.model, len(self.class_names), jax.random.key(0)))
        self.about = {
            **origin,
            "data": {
                "digest": dataset.digest(),
                "train": self.examples,
                "validation": len(splits.validation[1]) if splits.validation else 0,
                "test": len(splits.test[1]),
            },
        }
        # Training and validation images live on the device alone; the host's arrays go with this call.
        self.train, self.validation = jax.device_put((splits.train, splits.validation))
        self.test = self.validation if config.data.validation == "test" else splits.test
        rate = optimizer.learning_rate(config.schedule, config.epochs, self.steps_per_epoch)
        self.learning_rate = jax.jit(lambda state_step, base: rate(state_step - 1, base))  # Of the last step.
        self.listener = Listener()
        self.first_step = {"seconds_to_first_step": None, "compile_seconds": None}
        self.profile = profile.Profile(files.path / "profile" if profiled else None)
        self.checkpoints = checkpoint.Checkpoints(files.checkpoints)
        # For what must not keep the training thread waiting.
        self.background = concurrent.futures.ThreadPoolExecutor(1)

    def run(self) -> dict[str, Any]:
        config = self.config
        self.files.create(config, self.about)
        self.events = record.Events(self.files.path / "tensorboard", config.tensorboard)
        try:
            with self.listener:
                self._prepare()
                while self.epoch < config.epochs and not self.stopping.stop:
                    self._train_epoch()
                return self._finish()
        finally:
            self.profile.close()
            self.background.shutdown()
            self.checkpoints.close()
            self.events.close()

    def _prepare(self) -> None:
        """Compiles the program, and meanwhile makes the state, fresh or from the latest checkpoint."""
        config, seed, zero = self.config, np.int32(self.config.seed), np.int32(0)
        began = time.perf_counter()
        graphdef, _, _ = models.split(self.model)
        train_step = make_train_step(config, graphdef, self.steps_per_epoch)
        run_steps = make_run_steps(train_step, self.examples, config.batch_size)
        init = jax.jit(lambda seed: (init_state(config, len(self.class_names), seed), zero_totals())).trace(seed)
        order = jax.ShapeDtypeStruct((self.examples,), jnp.int32)
        lowered = jax.jit(run_steps, donate_argnums=(0, 1)).lower(*init.out_info, *self.train, order, zero, zero)
        # XLA needs no Python, what follows little else.
        compiled = self.background.submit(compile_steps, lowered, config)
        self.state, self.totals = init.lower().compile()(seed)
        self.epoch, self.step_in_epoch, self.seconds = 0, 0, 0.0
        self.seconds_per_step = None
        self.plateau = optimizer.Plateau(config.optimizer.learning_rate)
        self.stopping = optimizer.EarlyStopping()
        self.evaluate = evaluate.make_evaluate(graphdef, config.data.normalization, config.eval_batch_size)
        record.say(models.summary(self.model))
        record.say(record.opening_line(config, self.about["data"], self.steps_per_epoch))
        if self.files.checkpoints.is_dir() and (step := self.checkpoints.latest_step()) is not None:
            self._restore(step)
            record.say(f"going on with {self.files.path} after epoch {self.epoch}, step {self.step_in_epoch}")
        # Also records of a first epoch whose checkpoint was never finished.
        self.files.truncate(self.epoch)
        for line in self.files.history():
            record.say(record.epoch_line(line, config.epochs))
        self.order = shuffled(seed, self.epoch + 1, self.examples)
        self.run_steps = compiled.result()
        self.compile_seconds = time.perf_counter() - began

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
        self.checkpoints.save(step, self._saved(), about, rank)

    def _train_epoch(self) -> None:
        config, number = self.config, self.epoch + 1
        started = began = time.perf_counter()
        order = self.order
        # On two cores it takes a tenth of a short epoch to shuffle: the next order is made beside this epoch.
        following = self.background.submit(shuffled, np.int32(config.seed), number + 1, self.examples)
        progress = record.Progress(
            number, config.epochs, self.examples, min(self.step_in_epoch * config.batch_size, self.examples)
        )
        while self.step_in_epoch < self.steps_per_epoch:
            left = (self.steps_per_epoch - self.step_in_epoch) * (self.seconds_per_step or np.inf)
            aside = self.profile.look(number, config.epochs, time.perf_counter() - began, left)
            started, began = started + aside, began + aside
            images = self._call(order)
            progress.update(images)
            if self.listener.heard and self.step_in_epoch < self.steps_per_epoch:
                progress.close()
                self.seconds += time.perf_counter() - started
                self._stop_here()
        progress.close()
        self.seconds += time.perf_counter() - started
        self.order = following.result()
        self._end_epoch()
        self.profile.end_epoch(self.epoch, time.perf_counter() - began)
        if self.listener.heard and self.epoch < config.epochs:
            self._stop_here()

    def _call(self, order: jax.Array) -> int:
        """Trains for about the wanted time, at first one step; returns the number of images."""
        often = record.shows_progress() or self.profile.active
        wanted = _SECONDS_BETWEEN_UPDATES if often else _SECONDS_BETWEEN_LOOKS
        steps = max(1, round(wanted / self.seconds_per_step)) if self.seconds_per_step else 1
        start, stop = self.step_in_epoch, min(self.step_in_epoch + steps, self.steps_per_epoch)
        before = time.perf_counter()
        with self.profile.phase("train", step=start):
            self.state, self.totals = self.run_steps(
                self.state, self.totals, *self.train, order, np.int32(start), np.int32(stop)
            )
            jax.block_until_ready(self.totals)
        first, self.seconds_per_step = not self.seconds_per_step, (time.perf_counter() - before) / (stop - start)
        if first:
            self._arrive()
        self.step_in_epoch = stop
        return min(stop * self.config.batch_size, self.examples) - start * self.config.batch_size

    def _arrive(self) -> None:
        """After the first step: notes how long it took to get there, and prepares what comes after the first epoch."""
        self.first_step = {"seconds_to_first_step": self.start.seconds(), "compile_seconds": self.compile_seconds}
        record.say(
            f"first step after {self.first_step['seconds_to_first_step']:.1f} s "
            f"(compilation {self.compile_seconds:.1f} s of it)"
        )
        self.start.arrived()
        self.checkpoints.prepare()

    def _stop_here(self) -> None:
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        if self.checkpoints.latest_step() != step:
            self._save()
        self.checkpoints.close()
        raise Interrupted(self.listener.heard, record.command(self.about, self.files))

    def _evaluate(self, examples) -> dict[str, float]:
        return self.evaluate(self.state.params, self.state.stats, *examples)

    def _end_epoch(self) -> None:
        """Validates, records, applies the plateau and early-stopping rules, checkpoints."""
        config, phase = self.config, self.profile.phase
        trained, started = self.seconds, time.perf_counter()
        self.epoch, self.step_in_epoch, self.seconds = self.epoch + 1, 0, 0.0
        with phase("evaluate"):
            metrics = self._metrics()
        with phase("record"):
            line = {
                "epoch": self.epoch,
                **metrics,
                "learning_rate": float(self.learning_rate(self.state.step, self.state.learning_rate)),
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
        if best or last or self.listener.heard or self.epoch % config.checkpoint_every == 0:
            with phase("checkpoint"):
                self._save(rank=self.epoch if best else 0)

    def _metrics(self) -> dict[str, float | None]:
        """Loss and accuracy of the epoch that ended, as running means, and of the validation set."""
        totals = jax.device_get(self.totals)
        metrics = {
            "loss": float(totals["loss"] / totals["count"]),
            "accuracy": float(totals["correct"] / totals["count"]),
        }
        if not np.isfinite(metrics["loss"]):
            raise UserError(
                f"The loss became {metrics['loss']} in epoch {self.epoch}: try a config.optimizer.learning_rate below "
                f"{self.config.optimizer.learning_rate:g}, or config.optimizer.clip_norm=1. {self.files.path} keeps "
                "the epochs before."
            )
        validated = self._evaluate(self.validation) if self.validation else dict.fromkeys(metrics)
        return metrics | {f"val_{key}": value for key, value in validated.items()}

    def _finish(self) -> dict[str, Any]:
        config, epochs = self.config, self.epoch
        if self.stopping.stop:
            record.say(f"stopped early: {config.monitor} has not improved since epoch {self.stopping.best_epoch}")
        best_epoch = self.stopping.best_epoch
        tested_epoch = best_epoch if config.early_stopping.restore_best else epochs
        if tested_epoch != epochs:
            self._restore(self.checkpoints.best_step())
            record.say(f"testing the weights of epoch {tested_epoch}, the best by {config.monitor}")
        test = self._evaluate(jax.device_put(self.test))
        self.checkpoints.close()  # The result is written last: where it stands, the checkpoints do too.
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
            **self.first_step,
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
