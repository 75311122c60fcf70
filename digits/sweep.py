"""Trains every point of a sweep, as few programs as its shapes allow, and writes
its table and figure.

    python -m digits.sweep --config=simple_cnn --sweep.seed=0:10 \\
        --sweep.optimizer.learning_rate=3e-4,1e-3,3e-3
    python -m digits.sweep --config=simple_cnn --sweep.seed=0:3 --sample=50 \\
        --sweep.optimizer.learning_rate="log(1e-4,1e-1)" \\
        --sweep.optimizer.beta_1="uniform(0.8,0.99)"
    python -m digits.sweep --config=two_conv --sweep.data.fold=0:5 \\
        --config.data.validation="folds(5)"

--sweep.FIELD takes a list (several fields: every combination), a range such as
0:10 (0 to 9), or with --sample log(a,b), uniform(a,b), int(a,b). A config file
may instead, or besides, define sweep(), a generator of points such as
{"optimizer.learning_rate": 1e-3, "model.kernel_size": 5}. The same command
goes on with a sweep that was stopped.
"""

import sys

from absl import flags

from digits import command_line

_FLAGS = command_line.FLAGS  # Of all commands that train.
_SAMPLE = flags.DEFINE_integer(
    "sample", None, "Random search: this many draws from the fields' ranges and lists.", 1, flag_values=_FLAGS
)
_SAMPLE_SEED = flags.DEFINE_integer("sample_seed", 0, "The seed of the draws of --sample.", 0, flag_values=_FLAGS)
_METRIC = flags.DEFINE_enum(
    "metric", "accuracy", ["accuracy", "loss"], "Of validation; chooses the best point.", flag_values=_FLAGS
)
_LAUNCHER = flags.DEFINE_enum(
    "launcher", "local", ["local", "ray"], "Trains here, or on a Ray cluster (RAY_ADDRESS).", flag_values=_FLAGS
)
_CPUS = flags.DEFINE_float("cpus", 1, "ray: cores that a program asks for, and runs at a time.", 0, flag_values=_FLAGS)
_GPUS = flags.DEFINE_float("gpus", 0, "ray: GPUs that a program asks for.", 0, flag_values=_FLAGS)


def flags_help() -> str:
    """Describes the flags of a sweep."""
    return command_line.flags_help(sys.modules[__name__])


def read_plan(given):
    """The `plan.Plan` of a command line; UserError for any mistake in it, or in the points."""
    command_line.refuse_flags_of_one_run()
    from digits.sweeps import plan  # Imports NumPy, for which --help and a mistyped flag should not wait.

    return plan.read(given, command_line.WORKDIR.value, _SAMPLE.value, _SAMPLE_SEED.value, _METRIC.value)


def train(plan, module: str, arguments: list[str]) -> int:
    """Trains a plan as the flags say; returns the exit code. `python -m MODULE ARGUMENTS` goes on with it.

    Raises:
      UserError: before anything was trained.
      Interrupted: every run was saved.
    """
    from digits.training import startup, tracking

    tracks = tracking.Tracking(tracking.names(command_line.TRACK.value), plan.workdir)
    data_dir = command_line.DATA_DIR.value
    starts = {config.data.name: startup.Start(config.data.name, data_dir) for config in plan.configs}
    if len(starts) == 1:
        next(iter(starts.values())).early()
    from digits.sweeps import launch  # Imports JAX, while the dataset is being read.

    launcher = launch.Launcher(_LAUNCHER.value, _CPUS.value, _GPUS.value)
    return launch.run(plan, starts, data_dir, ["python", "-m", module, *arguments], launcher, tracks)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 1 if a run failed, otherwise as digits.main."""
    return command_line.train(
        argv,
        lambda: f"{__doc__}\n{flags_help()}",
        lambda given: train(read_plan(given), "digits.sweep", argv[1:]),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
