"""Trains the same on one device and on several, simulated on the processor, and says how far apart they come out.

    python -m benchmarks.devices simple_cnn plateau_cnn --data_dir=FOLDER --folder=benchmarks/results

For every config and number of devices: the weights after 30 steps on MNIST, in float64 and in float32, each relative to
their own size; and the losses of two epochs of the first images, overlaid in FOLDER/devices_CONFIG.png. Everything is
in FOLDER/devices_CONFIG.json too. Convolutions are matrix products: the compiled ones know float32 alone.

The measure of it is what rounding does to one device's training: its weights in float32 against those in float64.
Training makes rounding grow, and at the kink of a ReLU or where pixels tie in pooling the last bit decides which way a
gradient goes; `--set=model.activation=tanh --set=model.pool=0` trains without either.
"""

from collections.abc import Iterator, Sequence
import contextlib
import importlib
import json
import pathlib
import sys
from typing import Any
from unittest import mock

from absl import flags

from benchmarks import results
from digits import command_line
from digits.analysis.figures.style import COLOURS, DPI, png, styled
from digits.config.values import convert, folder_name, with_values
from digits.errors import UserError

_FLAGS = flags.FlagValues()
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_FOLDER = flags.DEFINE_string("folder", ".", "Where the files go.", flag_values=_FLAGS)
_STEPS = flags.DEFINE_integer("steps", 30, "Before weights are compared.", lower_bound=1, flag_values=_FLAGS)
_EXAMPLES = flags.DEFINE_integer("examples", 4001, "In the two epochs.", lower_bound=100, flag_values=_FLAGS)
_SET = flags.DEFINE_multi_string("set", [], "Changes a field: --set=batch_size=32.", flag_values=_FLAGS)
DEVICES = (1, 2, 8)
EPOCHS = 2


@contextlib.contextmanager
def _precision(dtype: Any) -> Iterator[None]:
    """Gives the network inputs of this type; everything computed from them then has it too."""
    from digits.data import transforms

    normalize = transforms.normalize
    with mock.patch.object(transforms, "normalize", lambda images, how: normalize(images, how).astype(dtype)):
        yield


