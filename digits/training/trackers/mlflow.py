"""Runs in MLflow: on the server or in the database that MLFLOW_TRACKING_URI names, by default ./mlflow.db."""

from collections.abc import Sequence
import logging
import os
import pathlib
import time

from mlflow import MlflowClient, entities, get_tracking_uri
from mlflow.tracking.context import registry

from digits.config.values import flat
from digits.training.trackers import PROJECT
from digits.training.tracking import About

_IDENTITY = "digits.run"  # The tag by which a run is found again.
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_AT_ONCE = 100  # MLflow takes so many parameters in a call, each of so many characters.
_LONGEST = 6000


class Adapter:
    """See `tracking.Tracker`. The runs of a sweep are the children of a run with its name."""

    HAS_SWEEPS = True

    def __init__(self, about: About):
        # The first tells every step that makes a database, the second every try to reach a server.
        for name in ("alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._client, uri = MlflowClient(), get_tracking_uri()
        self._experiment = self._find_experiment()
        tags = about.tags
        if about.sweep:
            name, identity = about.sweep
            tags = tags | {"sweep": name, "mlflow.parentRunId": self._find_or_create(name, identity, {}).info.run_id}
        run = self._find_or_create(about.name, about.identity, tags, about)
        self._id = run.info.run_id
        self.done = run.info.status == "FINISHED"
        if not self.done:
            self._client.update_run(self._id, "RUNNING")
        recorded = self._client.get_metric_history(self._id, "loss")
        self.epochs = max((metric.step for metric in recorded), default=0)
        on_server = uri.startswith("http")
        self.look = f"{uri}/#/experiments/{self._experiment}" if on_server else f"mlflow ui --backend-store-uri {uri}"

    def _find_experiment(self) -> str:
        """The id of the experiment that the environment names, or of "digits"."""
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        there = self._client.get_experiment_by_name(name)
        return there.experiment_id if there else self._client.create_experiment(name)

    def _find_or_create(
        self, name: str, identity: str, tags: dict[str, str], about: About | None = None
    ) -> entities.Run:
        if there := self._client.search_runs([self._experiment], f"tags.`{_IDENTITY}` = '{identity}'", max_results=1):
            return there[0]
        tags = registry.resolve_tags(tags | {_IDENTITY: identity})  # With user, source and commit.
        run = self._client.create_run(self._experiment, tags=tags, run_name=name)
        fields = list(flat(about.config).items()) if about else []
        params = [entities.Param(field, str(value)[:_LONGEST]) for field, value in fields]
        for first in range(0, len(params), _AT_ONCE):
            self._client.log_batch(run.info.run_id, params=params[first : first + _AT_ONCE])
        return run

    def metrics(self, epoch: int, figures: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [entities.Metric(name, float(value), now, epoch) for name, value in figures.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def result(self, epoch: int, figures: dict[str, float]) -> None:
        self.metrics(epoch, figures)

    def files(self, folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
        for path in paths:
            inside = path.relative_to(folder).parent.as_posix()
            self._client.log_artifact(self._id, str(path), None if inside == "." else inside)

    def close(self, state: str) -> None:
        if not self.done:
            self._client.set_terminated(self._id, _STATUS[state])
