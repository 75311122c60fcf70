"""Training: the state, the pure step, the compiled epoch, and the loop over epochs that records and checkpoints."""

from collections.abc import Callable
import dataclasses
import functools
import os
import signal
import time
from typing import Any
import zlib

from flax import nnx, struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from digits import augment, data, evaluate, models, optimizer, record
from digits.errors import require

# How long one call of the compiled epoch should take: the bar moves smoothly, a signal is heard soon.
_SECONDS_BETWEEN_UPDATES = 0.5
_SECONDS_BETWEEN_LOOKS = 3.0


@struct.dataclass
class TrainState:
    """Everything that a training carries from step to step."""

    step: jax.Array  # Updates so far.
    seed: jax.Array  # Every random stream derives from it.
    params: dict  # Trained parameters.
    stats: dict  # BatchNorm's moving mean and variance.
    opt_state: Any
    learning_rate: jax.Array  # Before the schedule's factor; the plateau rule lowers it.


class Interrupted(Exception):
    """The run was stopped by a signal, and saved."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


def stream(seed: int | jax.Array, purpose: str, index: int | jax.Array = 0) -> jax.Array:
    """The random key of a purpose ("params", "shuffle", "augment", "dropout") at an epoch or step."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
    return jax.random.fold_in(key, index)


def make_train_step(config: ConfigDict, graphdef: nnx.GraphDef, steps_per_epoch: int) -> Callable:
    """Returns the pure step: (state, (images, labels)) -> (state, metrics).

    Images are uint8, Nx28x28; metrics are the sums over the batch of loss (the L2 penalty counted once an image), of
    right predictions, and of images.
    """
    tx = optimizer.build(config.optimizer)
    rate = optimizer.learning_rate(config.schedule, config.epochs, steps_per_epoch)

    def train_step(state, batch):
        images, labels = batch
        images = augment.random_affine(
            stream(state.seed, "augment", state.step), images.astype(jnp.float32)[..., None], config.augment
        )
        images = data.normalize(images, config.data.normalization)

        def loss_fn(params):
            model = nnx.merge(graphdef, params, state.stats)
            logits = model(images, key=stream(state.seed, "dropout", state.step))
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean() + models.penalty(model), (logits, models.split(model)[2])

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = tx.update(
            grads, state.opt_state, state.params, learning_rate=rate(state.step, state.learning_rate)
        )
        metrics = {"loss": loss * len(labels), "correct": jnp.sum(logits.argmax(-1) == labels), "count": len(labels)}
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, stats=stats, opt_state=opt_state), metrics

    return train_step


def zero_totals() -> dict[str, jax.Array]:
    """The running sums of the step's metrics at the start of an epoch."""
    return {"loss": jnp.zeros(()), "correct": jnp.zeros((), jnp.int32), "count": jnp.zeros((), jnp.int32)}


def make_run_steps(train_step: Callable, examples: int, batch_size: int) -> Callable:
    """Returns (state, totals, images, labels, order, start, stop) -> (state, totals): steps `start` to `stop` of an epoch.

    The whole epoch is one compiled loop over gathered batches and one step for the partial batch at its end. The
    bounds are arguments: cutting an epoch into several calls runs the same program, hence gives the same bits.
    """
    full, rest = divmod(examples, batch_size)

    def run_steps(state, totals, images, labels, order, start, stop):
        def one(carry, index):
            state, metrics = train_step(carry[0], (images[index], labels[index].astype(jnp.int32)))
            return state, jax.tree.map(jnp.add, carry[1], metrics)

        def body(i, carry):
            return one(carry, jax.lax.dynamic_slice(order, (i * batch_size,), (batch_size,)))

        carry = jax.lax.fori_loop(start, jnp.minimum(stop, full), body, (state, totals))
        if rest:
            carry = jax.lax.cond(stop > full, lambda c: one(c, order[full * batch_size :]), lambda c: c, carry)
        return carry

    return run_steps


@functools.partial(jax.jit, static_argnums=2)
def shuffled(seed: jax.Array, epoch: jax.Array, examples: int) -> jax.Array:
    """The order of the training examples in an epoch (from 1)."""
    return jax.random.permutation(stream(seed, "shuffle", epoch), examples)


