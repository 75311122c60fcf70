"""Optimizers as Optax chains, and learning-rate schedules.

The learning rate is an argument of the update, not part of the chain's state: the step computes it from the schedule
and the base rate, which the plateau rule lowers, and calls `tx.update(grads, state, params, learning_rate=rate)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import optax
from optax.contrib import MuonDimensionNumbers

from digits.config.numbers import Number, OptimizerNumbers, ScheduleNumbers

_RMS_OF_ADAM = 0.2  # The root mean square of Adam's updates (Liu et al. 2025).


def scale_by_adam(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam with Keras's epsilon: lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon).

    Optax adds its epsilon to the bias-corrected sqrt(v), so Keras's Adam is Optax's with epsilon / sqrt(1 - b2^t). The
    two differ on tiny gradients early in training (Kingma & Ba 2015, section 2, gives both forms).
    """
    init = optax.scale_by_adam(b1, b2, epsilon).init

    def update(updates, state, params=None):
        corrected = epsilon / jnp.sqrt(1 - b2 ** (state.count + 1))
        return optax.scale_by_adam(b1, b2, corrected).update(updates, state, params)

    return optax.GradientTransformation(init, update)


def scale_by_muon(b1: float, b2: float, epsilon: float) -> optax.GradientTransformation:
    """Optax's Muon for the hidden kernels, its Adam for all else: biases, BatchNorm's parameters and the last layer.

    Muon (Jordan et al. 2024) takes the orthogonal matrix that is nearest to the momentum of a kernel, whose axes but
    the last one count as one. Its updates have the size of Adam's (Liu et al. 2025, section 2.2), so that one learning
    rate suits both.
    """

    def matrices(params):
        last = f"dense_{sum(name.startswith('dense') for name in params)}"

        def matrix(path, p):
            hidden_kernel = p.ndim > 1 and path[0].key != last
            return MuonDimensionNumbers(tuple(range(p.ndim - 1)), (p.ndim - 1,)) if hidden_kernel else None

        return jax.tree.map_with_path(matrix, params)

    return optax.contrib.muon(
        learning_rate=-1.0,  # Optax turns the sign, and `scale_by_learning_rate` turns it again.
        beta=b1,
        adam_b1=b1,
        adam_b2=b2,
        eps=epsilon,
        consistent_rms=_RMS_OF_ADAM,
        muon_weight_dimension_numbers=matrices,
    )


def scale_by_learning_rate() -> optax.GradientTransformationExtraArgs:
    """Multiplies by minus the `learning_rate` given to `update`."""

    def update(updates, state, params=None, *, learning_rate, **_):
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def decay_kernels(weight_decay: float) -> optax.GradientTransformationExtraArgs:
    """Decoupled weight decay of kernels: subtracts learning rate * `weight_decay` * kernel (Loshchilov & Hutter 2019).

    It comes last in the chain, so that neither the preconditioner nor the momentum acts on it. Biases and BatchNorm's
    scales, the parameters with one axis, do not decay.
    """

    def update(updates, state, params, *, learning_rate, **_):
        def shrink(u, p):
            return u - learning_rate * weight_decay * p if p.ndim > 1 else u

        return jax.tree.map(shrink, updates, params), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def build(config: ConfigDict, numbers: OptimizerNumbers) -> optax.GradientTransformationExtraArgs:
    """The chain of a `config.optimizer`: clipping, preconditioning, learning rate, momentum, weight decay.

    Momentum comes after the learning rate, v = m v - lr g, as in Keras, so that a changing rate acts on new gradients
    only. `config` and the switches of `numbers` decide which parts there are; `numbers` has their values, floats or
    arrays.
    """
    chain = []
    if numbers.clip_norm is not None:
        chain.append(optax.clip_by_global_norm(numbers.clip_norm))
    if config.name == "adam":
        chain.append(scale_by_adam(numbers.beta_1, numbers.beta_2, numbers.epsilon))
    elif config.name == "lion":
        chain.append(optax.scale_by_lion(numbers.beta_1, numbers.beta_2))
    elif config.name == "muon":
        chain.append(scale_by_muon(numbers.beta_1, numbers.beta_2, numbers.epsilon))
    elif config.name == "rmsprop":
        chain.append(optax.scale_by_rms(numbers.rho, numbers.epsilon, eps_in_sqrt=config.epsilon_in_sqrt))
    chain.append(scale_by_learning_rate())
    if config.name == "sgd" and numbers.momentum is not None:
        chain.append(optax.trace(numbers.momentum, nesterov=config.nesterov))
    if numbers.weight_decay is not None:
        chain.append(decay_kernels(numbers.weight_decay))
    return optax.chain(*chain)


def moving_average(average: dict, params: dict, momentum: Number | None, step: jax.Array) -> dict:
    """The moving average of the parameters after an update, as Keras's `use_ema`; {} without a momentum.

    The first update (step 0) starts it.
    """
    if momentum is None:
        return {}
    kept = jnp.where(step == 0, 0, momentum)
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, average, params)


def learning_rate(
    name: str, numbers: ScheduleNumbers, epochs: int, steps_per_epoch: int
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The schedule of a `config.schedule.name`: (step, base rate) -> the rate of that update; steps count from 0.

        learning_rate("constant", numbers, epochs=10, steps_per_epoch=100)(0, 1e-3)

    `plateau` is constant here: its rule lowers the base rate between epochs. The numbers are floats or arrays.
    """
    total = epochs * steps_per_epoch

    def factor(step):
        if name == "exponential":
            epoch = step // steps_per_epoch
            return jnp.exp(-numbers.decay * jnp.maximum(epoch - numbers.start_epoch, 0))
        if name == "inverse_time":
            return 1 / (1 + numbers.decay * step)
        if name == "cosine":
            return optax.cosine_decay_schedule(1.0, total, numbers.final_fraction)(step)
        if name == "one_cycle":
            return _one_cycle(step, total, numbers.peak_fraction, numbers.initial_divisor, numbers.final_divisor)
        return jnp.ones(())

    def rate(step, base):
        rate = base * factor(step)
        if numbers.warmup_epochs is None:
            return rate
        return rate * jnp.minimum(1.0, (step + 1) / (numbers.warmup_epochs * steps_per_epoch))

    return rate


def _one_cycle(step, total, peak_fraction, initial_divisor, final_divisor):
    """`optax.cosine_onecycle_schedule` with a peak of 1, but with settings that may be arrays.

    As in PyTorch's OneCycleLR, the final divisor divides the initial rate.
    """
    peak = jnp.floor(peak_fraction * total)
    up, down = step / jnp.maximum(peak, 1), (step - peak) / jnp.maximum(total - peak, 1)
    start, end = 1 / initial_divisor, 1 / (initial_divisor * final_divisor)

    def cosine(a, b, t):
        return b + (a - b) / 2 * (1 + jnp.cos(jnp.pi * jnp.clip(t, 0, 1)))

    return jnp.where(step < peak, cosine(start, 1.0, up), cosine(1.0, end, down))
