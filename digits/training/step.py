"""The engine: the training state, the pure step, the epoch as one compiled loop, and their metrics."""

from collections.abc import Callable
import contextlib
import functools
from typing import Any, NamedTuple
import zlib

from clu import metrics
from flax import nnx, struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from digits import models
from digits.config import numbers as config_numbers
from digits.config.numbers import Number, Numbers
from digits.data import transforms
from digits.models import families
from digits.runtime import private
from digits.runtime.devices import Shard
from digits.training import optimizer


class TrainState(struct.PyTreeNode):
    """The values that a training carries from step to step."""

    step: jax.Array  # Updates so far.
    seed: jax.Array  # All random streams derive from it.
    params: dict  # Trained parameters.
    stats: dict  # BatchNorm's moving mean and variance.
    opt_state: Any
    learning_rate: jax.Array  # Before the schedule's factor; the plateau rule lowers it.
    numbers: Numbers  # The config's other numbers.
    average: dict = struct.field(default_factory=dict)  # The parameters' moving average, where the config has one.

    @property
    def weights(self) -> dict:
        """The parameters of the network that is validated, tested and used."""
        return self.average or self.params


def stream(seed: int | jax.Array, purpose: str, index: int | jax.Array = 0) -> jax.Array:
    """The random key of a purpose ("params", "shuffle", "augment", "dropout") at an epoch or step."""
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), zlib.crc32(purpose.encode()))
    return jax.random.fold_in(key, index)


def make_train_step(config: ConfigDict, graphdef: nnx.GraphDef, steps_per_epoch: int) -> Callable:
    """Returns the pure step: (state, (images, labels), shard) -> (state, TrainMetrics of the batch).

        state, metrics = make_train_step(config, graphdef, 100)(state, (images, labels))

    Images are uint8, Nx28x28; with a shard, images and labels are its rows of the batch. The loss includes the L2
    penalty. The step takes the structure from `config` and the numbers from the state.
    """

    def train_step(state, batch, shard=None):
        (images, labels), numbers = batch, state.numbers
        shard = shard or Shard(len(labels))
        images = images.astype(jnp.float32)[..., None]
        images = transforms.augment(stream(state.seed, "augment", state.step), images, numbers.augment, shard)
        images = transforms.normalize(images, config.data.normalization)

        def loss_fn(params):
            model = nnx.merge(graphdef, params, state.stats)
            logits = model(images, stream(state.seed, "dropout", state.step), numbers.layers, shard)
            losses = cross_entropy(logits, labels, numbers.label_smoothing)
            loss = shard.mean(losses) + families.penalty(model, numbers.layers) / shard.devices
            return loss, (logits, families.parts(model)[2])

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        correct = shard.real(logits.argmax(-1) == labels).sum(dtype=jnp.int32)
        loss, correct, grads = shard.total((loss, correct, grads))

        schedule = optimizer.learning_rate(config.schedule.name, numbers.schedule, config.epochs, steps_per_epoch)
        rate = schedule(state.step, state.learning_rate)
        tx = optimizer.build(config.optimizer, numbers.optimizer)
        updates, opt_state = tx.update(grads, state.opt_state, state.params, learning_rate=rate)
        params = optax.apply_updates(state.params, updates)
        average = optimizer.moving_average(state.average, params, numbers.optimizer.ema_momentum, state.step)
        found = TrainMetrics.single_from_model_output(loss=loss, correct=correct, count=shard.batch)
        state = state.replace(step=state.step + 1, params=params, stats=stats, opt_state=opt_state, average=average)
        return state, found

    return train_step


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: Number | None = None) -> jax.Array:
    """The cross-entropy of each example, in nats. Labels are smoothed as in Keras (Szegedy et al. 2016, section 7)."""
    if smoothing is None:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))


def make_run_steps(train_step: Callable, examples: int, batch_size: int, devices: int = 1) -> Callable:
    """Returns (state, totals, data, order, start, stop) -> (state, totals): steps `start` to `stop` of an epoch.

        make_run_steps(train_step, examples=60000, batch_size=32)

    `data` is (images, labels), `order` the permutation of their indices. The epoch is one compiled loop over gathered
    batches, and one step for the partial batch at its end. The bounds are arguments, so that an epoch in several calls
    runs the same program and gives the same bits. Each of several `devices` calls the function.
    """
    full, rest = divmod(examples, batch_size)

    def run_steps(state, totals, data, order, start, stop):
        images, labels = data

        def one(carry, index):
            state, totals = carry
            shard = Shard(len(index), devices)
            own = shard.own(index)
            state, found = train_step(state, (images[own], labels[own].astype(jnp.int32)), shard)
            return state, totals.merge(found)

        def body(i, carry):
            return one(carry, jax.lax.dynamic_slice(order, (i * batch_size,), (batch_size,)))

        carry = jax.lax.fori_loop(start, jnp.minimum(stop, full), body, (state, totals))
        if rest:
            carry = jax.lax.cond(stop > full, lambda c: one(c, order[full * batch_size :]), lambda c: c, carry)
        return carry

    return run_steps


