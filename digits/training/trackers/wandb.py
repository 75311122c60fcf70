"""Runs in Weights & Biases: offline, for `wandb sync`, unless WANDB_MODE says otherwise."""

from collections.abc import Sequence
import os
import pathlib
import shutil

import wandb

from digits.training.tracking import About

_LONGEST, _LONGEST_TAG = 128, 64  # Characters that W&B takes.
_EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 130}


class Adapter:
    """See `tracking.Tracker`. The runs of a sweep are a group with its name."""

    HAS_SWEEPS = False

    def __init__(self, about: About):
        online = os.environ["WANDB_MODE"] == "online"
        group = about.sweep and about.sweep[0]
        self._run = wandb.init(
            id=about.identity,
            name=about.name[:_LONGEST],
            group=group and group[:_LONGEST],
            config=about.config,
            tags=None if "WANDB_TAGS" in os.environ else [tag[-_LONGEST_TAG:] for tag in about.tags.values()],
            resume="allow" if online else None,
            reinit="create_new",  # Several runs of a process report at the same time.
            settings=wandb.Settings(
                init_timeout=30,
                finish_timeout=100,
                x_disable_stats=bool(group),  # They share the machine.
            ),
        )
        if online:
            self.epochs, self.done = self._run.step - 1, self._run.summary.get("test_accuracy") is not None
            self.look = self._run.project_url if group else self._run.url
        else:
            # Each start has a folder. This one replaces those of earlier starts, of which a kill may have lost all: W&B
            # writes a folder's file late. But it continues those that `wandb sync` has sent already.
            mine = pathlib.Path(self._run.dir).parent
            earlier = [path for path in mine.parent.glob(f"offline-run-*-{about.identity}") if path != mine]
            self.epochs, self.done = 0, any(list(path.glob("*.synced")) for path in earlier)
            for path in () if self.done else earlier:
                shutil.rmtree(path, ignore_errors=True)
            self.look = "wandb sync"

    def metrics(self, epoch: int, figures: dict[str, float]) -> None:
        self._run.log({"epoch": epoch, **figures}, epoch, commit=True)

    def result(self, epoch: int, figures: dict[str, float]) -> None:
        self._run.summary.update(figures)

    def files(self, folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
        artifact = wandb.Artifact(f"run-{self._run.id}", "run")
        for path in paths:
            artifact.add_file(str(path), path.relative_to(folder).as_posix())
        self._run.log_artifact(artifact)

    def close(self, state: str) -> None:
        self._run.finish(_EXIT_CODES[state])
