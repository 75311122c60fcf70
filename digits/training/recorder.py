"""The reports of a run: to the terminal, metrics.jsonl, TensorBoard, trackers, a profile, result.json."""

from collections.abc import Callable
import contextlib
from typing import Any, NamedTuple

from ml_collections import ConfigDict
import numpy as np
from tqdm import tqdm

from digits import data
from digits.analysis import classification
from digits.models import Network, summary
from digits.runs.workdir import Workdir
from digits.runtime import environment, processes, screen
from digits.training import startup, terminal
from digits.training.profile import Profile
from digits.training.program import Examples
from digits.training.resume import RunState
from digits.training.startup import Start
from digits.training.step import TrainMetrics
from digits.training.tracking import TrackedRun


class Outputs(NamedTuple):
    """Where a run reports to beside its folder: nowhere by default.

    Attributes:
      terminal: whether to print lines and show a bar.
      images: is called with the number of images after each call of the program.
      moves: whether `images` is to be called several times a second.
      warn: is called with a sentence that the user of a run that prints nothing should see.
      start: the clock of the first step.
      profiled: whether to write a trace to WORKDIR/profile.
      tracked: the run in trackers, which its owner closes.
    """

    terminal: bool = False
    images: Callable[[int], None] | None = None
    moves: bool = False
    warn: Callable[[str], None] | None = None
    start: Start | None = None
    profiled: bool = False
    tracked: TrackedRun | None = None


