"""What Keras 3's progress bar would show after the first epoch of notebook 004's networks, beside what it should.

    python -m experiments.progress_bar --data_dir=FOLDER

The bar shows the mean, over the steps so far, of a metric that is a mean since the epoch's beginning itself
(github.com/keras-team/keras, issues 19934, 20788 and 21301), and so counts the first steps many times. The notebook's
histories are lost; its training losses and accuracies are those of the bar.
"""

import importlib
import sys

from absl import flags

from digits import commands

_FLAGS = flags.FlagValues()
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
CONFIGS = ("simple_cnn", "simple_cnn_dropout", "simple_cnn_batchnorm")


def first_epoch(config, dataset) -> dict[str, tuple[float, float]]:
    """(mean of means, mean) of the training loss, in nats, and of the training accuracy of the first epoch."""
    import numpy as np

    from digits.program import Shared, prepare_jax

    prepare_jax(config)
    shared = Shared(lambda: dataset)
    examples = shared.examples(config)
    program = shared.program(config, examples)
    program.compile(examples)
    state, totals = program.init(config)
    order, means = program.order(config.seed, 1), {"loss": [], "accuracy": []}
    for step in range(program.steps_per_epoch):
        state, totals = program.compiled(state, totals, *examples.train, order, np.int32(step), np.int32(step + 1))
        means["loss"].append(float(totals["loss"] / totals["count"]))
        means["accuracy"].append(float(totals["correct"] / totals["count"]))
    return {name: (float(np.mean(values)), values[-1]) for name, values in means.items()}


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    return commands.run(argv, __name__, _FLAGS, lambda _: _main())


def _main() -> int:
    from digits import data
    from digits.documented import reported

    dataset = data.load("mnist", _DATA_DIR.value)
    for name in CONFIGS:
        config = importlib.import_module(f"configs.{name}").get_config()
        for metric, (shown, right) in first_epoch(config, dataset).items():
            printed = reported()[name]["history"][metric][0]
            print(
                f"{name}, {metric}: {shown:.4f} as the bar has it, {right:.4f} the mean; printed {printed:.4f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