def init_state(config: ConfigDict, classes: int, seed: jax.Array) -> TrainState:
    """The state before the first step."""
    _, params, stats = models.split(models.build(config.model, classes, stream(seed, "params")))
    opt_state = optimizer.build(config.optimizer).init(params)
    rate = jnp.asarray(config.optimizer.learning_rate, jnp.float32)
    return TrainState(jnp.zeros((), jnp.int32), jnp.asarray(seed), params, stats, opt_state, rate)


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
        self.signal = None

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
        handlers = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
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
        self.checkpoints = None
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
        self.epoch, self.step_in_epoch, self.seconds, self.steps_per_second = 0, 0, 0.0, None
        self.plateau = optimizer.Plateau(config.optimizer.learning_rate)
        self.stopping = optimizer.EarlyStopping()
        record.say(f"compiled in {time.perf_counter() - started:.1f} s")
        if self.files.checkpoints.is_dir():
            self._resume()

    def _open_checkpoints(self):
        # Orbax takes a second to import: not before the first epoch has been trained.
        from digits import checkpoint

        self.checkpoints = self.checkpoints or checkpoint.Checkpoints(self.files.checkpoints)
        return self.checkpoints

    def _saved(self) -> dict[str, Any]:
        return {"train": dataclasses.asdict(self.state) | {"opt_state": self.state.opt_state}, "totals": self.totals}

    def _resume(self) -> None:
        checkpoints = self._open_checkpoints()
        step = checkpoints.latest_step()
        if step is None:
            return
        self._restore(step)
        self.files.truncate(self.epoch)
        place = f"epoch {self.epoch + 1}, step {self.step_in_epoch + 1}" if self.step_in_epoch else f"epoch {self.epoch + 1}"
        record.say(f"resuming {self.files.path} at {place}")
        for line in self.files.history():
            record.say(record.epoch_line(line, self.config.epochs))

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
            # Before anything was measured, a fiftieth of an epoch.
            chunk = max(1, round(wanted * self.steps_per_second) if self.steps_per_second else self.steps_per_epoch // 50)
            start, stop = self.step_in_epoch, min(self.step_in_epoch + chunk, self.steps_per_epoch)
            before = time.perf_counter()
            self.state, self.totals = self.run_steps(
                self.state, self.totals, *self.train, order, np.int32(start), np.int32(stop)
            )
            jax.block_until_ready(self.totals)
            self.steps_per_second = (stop - start) / (time.perf_counter() - before)
            self.step_in_epoch = stop
            progress.update(min(stop * config.batch_size, self.examples) - start * config.batch_size)
            if self.signal and stop < self.steps_per_epoch:
                progress.close()
                self.seconds += time.perf_counter() - started
                self._stop_here()
        progress.close()
        self._end_epoch(self.seconds + time.perf_counter() - started)
        if self.signal and self.epoch < config.epochs:
            self._stop_here()

    def _stop_here(self) -> None:
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        if self._open_checkpoints().latest_step() != step:
            self._save()
        self.checkpoints.close()
        name = signal.Signals(self.signal).name
        message = f"Stopped by {name} and saved in {self.files.path}. The same command, with --workdir={self.files.path}, goes on."
        raise Interrupted(self.signal, message)

    def _evaluate(self, examples) -> dict[str, float]:
        return self.evaluate(self.state.params, self.state.stats, *examples)

    def _end_epoch(self, seconds: float) -> None:
        """Validates, records, applies the plateau and early-stopping rules, checkpoints."""
        config = self.config
        self.epoch, self.step_in_epoch, self.seconds = self.epoch + 1, 0, 0.0
        rate = optimizer.learning_rate(config.schedule, config.epochs, self.steps_per_epoch)
        totals = jax.device_get(self.totals)
        metrics = {"loss": float(totals["loss"] / totals["count"]), "accuracy": float(totals["correct"] / totals["count"])}
        validated = self._evaluate(self.validation) if self.validation else dict.fromkeys(metrics)
        metrics |= {f"val_{key}": value for key, value in validated.items()}
        line = {
            "epoch": self.epoch,
            **metrics,
            "learning_rate": float(rate(self.state.step - 1, self.state.learning_rate)),
            "seconds": seconds,
            "images_per_second": self.examples / seconds,
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
