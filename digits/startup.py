"""From the command to the first step: the clock, and the dataset that is read while JAX is still being imported.

Needs no JAX itself, so that `digits.main` can start this first.
"""

import concurrent.futures
import gc
import os
import pathlib
import time

from digits import data


def process_start() -> float:
    """When this process started, on the clock of `time.perf_counter`; now, where the system does not tell."""
    now = time.perf_counter()
    try:
        # Field 22, in clock ticks since the system started; the second field may hold spaces.
        ticks = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return now
    return now - age if age > 0 else now


class Start:
    """A run on its way to its first step."""

    def __init__(self, name: str, data_dir: str | None):
        self._name, self._data_dir, self._loading = name, data_dir, None
        self._began, self._collects, self._kept = time.perf_counter(), True, None

    def early(self) -> "Start":
        """For a process that does nothing else: it counts from its own start and reads the dataset from now on."""
        self._began = process_start()
        # Imports and tracing make a million objects that stay; looking through them again and again takes a sixth of
        # the time to the first step.
        self._collects = False
        gc.disable()
        if data.is_quick(self._name, self._data_dir):
            # Reading, unzipping and hashing need no Python, so that they cost the imports nothing.
            pool = concurrent.futures.ThreadPoolExecutor(1)
            self._loading = pool.submit(data.load, self._name, self._data_dir)
        return self

    def dataset(self, keep: bool = False) -> data.Dataset:
        """The dataset, or the UserError of `data.load`. Without `keep` nothing is kept here."""
        loading, self._loading = self._loading, None
        dataset = self._kept or (loading.result() if loading else data.load(self._name, self._data_dir))
        self._kept = dataset if keep else None
        return dataset

    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    def arrived(self) -> None:
        """The first step is done: garbage is collected again, among what is made from now on."""
        if not self._collects:
            self._collects = True
            gc.freeze()
            gc.enable()
