"""Reports runs to the trackers that people already use: MLflow, Weights & Biases, Trackio.

A command has one `Tracking`, and each of its runs a `TrackedRun`, which the recorder reports to:

    tracking = Tracking(names("mlflow,wandb"))
    with tracking.run(Workdir("runs/quickstart"), warn=print) as tracked:
        train_and_evaluate(config, "runs/quickstart", tracked=tracked)

The modules in trackers/ each adapt one tracker, as a class `Adapter`. A tracker never costs a run more than a warning
and some minutes: its calls may fail, and each of them is waited for so long. A tracker that has failed gets nothing
more from the command. The same command, given again, sends it the finished runs that it lacks.
"""

from collections.abc import Callable, Iterable, Sequence
import concurrent.futures
import functools
import hashlib
import importlib
import importlib.util
import pathlib
import threading
from typing import Any, NamedTuple, Protocol

from digits.errors import UserError, reason
from digits.runs.workdir import Workdir
from digits.runtime import screen
from digits.runtime.signals import Interrupted

TRACKERS = ("mlflow", "wandb", "trackio")  # Packages and, in trackers/, modules of these names.
_PATIENCE = 120.0  # Seconds for a call. MLflow's first makes its database.
_FIGURES = ("test_loss", "test_accuracy", "tested_epoch", "best_epoch")  # Of the result.
_FILES = ("config.json", "metrics.jsonl", "result.json", "report.html", "figures/*.png")
_FILES_OF_SWEEP = ("sweep.md", "sweep.csv", "members.csv", "figures/*.png")


class About(NamedTuple):
    """A run, or a sweep, before it reports.

    Attributes:
      name: that of its folder.
      identity: names the run for good: 32 characters.
      config: as JSON.
      tags: the experiment, the dataset, the family of networks.
      sweep: the name and the identity of its sweep, if it belongs to one.
    """

    name: str
    identity: str
    config: dict[str, Any]
    tags: dict[str, str]
    sweep: tuple[str, str] | None = None


