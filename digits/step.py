"""The engine: the training state, the pure step, and the epoch as one compiled loop over it."""

from collections.abc import Callable
import contextlib
import functools
from typing import Any
import zlib

from flax import nnx, struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from digits import augment, data, models, optimizer, scalars
from digits.parallel import Shard
from digits.scalars import is_on


@struct.dataclass
class TrainState:
    """Everything that a training carries from step to step."""

    step: jax.Array  # Updates so far.
    seed: jax.Array  # Every random stream derives from it.
    params: dict  # Trained parameters.
    stats: dict  # BatchNorm's moving mean and variance.
    opt_state: Any
    learning_rate: jax.Array  # Before the schedule's factor; the plateau rule lowers it.
    scalars: dict  # The config's other numbers, by field: `scalars.of`.


def stream(seed: int | jax.Array, purpose: str, index: int | jax.Array = 0) -> jax.Array:
    """The random key of a purpose ("params", "shuffle", "augment", "dropout") at an epoch or step."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
    return jax.random.fold_in(key, index)


def make_train_step(config: ConfigDict, graphdef: nnx.GraphDef, steps_per_epoch: int) -> Callable:
    """Returns the pure step: (state, (images, labels), shard) -> (state, metrics).

    Images are uint8, Nx28x28; metrics are the sums over the batch of loss (the L2 penalty counted once an image), of
    right predictions, and of images. With a shard they are its rows, and the metrics those of the batch. Of `config`
    only the structure counts: its numbers are those of the state.
    """

    def train_step(state, batch, shard=None):
        own = scalars.put(config, state.scalars)
        tx = optimizer.build(own.optimizer)
        rate = optimizer.learning_rate(own.schedule, config.epochs, steps_per_epoch)
        images, labels = batch
        shard = shard or Shard(len(labels))
        images = augment.random_affine(
            stream(state.seed, "augment", state.step), images.astype(jnp.float32)[..., None], own.augment, shard
        )
        images = data.normalize(images, config.data.normalization)

        def loss_fn(params):
            model = nnx.merge(graphdef, params, state.stats)
            logits = model(images, stream(state.seed, "dropout", state.step), own.model, shard)
            losses = cross_entropy(logits, labels, own.label_smoothing)
            loss = shard.mean(losses) + models.penalty(model, own.model) / shard.devices
            return loss, (logits, models.split(model)[2])

        (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        right = shard.real(logits.argmax(-1) == labels).sum()
        loss, right, grads = shard.total((loss, right, grads))
        updates, opt_state = tx.update(
            grads, state.opt_state, state.params, learning_rate=rate(state.step, state.learning_rate)
        )
        metrics = {"loss": loss * shard.batch, "correct": right, "count": shard.batch}
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, stats=stats, opt_state=opt_state), metrics

    return train_step


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float | jax.Array) -> jax.Array:
    """The cross-entropy of each example, in nats, with labels smoothed as Keras does (Szegedy et al. 2016, section 7)."""
    if not is_on(smoothing):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))


def zero_totals() -> dict[str, jax.Array]:
    """The running sums of the step's metrics at the start of an epoch.

    `lost` counts the steps from the first one on whose loss is no finite number.
    """
    counts = {name: jnp.zeros((), jnp.int32) for name in ("correct", "count", "lost")}
    return {"loss": jnp.zeros(()), **counts}


def make_run_steps(train_step: Callable, examples: int, batch_size: int, devices: int = 1) -> Callable:
    """Returns (state, totals, images, labels, order, start, stop) -> (state, totals): steps `start` to `stop` of an epoch.

    The whole epoch is one compiled loop over gathered batches and one step for the partial batch at its end. The
    bounds are arguments: cutting an epoch into several calls runs the same program, hence gives the same bits. It is what
    each of several `devices` calls.
    """
    full, rest = divmod(examples, batch_size)

    def run_steps(state, totals, images, labels, order, start, stop):
        def one(carry, index):
            shard = Shard(len(index), devices)
            own = shard.own(index)
            state, metrics = train_step(carry[0], (images[own], labels[own].astype(jnp.int32)), shard)
            lost = (carry[1]["lost"] > 0) | ~jnp.isfinite(metrics["loss"])
            return state, jax.tree.map(jnp.add, carry[1], metrics | {"lost": lost.astype(jnp.int32)})

        def body(i, carry):
            return one(carry, jax.lax.dynamic_slice(order, (i * batch_size,), (batch_size,)))

        carry = jax.lax.fori_loop(start, jnp.minimum(stop, full), body, (state, totals))
        if rest:
            carry = jax.lax.cond(stop > full, lambda c: one(c, order[full * batch_size :]), lambda c: c, carry)
        return carry

    return run_steps


def compiler_options(config: ConfigDict) -> dict[str, Any]:
    """What XLA must be told of everything that a run computes."""
    # Scatters, convolutions and products whose additions have no fixed order become others, and none is chosen by timing.
    return {"xla_gpu_deterministic_ops": True} if config.deterministic and jax.default_backend() == "gpu" else {}


def compile_steps(lowered: jax.stages.Lowered, config: ConfigDict) -> jax.stages.Compiled:
    """Compiles a lowered `run_steps` with the options that are the fastest for the config's family on this backend."""
    needed = compiler_options(config)
    if jax.default_backend() == "cpu" and config.model.family == "dense":
        # The small products of a dense network: 1.5 times as fast a step with Eigen's as with YNNPACK's.
        faster = {"xla_cpu_experimental_ynn_fusion_type": ""}
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # Another XLA may not know the option.
            return lowered.compile(compiler_options=needed | faster)
    return lowered.compile(compiler_options=needed)


@functools.partial(jax.jit, static_argnums=2)
def shuffled(seed: jax.Array, epoch: jax.Array, examples: int) -> jax.Array:
    """The order of the training examples in an epoch (from 1)."""
    return jax.random.permutation(stream(seed, "shuffle", epoch), examples)


def numbers_of(config: ConfigDict) -> dict[str, Any]:
    """What `init_state` is given of a config: its seed, learning rate and other scalars, as arrays."""
    array = lambda value: np.asarray(value, jax.dtypes.canonicalize_dtype(float))
    return {
        "seed": np.int32(config.seed),
        "learning_rate": array(config.optimizer.learning_rate),
        "scalars": jax.tree.map(array, scalars.of(config)),
    }


def init_state(config: ConfigDict, classes: int, numbers: dict[str, Any] | None = None) -> TrainState:
    """The state before the first step; `numbers` are those of another config of the same structure."""
    numbers = numbers or numbers_of(config)
    _, params, stats = models.split(models.build(config.model, classes, stream(numbers["seed"], "params")))
    opt_state = optimizer.build(config.optimizer).init(params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        stats=stats,
        opt_state=opt_state,
        **jax.tree.map(jnp.asarray, numbers),
    )
