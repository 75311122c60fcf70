"""Where the time of an epoch goes: a trace for TensorBoard or Perfetto, and the shares of the host's clock."""

import collections
import contextlib
import pathlib
import time

import jax

from digits import files

PHASES = ("train", "evaluate", "checkpoint", "record")
# The trace begins at most this long before the end of an epoch, and ends this long after it or with the next epoch.
_SECONDS = 2.0


class Profile:
    """The profile of one run in a directory; without one, its methods do nothing.

    Phases are what the training thread does or waits for. A checkpoint is also written in a thread of its own: in the
    trace that is the second, long "checkpoint", beside "train".
    """

    def __init__(self, directory: pathlib.Path | None):
        self._directory = directory
        self._phases, self._epochs = collections.Counter(), []
        self._first, self._traced, self._tracing = None, None, False

    @property
    def active(self) -> bool:
        return self._directory is not None

    @contextlib.contextmanager
    def phase(self, name: str, step: int | None = None):
        """Names what is done within: one of PHASES; `step` counts the calls of a compiled epoch."""
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
        """Begins or ends the trace where it is time for it; returns the seconds that this took.

        Args:
          epoch: the epoch that is under way.
          last: the last epoch that there may be.
          begun: seconds since it began.
          left: seconds until it ends, estimated.
        """
        self._first = self._first or epoch
        started = time.perf_counter()
        # The first epoch of a process still compiles: it is traced only if there is no other.
        if self.active and not self._traced and epoch >= min(self._first + 1, last) and left <= _SECONDS:
            self._traced = epoch
            self._start()
        elif self._tracing and epoch > self._traced and begun > _SECONDS:
            self._stop()
        return time.perf_counter() - started

    def end_epoch(self, epoch: int, seconds: float) -> None:
        """Takes the whole time of an epoch, from its first step to its last checkpoint."""
        if not self.active:
            return
        self._epochs.append({"epoch": epoch, "seconds": seconds} | {name: self._phases[name] for name in PHASES})
        self._phases.clear()
        if self._tracing and epoch > self._traced:
            self._stop()

    def close(self) -> None:
        """Writes the trace, if that has not been done, and summary.json, and says where they are."""
        if not self.active:
            return
        self._stop()
        epochs = self._epochs[1:] or self._epochs
        if total := sum(epoch["seconds"] for epoch in epochs):
            shares = {name: sum(epoch[name] for epoch in epochs) / total for name in PHASES}
            with _goes_on():
                self._directory.mkdir(parents=True, exist_ok=True)
                files.write_json(self._directory / "summary.json", {"shares": shares, "epochs": self._epochs})
            percent = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            print(f"profile: {percent} of an epoch's time; trace: {self._directory}")
        self._directory = None

    def _start(self) -> None:
        with _goes_on():
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # Every Python call would be in it otherwise.
            jax.profiler.start_trace(self._directory, create_perfetto_trace=True, profiler_options=options)
            self._tracing = True

    def _stop(self) -> None:
        if self._tracing:
            self._tracing = False
            with _goes_on():
                jax.profiler.stop_trace()


@contextlib.contextmanager
def _goes_on():
    """A profiler that fails, for whatever reason, must not end the training."""
    try:
        yield
    except Exception as error:
        print(f"the profile could not be written ({type(error).__name__}: {error}); training goes on")
