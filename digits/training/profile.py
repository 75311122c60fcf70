"""Shows where the time of an epoch goes: a trace for TensorBoard or Perfetto, and each phase's share of the time."""

import collections
from collections.abc import Callable, Iterator
import contextlib
import pathlib
import time

import jax

from digits.runs import files
from digits.runtime import screen

PHASES = ("train", "evaluate", "checkpoint", "record")
# The trace begins at most so many seconds before an epoch ends, and ends so many after it, or with the next epoch.
_SECONDS = 2.0


class Profile:
    """The profile of one run in a folder; without a folder, its methods do nothing.

    A phase is an activity of the training thread. Orbax writes checkpoints in another thread, which the trace shows as
    a second, long "checkpoint" beside "train".
    """

    def __init__(self, folder: pathlib.Path | None, say: Callable[[str], None] = print):
        self._folder, self._say = folder, say
        self._phases: collections.Counter[str] = collections.Counter()  # Seconds of the epoch under way.
        self._epochs: list[dict[str, float]] = []
        self._first: int | None = None  # The first epoch of this process.
        self._traced: int | None = None  # The epoch in which the trace began.
        self._tracing = False

    @property
    def active(self) -> bool:
        return self._folder is not None

    @contextlib.contextmanager
    def phase(self, name: str, step: int | None = None) -> Iterator[None]:
        """Adds the time of its block to a phase, one of PHASES; `step` numbers the calls of a compiled epoch."""
        if not self.active:
            yield
            return
        annotation = jax.profiler.TraceAnnotation(name)
        if step is not None:
            annotation = jax.profiler.StepTraceAnnotation(name, step_num=step)
        began = time.perf_counter()
        with annotation:
            yield
        self._phases[name] += time.perf_counter() - began

    def look(self, epoch: int, last: int, begun: float, left: float) -> float:
        """Begins or ends the trace if it is time for it; returns the seconds that this took.

        Args:
          epoch: the epoch under way.
          last: the last epoch of the run, if it does not stop early.
          begun: seconds since the epoch began.
          left: estimated seconds until the epoch ends.
        """
        self._first = self._first or epoch
        started = time.perf_counter()
        # The first epoch of a process includes compilation: it is traced only if it is the last.
        if self.active and not self._traced and epoch >= min(self._first + 1, last) and left <= _SECONDS:
            self._traced = epoch
            self._start()
        elif self._tracing and epoch > self._traced and begun > _SECONDS:
            self._stop()
        return time.perf_counter() - started

    def end_epoch(self, epoch: int, seconds: float) -> None:
        """Notes the seconds of an epoch, from its first step to its checkpoint, and of its phases."""
        if not self.active:
            return
        self._epochs.append({"epoch": epoch, "seconds": seconds} | {name: self._phases[name] for name in PHASES})
        self._phases.clear()
        if self._tracing and epoch > self._traced:
            self._stop()

    def close(self) -> None:
        """Ends the trace, writes summary.json and prints the shares and the trace's file."""
        if not self.active:
            return
        self._stop()
        epochs = self._epochs[1:] or self._epochs
        if total := sum(epoch["seconds"] for epoch in epochs):
            shares = {name: sum(epoch[name] for epoch in epochs) / total for name in PHASES}
            with self._going_on():
                self._folder.mkdir(parents=True, exist_ok=True)
                files.write_json(self._folder / "summary.json", {"shares": shares, "epochs": self._epochs})
            percent = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            self._say(screen.wrap(f"profile: {percent} of an epoch's time"))
        for trace in sorted(self._folder.glob("plugins/profile/*/perfetto_trace.json.gz"))[-1:]:
            self._say(f"trace, which opens at https://ui.perfetto.dev:\n  {screen.pasted(trace)}")
        self._folder = None

    def _start(self) -> None:
        with self._going_on():
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # Otherwise every Python call is in the trace.
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
            self._tracing = True

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            with self._going_on():
                jax.profiler.stop_trace()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Turns any error of the profiler into a message, so that the training goes on."""
        try:
            yield
        except Exception as error:
            self._say(f"the profile could not be written ({type(error).__name__}: {error}); training goes on")
