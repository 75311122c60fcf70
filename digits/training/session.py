"""Training from Python, in a script or a notebook: `digits.train`."""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from digits.config import experiment_files
from digits.config.values import convert, with_values
from digits.errors import UserError, refusals
from digits.runs.loaded import Run
from digits.runs.loading import load
from digits.runtime import characters, streams
from digits.runtime.signals import Interrupted
from digits.training.train import train_and_evaluate


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or a notebook's interrupt, stopped a training, which was saved."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines instead of a traceback."""
        return [str(self)]


def train(
    experiment: str | os.PathLike | ConfigDict,
    changes: Mapping[str, Any] | None = None,
    *,
    workdir: str | os.PathLike | None = None,
    data_dir: str | None = None,
    **fields: Any,
) -> Run:
    """Trains an experiment, or goes on with it, and returns the run; the same call again returns the finished run.

        run = digits.train("quickstart", epochs=3)
        wide = digits.train("two_conv", {"model.kernel_size": 5, "optimizer.learning_rate": 3e-4})

    Args:
      experiment: a name in configs/, FILE.py or FILE.py:ARGUMENT, as for `--config`; or a config itself.
      changes: values of its fields, by dotted name.
      workdir: the run's folder. By default that of the command with the same changes: runs/quickstart,epochs=3.
      data_dir: see `data.load`.
      **fields: more changes, of fields without a dot.

    Raises:
      UserError: the experiment, a change, the data or the folder do not allow it; nothing was written.
      KeyboardInterrupt: the training was interrupted; the run was saved, and the same call goes on.
    """
    streams.open_missing()
    characters.replace_missing()
    if changes is not None and not isinstance(changes, Mapping):
        raise UserError(f'changes are {changes!r}, but must be a dict, such as {{"model.kernel_size": 5}}.')
    origin, config = {}, experiment
    if not isinstance(experiment, (str, os.PathLike, ConfigDict)):
        raise UserError(f"experiment is {experiment!r}, but it must be a name, a file or a config.")
    if not isinstance(experiment, ConfigDict):
        origin["config_file"], config, _ = experiment_files.load(os.fspath(experiment))
    overrides = {field: convert(field, value, "config") for field, value in {**(changes or {}), **fields}.items()}
    if origin:
        origin["overrides"] = overrides
    elif workdir is None:
        raise UserError("workdir is missing: a config that is not given by its name needs one.")
    folder = pathlib.Path(workdir or experiment_files.default_workdir(origin))
    try:
        with streams.guarded(needed=False), refusals():
            train_and_evaluate(with_values(config, overrides), folder, data_dir, origin)
    except Interrupted as interrupted:
        first, *_ = str(interrupted).split("\n")
        raise Stopped(f"{first.removesuffix('To go on:').strip()} The same call goes on.") from None
    run = load(folder)
    assert isinstance(run, Run)  # For type checkers: the folder holds one run.
    return run