def compiler_options(config: ConfigDict) -> dict[str, Any]:
    """The options of XLA that every computation of a run needs."""
    if config.deterministic and jax.default_backend() == "gpu":
        # XLA then avoids operations that add in no fixed order, and chooses no algorithm by timing it.
        return {"xla_gpu_deterministic_ops": True}
    return {}


def compile_steps(lowered: jax.stages.Lowered, config: ConfigDict) -> jax.stages.Compiled:
    """Compiles a lowered `run_steps` with the options that are fastest for the config's family on this backend."""
    needed = compiler_options(config)
    if jax.default_backend() == "cpu" and config.model.family == "dense":
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # Another version of XLA may not know the option.
            return lowered.compile(compiler_options=needed | private.EIGEN_PRODUCTS)
    return lowered.compile(compiler_options=needed)


@functools.partial(jax.jit, static_argnums=2)
def shuffled(seed: jax.Array, epoch: jax.Array, examples: int) -> jax.Array:
    """The order of the training examples in an epoch (from 1)."""
    return jax.random.permutation(stream(seed, "shuffle", epoch), examples)


class StartNumbers(NamedTuple):
    """The numbers of a config with which its training begins, as arrays."""

    seed: Number
    learning_rate: Number
    numbers: Numbers


def numbers_of(config: ConfigDict) -> StartNumbers:
    """The numbers of a config for `init_state`."""

    def array(value):
        return np.asarray(value, jax.dtypes.canonicalize_dtype(float))

    rate, numbers = jax.tree.map(array, (config.optimizer.learning_rate, config_numbers.of(config)))
    return StartNumbers(np.int32(config.seed), rate, numbers)


def init_state(config: ConfigDict, classes: int, start: StartNumbers | None = None) -> TrainState:
    """The state before the first step. `start` may be of another config with the same structure."""
    start = jax.tree.map(jnp.asarray, start or numbers_of(config))
    _, params, stats = families.parts(models.build(config.model, classes, stream(start.seed, "params")))
    tx = optimizer.build(config.optimizer, start.numbers.optimizer)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        opt_state=tx.init(params),
        average=jax.tree.map(jnp.copy, params) if config.optimizer.ema_momentum else {},
        **start._asdict(),
    )


@struct.dataclass
class _Loss(metrics.Average):
    """The mean loss of the images."""

    @classmethod
    def from_model_output(cls, loss: jax.Array, count: int, **_) -> "_Loss":
        return cls(total=loss * count, count=jnp.int32(count))


@struct.dataclass
class _Accuracy(metrics.Average):
    """The share of right predictions. Both sums are whole numbers: clu's own, in float32, is exact to 2^24 only."""

    @classmethod
    def empty(cls) -> "_Accuracy":
        return cls(total=jnp.int32(0), count=jnp.int32(0))

    @classmethod
    def from_model_output(cls, correct: jax.Array, count: int, **_) -> "_Accuracy":
        return cls(total=correct, count=jnp.int32(count))


@struct.dataclass
class _StepsLost(metrics.Metric):
    """The number of steps from the first one on whose loss is not finite; 0 if all are finite."""

    count: jax.Array

    @classmethod
    def empty(cls) -> "_StepsLost":
        return cls(jnp.int32(0))

    @classmethod
    def from_model_output(cls, loss: jax.Array, count: int, **_) -> "_StepsLost":
        return cls((~jnp.isfinite(loss * count)).astype(jnp.int32))

    def merge(self, other: "_StepsLost") -> "_StepsLost":
        lost = (self.count > 0) | (other.count > 0)
        return _StepsLost(self.count + lost.astype(jnp.int32))

    def compute(self) -> jax.Array:
        return self.count


@struct.dataclass
class TrainMetrics(metrics.Collection):
    """The metrics of some steps; `empty().merge(of a step)` is the running sum of an epoch."""

    loss: _Loss
    accuracy: _Accuracy
    steps_lost: _StepsLost
