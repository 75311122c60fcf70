"""Inference: logits of a network, and its exact loss and accuracy."""

from collections.abc import Callable
import functools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from digits.data import transforms
from digits.models import families
from digits.models.families import Network
from digits.runtime.devices import Devices
from digits.runtime.environment import settings


def make_predict(graphdef: nnx.GraphDef, normalization: str) -> Callable[[dict, dict, jax.Array], jax.Array]:
    """Makes the function (params, stats, images) -> logits, NxK, for images of Nx28x28 with pixels of 0 to 255."""

    def predict(params, stats, images):
        return nnx.merge(graphdef, params, stats)(transforms.normalize(images, normalization))

    return predict


@functools.partial(jax.jit, static_argnums=(0, 1))
def _logits(graphdef: nnx.GraphDef, normalization: str, params: dict, stats: dict, images: jax.Array) -> jax.Array:
    """Computes logits; compiled once for all networks with equal first arguments."""
    return make_predict(graphdef, normalization)(params, stats, images)


@settings()
def logits(model: Network, normalization: str, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
    """Computes logits, NxK, of images of Nx28x28 with pixels of 0 to 255.

    `model` is the result of `families.for_evaluation`: networks that are equal then share a compiled program.
    """
    graphdef, params, stats = families.parts(model)
    batches = np.split(images, range(batch_size, len(images), batch_size))
    return np.concatenate(jax.device_get([_logits(graphdef, normalization, params, stats, batch) for batch in batches]))


def make_evaluate(
    graphdef: nnx.GraphDef,
    normalization: str,
    batch_size: int,
    devices: Devices = Devices(),
    compiler_options: dict[str, Any] | None = None,
) -> Callable[..., dict[str, float]]:
    """Makes the function (params, stats, images, labels, numbers=None) -> {"loss", "accuracy"}, exact for any count.

        make_evaluate(graphdef, "unit", batch_size=1000)(params, stats, images, labels)["accuracy"]

    Sums over batches, the last one padded and masked, are divided once by the number of examples. The loss is the mean
    cross-entropy in nats plus the network's L2 penalty, as Keras reports it; `numbers` may hold other L2 factors than
    the network's own, as `config.model` does. Several devices share the batches. `compiler_options` are of `jax.jit`.
    """
    predict = make_predict(graphdef, normalization)

    def of_batches(params, stats, *batches):
        def of_batch(batch):
            images, labels, mask = batch
            logits = predict(params, stats, images)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32))
            return jnp.sum(jnp.where(mask, losses, 0)), jnp.sum(mask & (logits.argmax(-1) == labels))

        return jax.lax.map(of_batch, batches)

    @functools.partial(devices.jit, compiler_options=compiler_options)
    def sums(params, stats, images, labels, numbers):
        count = len(labels)
        size = min(batch_size, count)
        padding = -count % (size * devices.count)
        batches = [
            jnp.pad(a, ((0, padding), *[(0, 0)] * (a.ndim - 1))).reshape(-1, size, *a.shape[1:])
            for a in (images, labels, jnp.ones(count, bool))
        ]

        shared = devices.each(of_batches, split=(2, 3, 4))(params, stats, *batches)
        return shared, families.penalty(nnx.merge(graphdef, params, stats), numbers)

    def evaluate(params, stats, images, labels, numbers=None):
        (losses, correct), penalty = jax.device_get(sums(params, stats, images, labels, numbers))
        # The batches' sums are added in float64: float32 would lose digits over many small batches.
        loss = losses.sum(dtype=np.float64) / len(labels) + float(penalty)
        return {"loss": float(loss), "accuracy": int(correct.sum()) / len(labels)}

    return evaluate