class Tracker(Protocol):
    """A run as one tracker has it, new or from an earlier start; what an adapter's class does.

    Attributes:
      epochs: the epochs that the tracker has of earlier starts.
      done: whether it has the whole run.
      look: how to look at it: a command or an address.
    """

    epochs: int
    done: bool
    look: str

    def __init__(self, about: About): ...

    def metrics(self, epoch: int, figures: dict[str, float]) -> None:
        """Takes the figures of an epoch."""

    def result(self, epoch: int, figures: dict[str, float]) -> None:
        """Takes the figures of the test of an epoch's weights."""

    def files(self, folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
        """Takes files in a folder."""

    def close(self, state: str) -> None:
        """Ends the run, which is "finished", "failed" or "interrupted"."""


def names(text: str | None) -> tuple[str, ...]:
    """Reads the flag --track: names("mlflow,wandb").

    Raises:
      UserError: there is no such tracker, or it is not installed.
    """
    found = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text is not None else ()
    if not set(found) <= set(TRACKERS):
        accepted = f"must be one of {', '.join(TRACKERS)}, or several with commas"
        raise UserError(f"--track is {text!r}, but it {accepted}.")
    for name in found:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # W&B's folder of runs looks like a package without a file.
            raise UserError(f"--track is {text!r}, which needs {name}: pip install {name}")
    return found


class Tracking:
    """The trackers of a command, by name; those of a sweep, if its folder is given."""

    def __init__(self, names: Sequence[str] = (), sweep: pathlib.Path | None = None):
        self._names, self._sweep = names, sweep
        self._failed: set[str] = set()
        self._begun: set[pathlib.Path] = set()
        self._opening = threading.Lock()  # Two threads would both make MLflow's database.
        self._looks: dict[str, str] = {}

    @property
    def names(self) -> str:
        """The trackers, as the flag --track takes them."""
        return ",".join(self._names)

    @property
    def left(self) -> list[str]:
        """The trackers that have not failed."""
        return [name for name in self._names if name not in self._failed]

    @property
    def looks(self) -> list[str]:
        """A command or an address for each tracker, to look at the runs."""
        return list(dict.fromkeys(self._looks.values()))

    def run(self, workdir: Workdir, warn: Callable[[str], None]) -> "TrackedRun":
        """A context in which a run reports; `warn` gets the sentence about a tracker that fails."""
        return TrackedRun(self, workdir, warn)

    def send_others(self, workdirs: Iterable[Workdir], warn: Callable[[str], None]) -> None:
        """Sends the finished runs that were not trained by this command, or in another process."""
        for workdir in workdirs if self._names else ():
            if workdir.path not in self._begun:
                with self.run(workdir, warn):
                    pass

    def send_sweep(self, state: str, warn: Callable[[str], None]) -> None:
        """Sends the tables and figures of the sweep to a tracker that has a run for it: the parent of its runs."""
        for name in self.left if self._sweep else ():
            adapter = _adapter(name)
            if adapter.HAS_SWEEPS:

                def send(adapter: Any = adapter) -> None:
                    tracker = adapter(About(*_of_sweep(self._sweep), {}, {}))
                    tracker.files(self._sweep, _existing(self._sweep, _FILES_OF_SWEEP))
                    tracker.close(state)

                self.attempt(name, send, warn)

    def open(self, name: str, workdir: Workdir) -> Tracker:
        """Opens a run in a tracker."""
        about = workdir.about()
        config, path = about["config"], workdir.path
        experiment = pathlib.PurePath(str(about.get("config_file") or "")).name.replace(".py", "")
        tags = {"experiment": experiment, "data": config["data"]["name"], "family": config["model"]["family"]}
        with self._opening:
            self._begun.add(path)
            tracker = _adapter(name)(
                About(
                    path.name,
                    about.get("run") or _digest(path),
                    config,
                    {key: tag for key, tag in tags.items() if tag},
                    _of_sweep(self._sweep) if self._sweep else None,
                )
            )
            self._looks[name] = tracker.look
        return tracker

    def attempt(self, name: str, call: Callable[[], None], warn: Callable[[str], None]) -> None:
        """Calls a tracker, unless it has failed, and waits for it for two minutes; warns if it fails now."""
        if name in self._failed:
            return
        outcome: concurrent.futures.Future[None] = concurrent.futures.Future()

        def work() -> None:
            try:
                call()
                outcome.set_result(None)
            except BaseException as error:
                outcome.set_exception(error)

        # A thread that nobody waits for at the end of the process, as those of an executor are.
        threading.Thread(target=work, daemon=True).start()
        try:
            outcome.result(_PATIENCE)
        except (Exception, SystemExit) as error:
            if name not in self._failed:
                self._failed.add(name)
                why = f"no answer in {_PATIENCE:.0f} s" if isinstance(error, TimeoutError) else reason(error, True)
                warned = f"warning: {name} failed ({why}) and gets no more of what is trained here."
                warn(screen.wrap(f"{warned} The same command, given again, sends it the finished runs."))


class TrackedRun:
    """One run in all trackers. Leaving its context adds the run's files, and ends it there.

    A run that was finished before, and so does not report in the context, is then sent to the trackers that lack it.
    """

    def __init__(self, tracking: Tracking, workdir: Workdir, warn: Callable[[str], None]):
        self._tracking, self._workdir, self._warn = tracking, workdir, warn
        self._trackers: dict[str, Tracker] = {}
        self._begun = self._finished = False

    def __enter__(self) -> "TrackedRun":
        return self

    @property
    def names(self) -> str:
        """The trackers, as the flag --track takes them."""
        return self._tracking.names

    def __exit__(self, kind: type | None, error: BaseException | None, _) -> None:
        if not self._begun and error is None:
            self._send_finished()
        state = "finished" if self._finished else "failed" if self._has_failed(error) else "interrupted"
        if self._finished:
            folder = self._workdir.path
            self._each(lambda tracker: tracker.files(folder, _existing(folder, _FILES)))
        self._each(lambda tracker: tracker.close(state))

    def _has_failed(self, error: BaseException | None) -> bool:
        """Whether the run failed, and was not interrupted; a failed member of a batched program leaves a file alone."""
        return not isinstance(error, Interrupted) if error else (self._workdir.path / "failure.json").exists()

    def _send_finished(self) -> None:
        """Sends the records and the result of a finished run to the trackers that lack them."""
        if not self._tracking.left or not (result := self._workdir.result()):
            return
        self.begin(self._workdir.history())
        for name in [name for name, tracker in self._trackers.items() if tracker.done]:
            tracker = self._trackers.pop(name)
            self._tracking.attempt(name, functools.partial(tracker.close, "finished"), self._warn)
        self.result(result)

    def begin(self, records: Sequence[dict[str, Any]]) -> None:
        """Opens the run, or goes on with it, in each tracker, and sends the recorded epochs that it lacks."""
        self._begun = True

        def open_and_send(name: str) -> None:
            tracker = self._tracking.open(name, self._workdir)
            for record in records:
                if record["epoch"] > tracker.epochs and not tracker.done:
                    tracker.metrics(record["epoch"], _numbers(record))
            self._trackers[name] = tracker

        for name in self._tracking.left:
            self._tracking.attempt(name, functools.partial(open_and_send, name), self._warn)

    def epoch(self, record: dict[str, Any]) -> None:
        """Reports an epoch by its record in metrics.jsonl."""
        self._each(lambda tracker: tracker.metrics(record["epoch"], _numbers(record)))

    def result(self, result: dict[str, Any]) -> None:
        """Reports the content of result.json."""
        self._finished = True
        figures = _numbers({name: result.get(name) for name in _FIGURES})
        self._each(lambda tracker: tracker.result(result["tested_epoch"], figures))

    def _each(self, report: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._tracking.attempt(name, functools.partial(report, tracker), self._warn)


def _adapter(name: str) -> Any:
    """Imports the adapter of a tracker, and with it the tracker, which takes seconds."""
    return importlib.import_module(f"digits.training.trackers.{name}").Adapter


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    """The figures of a record that the run has."""
    return {name: value for name, value in record.items() if name != "epoch" and value is not None}


def _existing(folder: pathlib.Path, patterns: Sequence[str]) -> list[pathlib.Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _of_sweep(folder: pathlib.Path) -> tuple[str, str]:
    return folder.name, _digest(folder)


def _digest(folder: pathlib.Path) -> str:
    """An identity for a folder whose files have none."""
    return hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:32]
