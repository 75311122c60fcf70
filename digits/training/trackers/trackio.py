"""Runs in Trackio: in its folder on this machine, unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says otherwise."""

from collections.abc import Sequence
import os
import pathlib

import trackio

from digits.runtime import private
from digits.training.trackers import PROJECT
from digits.training.tracking import About


class Adapter:
    """See `tracking.Tracker`. The runs of a sweep are a group with its name.

    Trackio goes on with a run by its name, which therefore ends with a part of the run's identity.
    """

    HAS_SWEEPS = False

    def __init__(self, about: About):
        private.silence_trackio(trackio)
        group = about.sweep and about.sweep[0]
        # In a thread of its own, as here, `init` does not end the run of another.
        self._run = trackio.init(
            PROJECT,
            f"{about.name}-{about.identity[:8]}",
            group,
            config=about.config,
            resume="allow",
            embed=False,
            auto_log_cpu=False if group else None,  # They share the machine.
            auto_log_gpu=False if group else None,
        )
        self._artifact = f"run-{about.identity[:8]}"
        self.epochs = private.trackio_steps(self._run)
        self.done = self.epochs > 0 and self._has_files()
        space = os.environ.get("TRACKIO_SPACE_ID")
        self.look = f"https://huggingface.co/spaces/{space}" if space else f"trackio show --project {PROJECT}"

    def _has_files(self) -> bool:
        """Whether Trackio has the run's files, which come last."""
        try:
            self._run.use_artifact(self._artifact)
        except Exception:  # It raises a ValueError here, and others through a server.
            return False
        return True

    def metrics(self, epoch: int, figures: dict[str, float]) -> None:
        self._run.log({"epoch": epoch, **figures}, step=epoch)

    def result(self, epoch: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=epoch)

    def files(self, folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
        artifact = trackio.Artifact(self._artifact, "run")
        for path in paths:
            artifact.add_file(path, path.relative_to(folder).as_posix())
        self._run.log_artifact(artifact)

    def close(self, state: str) -> None:
        self._run.finish()
