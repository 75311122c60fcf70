"""Prints the figures of Keras 3's progress bar for notebook 004's networks, beside the right ones.

    python -m experiments.progress_bar --data_dir=FOLDER
    python -m experiments.progress_bar --data_dir=FOLDER simple_cnn_batchnorm

A metric's value after a step is already the mean since the epoch's beginning. The bar shows the mean of these means
(github.com/keras-team/keras, issues 19934, 20788 and 21301), and so counts an epoch's first steps many times. In the
first epoch they are its worst steps. In later epochs they are often its best, unless dropout is on, because the images
of the epoch before are still remembered. The notebook's histories are lost; its training losses and accuracies are the
bar's.
"""

from collections.abc import Iterator
import importlib
import sys

from absl import flags
from ml_collections import ConfigDict

from digits import command_line
from digits.errors import UserError
from digits.runs.documented import reported

_FLAGS = flags.FlagValues()
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
CONFIGS = ("simple_cnn", "simple_cnn_dropout", "simple_cnn_batchnorm")


def epochs(config: ConfigDict, dataset) -> Iterator[dict[str, tuple[float, float]]]:
    """Trains and yields, for every epoch, (mean of means, mean) of the training loss, in nats, and of the accuracy.

    The config must have a learning rate that no rule changes between epochs.
    """
    import jax
    import numpy as np

    from digits.runtime.environment import prepare_jax
    from digits.training.program import Shared
    from digits.training.step import TrainMetrics

    prepare_jax(config)
    shared = Shared(lambda: dataset)
    examples = shared.examples(config)
    program = shared.program(config, examples)
    program.compile(examples)
    state, _ = program.init(config)
    for epoch in range(1, config.epochs + 1):
        totals, means = jax.device_put(TrainMetrics.empty()), {"loss": [], "accuracy": []}
        order = program.order(config.seed, epoch)
        for step in range(program.steps_per_epoch):
            state, totals = program.compiled(state, totals, examples.train, order, np.int32(step), np.int32(step + 1))
            means["loss"].append(float(totals.loss.compute()))
            means["accuracy"].append(float(totals.accuracy.compute()))
        yield {name: (float(np.mean(values)), values[-1]) for name, values in means.items()}


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="configs")


def _main(names: list[str]) -> int:
    for name in names:
        if name not in CONFIGS:
            raise UserError(f"{name!r} is no config of notebook 004, which are {', '.join(CONFIGS)}.")
    from digits import data

    dataset = data.load("mnist", _DATA_DIR.value)
    for name in names or CONFIGS:
        config, history = importlib.import_module(f"configs.{name}").get_config(), reported()[name]["history"]
        for epoch, found in enumerate(epochs(config, dataset), start=1):
            for metric, (shown, right) in found.items():
                print(
                    f"{name}, epoch {epoch}, {metric}: {shown:.4f} as the bar has it, {right:.4f} the mean; "
                    f"printed {history[metric][epoch - 1]:.4f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