def train(config, images, labels, devices: int, dtype: Any, epochs: int = 1) -> tuple[Any, list[float]]:
    """The weights after epochs of all images (uint8, Nx28x28) in their config's order, and the loss of every step.

    The weights at the start are float32's, whatever `dtype` is.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from digits import models
    from digits.models import families
    from digits.runtime.devices import Devices
    from digits.training import step

    devices = Devices.of(jax.devices()[:devices])
    graphdef = families.parts(models.outline(config.model, 10))[0]
    steps = -(-len(labels) // config.batch_size)
    run_steps = step.make_run_steps(
        step.make_train_step(config, graphdef, steps), len(labels), config.batch_size, devices.count
    )
    run = devices.jit(devices.each(run_steps), donate_argnums=(0, 1))

    def as_dtype(a):
        return a.astype(np.float32).astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a

    state = devices.put(jax.tree.map(as_dtype, jax.device_get(step.init_state(config, 10))))
    images, labels = devices.put((images, labels))
    zero = jax.tree.map(as_dtype, jax.device_get(step.TrainMetrics.empty()))
    losses = []
    with _precision(dtype):
        for epoch in range(1, epochs + 1):
            order = devices.put(np.asarray(step.shuffled(config.seed, epoch, len(labels))))
            for number in range(steps):
                totals = devices.put(zero)
                state, totals = run(state, totals, (images, labels), order, np.int32(number), np.int32(number + 1))
                losses.append(float(totals.loss.compute()))
    return jax.device_get(state.params), losses


def differences(one: Any, other: Any) -> tuple[float, float]:
    """||a - b|| / ||a|| over all weights together, and the largest of those of one array."""
    import jax
    import numpy as np

    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(*map(jax.tree.leaves, (one, other)))
    ]
    apart = [float(np.linalg.norm((a - b).ravel())) for a, b in pairs]
    size = [float(np.linalg.norm(a.ravel())) for a, _ in pairs]
    return float(np.linalg.norm(apart) / np.linalg.norm(size)), max(a / s for a, s in zip(apart, size) if s)


def compare(name: str, config, images, labels, steps: int, examples: int) -> dict[str, Any]:
    """All comparisons of a config, each said as soon as it is there."""
    import numpy as np

    found = {"model": name, "steps": steps, "examples": examples, "weights": [], "losses": {}}
    weights = {}

    def tell(dtype: str, devices: int, than: tuple[str, int]) -> None:
        together, worst = differences(weights[than], weights[dtype, devices])
        found["weights"].append(
            {"dtype": dtype, "devices": devices, "than": list(than), "all": together, "worst_array": worst}
        )
        print(f"{name}, {dtype}, {steps} steps, {devices} device{'s' * (devices > 1)} against {than[1]} in {than[0]}: "
              f"{together:.1e} over all weights, {worst:.1e} in the array that differs most", flush=True)  # fmt: skip

    count = steps * config.batch_size
    for dtype in ("float64", "float32"):
        for devices in DEVICES:
            weights[dtype, devices], _ = train(config, images[:count], labels[:count], devices, np.dtype(dtype))
            if devices > 1:
                tell(dtype, devices, (dtype, 1))
    tell("float32", 1, ("float64", 1))
    for devices in DEVICES:
        found["losses"][devices] = train(config, images[:examples], labels[:examples], devices, np.float32, EPOCHS)[1]
    first, *others = (np.asarray(losses) for losses in found["losses"].values())
    apart = [float(np.abs(other / first - 1).max()) for other in others]
    print(f"{name}, float32, losses of {len(first)} steps: at most {max(apart):.1e} apart", flush=True)
    return found


@styled
def picture(found: dict[str, Any]) -> bytes:
    """The losses of every step of all numbers of devices, one over the other, as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    styles = zip((5, 2.5, 1), COLOURS[:3], found["losses"].items(), strict=True)
    for width, colour, (devices, losses) in styles:
        axes.plot(
            range(1, len(losses) + 1), losses, lw=width, color=colour, label=f"{devices} device{'s' * (devices > 1)}"
        )
    axes.set(yscale="log", xlabel="step", ylabel="training loss (nats)", title=found["title"])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False)
    return png(figure)


def _main(names: Sequence[str]) -> int:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    jax.config.update("jax_enable_x64", True)
    from digits import data

    folder = pathlib.Path(_FOLDER.value)
    if not folder.is_dir():
        raise UserError(f"--folder is {_FOLDER.value!r}, which is no folder.")
    if not names:
        raise UserError("No config is named: name files of configs/, such as simple_cnn.")
    for pair in _SET.value:
        if "=" not in pair:
            raise UserError(f"--set is {pair!r}, but it must be FIELD=VALUE, such as batch_size=32.")
    changes = dict(pair.split("=", 1) for pair in _SET.value)
    configs = {}
    for name in names:
        if not pathlib.Path(f"configs/{name}.py").exists():
            raise UserError(f"{name!r} is no config: there is no configs/{name}.py.")
        config = importlib.import_module(f"configs.{name}").get_config()
        values = {field: convert(field, value) for field, value in changes.items()}
        configs[name] = with_values(config, {**values, "model.convolution": "dot"})
    dataset = data.load("mnist", _DATA_DIR.value)
    for name, config in configs.items():
        title = ",".join([name, *([folder_name(changes)] if changes else [])])
        found = {"kind": "devices", "title": title, "overrides": _SET.value}
        found |= compare(name, config, dataset.train_images, dataset.train_labels, _STEPS.value, _EXAMPLES.value)
        found |= {"machine": results.computer({}), **results.origin("benchmarks.devices", sys.argv[1:])}
        (folder / f"devices_{title}.json").write_text(json.dumps(found, indent=1) + "\n")
        (folder / f"devices_{title}.png").write_bytes(picture(found))
    return 0


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="configs")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
