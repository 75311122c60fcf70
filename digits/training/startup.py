"""From the command to the first step: a clock, the dataset read in the background, garbage collected later.

Needs no JAX, so that `digits.main` can begin to read the dataset before it imports JAX.
"""

from collections.abc import Callable, Iterator
import concurrent.futures
import contextlib
import gc
import sys
import threading
import time
import weakref

from digits import data
from digits.data import sources
from digits.runtime.machine import process_start


@contextlib.contextmanager
def waiting(text: str, patience: float = 1.0) -> Iterator[None]:
    """Prints what takes so long, on a terminal and if it takes more than a moment.

    with waiting("compiling ..."):
        compiled = compile(program)
    """
    timer = threading.Timer(patience, print, [text], {"flush": True})
    timer.daemon = True
    if sys.stdout.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Start:
    """A training on its way to its first step, with the `name` and the `data_dir` of `data.load`."""

    def __init__(self, name: str, data_dir: str | None):
        self._name, self._data_dir = name, data_dir
        self._began = time.perf_counter()
        self._loading: concurrent.futures.Future | None = None
        self._kept: data.Dataset | None = None
        self._collector: _PausedCollector | None = None
        self._afterwards: Callable[[], None] | None = None

    def early(self, afterwards: Callable[[], None] | None = None) -> "Start":
        """For a process that only trains: counts from the start of the process and reads the dataset in a thread.

        After the first step, a thread calls `afterwards`.
        """
        self._began, self._afterwards = process_start(), afterwards
        self._collector = _PausedCollector()
        if sources.is_quick(self._name, self._data_dir):
            # Reading, unzipping and hashing run outside Python's lock, so they do not delay the imports.
            self._loading = concurrent.futures.ThreadPoolExecutor(1).submit(data.load, self._name, self._data_dir)
        return self

    def dataset(self, keep: bool = False) -> data.Dataset:
        """Returns the dataset, or raises the UserError of `data.load`; with `keep`, holds it for the next call."""
        loading, self._loading = self._loading, None
        dataset = self._kept or (loading.result() if loading else data.load(self._name, self._data_dir))
        self._kept = dataset if keep else None
        return dataset

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    def arrived(self) -> None:
        """Tells that the first step is done: from now on, garbage is collected among new objects."""
        if self._collector:
            gc.freeze()
            self._collector = None
        if self._afterwards:
            threading.Thread(target=self._afterwards, daemon=True).start()
            self._afterwards = None


class _PausedCollector:
    """Keeps Python's garbage collector off as long as this object lives, also if the start fails.

    Imports and tracing make a million objects that stay. Searching them repeatedly takes a sixth of the time to the
    first step.
    """

    def __init__(self):
        if gc.isenabled():
            gc.disable()
            weakref.finalize(self, gc.enable)
