"""Trains an epoch on one and on several simulated devices; tests/runtime/devices_test.py runs it as a process.

Prints as JSON, by case and number of devices, the largest difference of every kind of array from one device's, relative
to the array's largest value. It is a process of its own, because devices are simulated before JAX starts.
"""

import json

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from configs import base  # noqa: E402
from digits import models  # noqa: E402
from digits.config.values import with_values  # noqa: E402
from digits.data import transforms  # noqa: E402
from digits.models import families, inference  # noqa: E402
from digits.runtime.devices import Devices  # noqa: E402
from digits.training import step  # noqa: E402

EXAMPLES = 133  # Thirteen batches of 10 and one of 3: of eight devices some have no example of it.
EVERYTHING = {
    "model.family": "cnn", "model.blocks": ((4,), (4,)), "model.kernel_size": 3, "model.pool": 2,
    "model.stride": (2, 1), "model.separable": (False, True), "model.global_pool": "average",
    "model.batch_norm": "conv", "model.block_dropout": 0.25, "model.hidden": (8,), "model.hidden_batch_norm": True,
    "model.hidden_dropout": 0.3, "model.hidden_l2": 0.01, "label_smoothing": 0.1,
    "augment.rotation": 10.0, "augment.zoom": 0.1, "augment.width_shift": 0.1, "augment.elastic": 1.0,
    "augment.erasing": 0.3, "optimizer.clip_norm": 1.0,
}  # fmt: skip
CASES = {
    "everything": EVERYTHING | {"model.convolution": "stock", "batch_size": 10},
    # Only the fields that concern the network, because compiling takes long; the other case has all fields.
    "native": {key: value for key, value in EVERYTHING.items() if key.startswith("model.")}
    | {"optimizer.name": "sgd", "model.convolution": "auto", "batch_size": 16},
}


def as_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64) if a.dtype == np.float32 else np.asarray(a), tree)


def difference(one, other):
    """The largest difference of two trees, relative to the largest value of each array."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max((float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs), default=0.0)


def main():
    rng, found = np.random.default_rng(0), {}
    images = rng.integers(0, 256, (EXAMPLES, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, EXAMPLES).astype(np.uint8)
    normalize = transforms.normalize
    for name, values in CASES.items():
        exact = name == "everything"
        # The compiled convolutions know float32 alone.
        kind = jnp.float64 if exact else jnp.float32
        transforms.normalize = lambda x, how, kind=kind: normalize(x, how).astype(kind)
        config = with_values(base.get_config(), values)
        graphdef = families.parts(models.outline(config.model, 10))[0]
        steps = -(-EXAMPLES // config.batch_size)
        train_step = step.make_train_step(config, graphdef, steps)
        state, totals = jax.device_get((step.init_state(config, 10), step.TrainMetrics.empty()))
        state = jax.tree.map(lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, state)
        start = as_float64((state, totals)) if exact else (state, totals)
        results = {}
        for count in (1, 8 if exact else 2):
            devices = Devices.of(jax.devices()[:count])
            run = devices.jit(
                devices.each(step.make_run_steps(train_step, EXAMPLES, config.batch_size, count)),
                compiler_options={"xla_backend_optimization_level": 0},
            )
            order = np.asarray(step.shuffled(0, 1, EXAMPLES))
            state, totals = run(
                *devices.put(start), devices.put((images, labels)), devices.put(order), np.int32(0), np.int32(steps)
            )
            compute = inference.make_evaluate(graphdef, "unit", 20, devices)
            tested = compute(state.params, state.stats, *devices.put((images, labels)))
            results[count] = jax.device_get((state.params, state.stats, state.opt_state, totals)), tested
            if count > 1:
                (one, tested_by_one), (several, _) = results[1], results[count]
                parts = dict(
                    zip(("params", "stats", "opt_state", "totals"), zip(one, several, strict=True), strict=True)
                )
                found[f"{name} {count}"] = {part: difference(*pair) for part, pair in parts.items()} | {
                    "tested": abs(tested["loss"] / tested_by_one["loss"] - 1),
                    "accuracy": abs(tested["accuracy"] - tested_by_one["accuracy"]),
                    "trained": max(
                        float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (start[0].params, one[0])))
                    ),
                }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
