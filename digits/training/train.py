"""Training a run from its config to its result."""

import os
from typing import Any

import jax
from ml_collections import ConfigDict

from digits.config.values import check_fields
from digits.data import splits
from digits.errors import require
from digits.models import families
from digits.runs.workdir import Workdir
from digits.runtime import processes, screen
from digits.runtime.devices import Devices
from digits.runtime.environment import prepare_jax, settings
from digits.runtime.signals import Listener
from digits.training import terminal
from digits.training.loop import Loop
from digits.training.program import Shared
from digits.training.recorder import Outputs
from digits.training.run import Run, prepare
from digits.training.startup import Start, waiting
from digits.training.tracking import TrackedRun


def check(config: ConfigDict) -> None:
    """Raises UserError for a config that makes no sense: a field by itself, or fields that contradict each other."""
    check_fields(config)
    splits.check(config.data)
    families.check(config.model)
    opt = config.optimizer
    for name in ("momentum", "nesterov"):
        only_sgd = "off unless config.optimizer.name is sgd"
        require(not opt[name] or opt.name == "sgd", f"optimizer.{name}", opt[name], only_sgd)
    require(not opt.nesterov or opt.momentum, "optimizer.nesterov", True, "False without config.optimizer.momentum")
    if config.data.validation == "none" and config.monitor.startswith("val_"):
        accepted = "loss or accuracy when config.data.validation is 'none'"
        for user, used in (
            ("config.early_stopping.restore_best", config.early_stopping.restore_best),
            ("config.early_stopping.patience", config.early_stopping.patience),
            ("config.schedule.name='plateau'", config.schedule.name == "plateau"),
        ):
            require(not used, "monitor", config.monitor, f"{accepted}, because {user} follows it")


@settings()
def train_and_evaluate(
    config: ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    origin: dict[str, Any] | None = None,
    start: Start | None = None,
    profile: bool = False,
    tracked: TrackedRun | None = None,
) -> dict[str, Any]:
    """Trains the run of `config` in `workdir`, or goes on with it, and tests it at the end.

        result = train_and_evaluate(two_conv.get_config(), "runs/two_conv")

    Args:
      config: as configs/base.py declares it.
      workdir: the run's folder: new, empty, or of a run with the same config.
      data_dir: see `data.load`.
      origin: JSON about where the config came from; see `workdir.resuming_command`.
      start: the clock and the dataset of a process that has just been started.
      profile: whether to write a trace to WORKDIR/profile.
      tracked: the run in trackers.

    Returns:
      The content of result.json.

    Raises:
      UserError: the config, the data or the workdir do not allow it; nothing was written.
      Interrupted: SIGINT or SIGTERM; the run was saved.
    """
    check(config)
    files = Workdir(workdir)
    processes.from_first(lambda: files.check(config))
    if result := processes.from_first(files.result):
        if processes.first():
            terminal.say(screen.wrap(f"This run is finished: {screen.pasted(files.path)}. Its result:"))
            terminal.say(terminal.closing_lines(config, result, files, (origin or {}).get("overrides", ())))
        return result
    processes.from_first(files.refuse_swept)
    prepare_jax(config)
    start = start or Start(config.data.name, data_dir)
    outputs = Outputs(terminal=True, start=start, profiled=profile, tracked=tracked)
    with waiting(f"reading {config.data.name} ..."):
        prepared = prepare(config, files, Shared(start.dataset, Devices.of(jax.devices())), origin)
    with Listener() as listener, Run(prepared, outputs) as run:
        return Loop(run, listener).train()