class Recorder:
    """Reports one run. Of several processes the first one alone does so; the others show and write nothing.

    The run's folder exists already; `about` is that of `Workdir.create`.
    """

    def __init__(self, config: ConfigDict, workdir: Workdir, about: dict[str, Any], outputs: Outputs):
        self._config, self._workdir, self._about, self._outputs = config, workdir, about, outputs
        self._writes = processes.first()
        self._tracked = outputs.tracked if self._writes else None
        self._speaks = outputs.terminal and self._writes
        self._start = outputs.start or Start(config.data.name, None)
        self._bar: tqdm | None = None
        self._loss: float | None = None  # The latest; the bar shows it.
        self._headed = False  # Whether the heading of the epochs' rows is printed.
        self._first_step: dict[str, float | None] = {"seconds_to_first_step": None, "compile_seconds": None}
        profiled = outputs.profiled and self._writes
        self.profile = Profile(workdir.path / "profile" if profiled else None, self.say)
        self._events: Any = None  # A tensorboard.Events, from the first epoch on, if the config wants it.
        self._events_problem = ""
        self._before: list[dict[str, Any]] = []  # The records of earlier starts.

    def say(self, text: str) -> None:
        """Prints a line, if this run speaks."""
        if self._speaks:
            terminal.say(text)

    def warn(self, text: str) -> None:
        """Prints a line, or gives it to those who print for this run."""
        self._outputs.warn(text) if self._outputs.warn else self.say(text)

    @property
    def flags(self) -> str:
        """The flags, after a space, with which a command that goes on with the run reports as this one does."""
        return f" --track={self._tracked.names}" if self._tracked and self._tracked.names else ""

    @property
    def moves(self) -> bool:
        """Whether somebody wants to hear of the run several times a second."""
        return self._outputs.moves or self.profile.active or (self._speaks and terminal.watched())

    def begun(self, model: Network, steps_per_epoch: int) -> None:
        """Prints which network is trained on which data."""
        self.say(summary.table(model))
        self.say(terminal.opening_lines(self._config, self._about["data"], steps_per_epoch))
        for line in data.about_lines(self._about["data"]):
            self.say(screen.wrap(line))

    def went_on(self, state: RunState, restored: bool) -> None:
        """Prints where the run goes on. Drops the records of later epochs, which are trained again."""
        if restored:
            where = f"after epoch {state.epoch}, step {state.step_in_epoch}"
            self.say(screen.wrap(f"going on with {screen.pasted(self._workdir.path)} {where}"))
            if self._writes and (sentence := self._other_arithmetic()):
                self.warn(screen.wrap(sentence))
        if self._writes:
            self._workdir.truncate(state.epoch)  # Also of a first epoch whose checkpoint was never finished.
            self._before = self._workdir.history()
            for line in self._before:
                self._say_row(line, best=line["epoch"] == state.stopping.best_epoch)
        if self._tracked:
            self._tracked.begin(self._before)

    def _other_arithmetic(self) -> str:
        """A sentence if the run began with other devices, libraries or convolutions; "" otherwise."""
        # Runs of earlier versions have no record of them.
        before: Any = self._workdir.about().get("arithmetic")
        before, now = before if isinstance(before, dict) else {}, self._about["arithmetic"]
        changed = [name for name in now if before.get(name, now[name]) != now[name]]
        changes = [f"{name} was {before[name]!s:.99}, is {now[name]}" for name in changed]
        return f"its last digits are not those of a run that never stopped: {'; '.join(changes)}" if changes else ""

    def _say_row(self, line: dict[str, Any], best: bool) -> None:
        """Prints the row of an epoch, the first one below the heading."""
        if not self._headed:
            self.say(terminal.heading(self._config))
            self._headed = True
        self.say(terminal.epoch_row(self._config, line, best))

    def waiting(self, text: str) -> contextlib.AbstractContextManager[None]:
        """A context that says what takes so long, if it does."""
        return startup.waiting(text) if self._speaks else contextlib.nullcontext()

    def progress(self, epoch: int, images: int, done: int) -> None:
        """Shows a bar over the run, whose epoch `epoch` begins: it has so many images, some of them done already."""
        if not self._speaks:
            return
        if self._bar is None:
            self._bar = terminal.bar(self._config.epochs * images, (epoch - 1) * images + done)
        self._bar.set_description_str(terminal.bar_title(epoch, self._config.epochs, self._loss))

    def images(self, count: int, epoch: int, totals: TrainMetrics) -> None:
        """Reports that so many images were trained on; `totals` are the metrics of the epoch so far."""
        if self._bar is not None:
            if not self._bar.disable:
                self._loss = float(totals.loss.total) / float(totals.loss.count)
                self._bar.set_description_str(terminal.bar_title(epoch, self._config.epochs, self._loss), refresh=False)
            self._bar.update(count)
        if self._outputs.images:
            self._outputs.images(count)

    def first_step(self, compile_seconds: float) -> None:
        """Notes, when the first step is done, how long the way to it took."""
        seconds = self._start.seconds()
        self._first_step = {"seconds_to_first_step": seconds, "compile_seconds": compile_seconds}
        self.say(f"first step after {seconds:.1f} s (compilation {compile_seconds:.1f} s of it)")
        self._start.arrived()

    def epoch(self, line: dict[str, Any], best: bool) -> None:
        """Records an epoch, which may be the best so far; `line` is its record in metrics.jsonl."""
        self._say_row(line, best)
        if self._writes:
            self._workdir.append(line)
        self._write_events(lambda events: events.metrics(line["epoch"], line))
        if self._tracked:
            self._tracked.epoch(line)

    def _write_events(self, write: Callable[[Any], None]) -> None:
        """Writes TensorBoard events, if this run does. An error ends only them; `result` says so."""
        if not (self._config.tensorboard and self._writes) or self._events_problem:
            return
        try:
            if not self._events:
                from digits.runs.tensorboard import Events  # Takes 0.1 to 0.4 s, after the first step, or is absent.

                self._events = Events(self._workdir.path / "tensorboard", self._config, self._before)
            write(self._events)
        except Exception as error:
            self._events_problem = f"{type(error).__name__}: {error}"

    def result(
        self, tested: dict[str, Any], examples: Examples, logits: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, Any]:
        """Writes and returns the content of result.json, in the first process alone.

        Args:
          tested: the figures of the test.
          examples: those of the run, with the test images.
          logits: the tested network, from Nx28x28 to NxK, for TensorBoard.
        """
        config, history = self._config, self._workdir.history()
        result = {
            **tested,
            "validation_is_test": config.data.validation == "test",
            "seed": config.seed,
            "seconds": sum(line["seconds"] for line in history),
            "images_per_second": float(np.median([line["images_per_second"] for line in history])),
            **self._first_step,
            **environment.describe(),
            "convolution": self._about["arithmetic"]["convolution"],
            "data": {name: self._about["data"][name] for name in ("digest", "train", "validation", "test")},
            "classes": self._about["data"].get("classes"),
            "config_file": self._about.get("config_file"),
        }
        if config.tensorboard:
            self._show_test(result, examples, logits)
        # Last: a finished run does not go on, and would not get its events.
        result = self._workdir.write_result(result)
        if self._tracked:
            self._tracked.result(result)
        self._close_bar()
        self.say(terminal.closing_lines(config, result, self._workdir, self._about.get("overrides", ())))
        if self._events_problem:
            self.say(f"no TensorBoard events were written ({self._events_problem})")
        return result

    def _show_test(
        self, result: dict[str, Any], examples: Examples, logits: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Adds the test figures and a picture of the worst mistakes to TensorBoard."""
        epoch, names = result["tested_epoch"], examples.class_names
        images, labels = map(np.asarray, examples.test)
        figures = {name: result[name] for name in ("test_loss", "test_accuracy")}
        self._write_events(lambda events: events.metrics(epoch, figures))
        if worst := classification.measure(logits(images), labels, names)["mistakes"]:
            self._write_events(lambda events: events.mistakes(epoch, worst, images, names))

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def close(self) -> None:
        """Removes the bar and closes the file of TensorBoard events."""
        self._close_bar()
        if self._events:
            self._events.close()
