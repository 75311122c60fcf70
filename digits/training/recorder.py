"""What a run reports while it goes: to the terminal, to metrics.jsonl, to TensorBoard, to a profile, to result.json."""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any, NamedTuple

from flax import nnx
from ml_collections import ConfigDict
import numpy as np

from digits.analysis import classification
from digits.analysis.figures import sheet
from digits.models import summary
from digits.runs.tensorboard import Events
from digits.runs.workdir import METRICS, Workdir
from digits.runtime import environment, processes
from digits.training import terminal
from digits.training.profile import Profile
from digits.training.program import Examples
from digits.training.startup import Start
from digits.training.state import RunState
from digits.training.terminal import Progress, Terminal


class Outputs(NamedTuple):
    """Where a run reports to beside its folder: nowhere by default.

    Attributes:
      terminal: prints lines and shows a bar.
      images: is called with the number of images after each call of the program.
      moves: whether `images` is to be called several times a second.
      start: the clock of the first step, and what waits for it.
      profiled: whether to write a trace to WORKDIR/profile.
    """

    terminal: Terminal | None = None
    images: Callable[[int], None] | None = None
    moves: bool = False
    start: Start | None = None
    profiled: bool = False


class Recorder:
    """Reports one run. Of several processes the first one alone does so; in the others nothing is shown or written.

    Its folder exists already; `about` is that of `Workdir.create`.
    """

    def __init__(self, config: ConfigDict, workdir: Workdir, about: dict[str, Any], outputs: Outputs):
        self._config, self._workdir, self._about, self._writes = config, workdir, about, processes.first()
        self._terminal = outputs.terminal if self._writes else None
        self._images, self._moves = outputs.images, outputs.moves
        self._start = outputs.start or Start(config.data.name, None)
        self._bar: Progress | None = None
        self._first_step = {"seconds_to_first_step": None, "compile_seconds": None}
        profiled = outputs.profiled and self._writes
        self.profile = Profile(workdir.path / "profile" if profiled else None, self.say)
        self._events = Events(workdir.path / "tensorboard", config.tensorboard and self._writes)
        self._events.hyperparameters(config)

    def say(self, text: str) -> None:
        """Prints a line, if this run speaks."""
        if self._terminal:
            self._terminal.say(text)

    @property
    def moves(self) -> bool:
        """Whether somebody wants to hear of the run several times a second."""
        return self._moves or self.profile.active or bool(self._terminal and self._terminal.moves)

    def begun(self, model: nnx.Module, steps_per_epoch: int) -> None:
        """Says which network is trained on which data."""
        self.say(summary.table(model))
        self.say(terminal.opening_line(self._config, self._about["data"], steps_per_epoch))

    def went_on(self, state: RunState, restored: bool) -> None:
        """Says where the run goes on. Drops the records of later epochs, which are trained again."""
        if restored:
            self.say(f"going on with {self._workdir.path} after epoch {state.epoch}, step {state.step_in_epoch}")
        if self._writes:
            self._workdir.truncate(state.epoch)  # Also of a first epoch whose checkpoint was never finished.
            for line in self._workdir.history():
                self.say(terminal.epoch_line(line, self._config.epochs))

    @contextlib.contextmanager
    def progress(self, epoch: int, images: int, done: int) -> Iterator[None]:
        """Shows a bar over the images of an epoch, of which some are done already."""
        if self._terminal:
            self._bar = Progress(epoch, self._config.epochs, images, done)
        try:
            yield
        finally:
            if self._bar:
                self._bar.close()
            self._bar = None

    def images(self, count: int) -> None:
        """So many images were trained on."""
        if self._bar:
            self._bar.update(count)
        if self._images:
            self._images(count)

    def first_step(self, compile_seconds: float) -> None:
        """The first step is done: notes how long it took to get there."""
        seconds = self._start.seconds()
        self._first_step = {"seconds_to_first_step": seconds, "compile_seconds": compile_seconds}
        self.say(f"first step after {seconds:.1f} s (compilation {compile_seconds:.1f} s of it)")
        self._start.arrived()

    def epoch(self, line: dict[str, Any]) -> None:
        """Records an epoch; `line` is its record in metrics.jsonl."""
        self.say(terminal.epoch_line(line, self._config.epochs))
        if self._writes:
            self._workdir.append(line)
        self._events.metrics(line["epoch"], {name: line[name] for name in METRICS})

    def result(
        self, tested: dict[str, Any], examples: Examples, logits: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, Any]:
        """Writes and returns the content of result.json, in the first process alone.

        Args:
          tested: the figures of the test.
          examples: whose test images were evaluated.
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
            "data": self._about["data"],
            "config_file": self._about.get("config_file"),
        }
        self._workdir.write_result(result)
        if config.tensorboard:
            self._show_test(result, examples, logits)
        self.say(terminal.closing_lines(config, result, self._workdir))
        self._events.close()
        if self._events.problem:
            self.say(f"no TensorBoard events were written ({self._events.problem})")
        return result

    def _show_test(
        self, result: dict[str, Any], examples: Examples, logits: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Adds the test figures and a picture of the worst mistakes to TensorBoard."""
        epoch, names = result["tested_epoch"], examples.class_names
        images, labels = map(np.asarray, examples.test)
        self._events.metrics(epoch, {name: result[name] for name in ("test_loss", "test_accuracy")})
        if worst := classification.measure(logits(images), labels, names)["mistakes"]:
            self._events.picture(epoch, "mistakes", lambda: sheet.examples(worst, images, names))

    def close(self) -> None:
        """Waits until everything is written."""
        self._events.close()
