"""Memory: the bytes that a compiled program needs, those that a device has left, and too little as a sentence."""

import contextlib
import pathlib
import re
import sys

import jax
import psutil

from digits.errors import OutOfMemory, of_memory
from digits.runtime import cgroups

try:
    import resource
except ImportError:  # Windows.
    resource = None


@contextlib.contextmanager
def out_of_memory_named(batch_size: int):
    """Turns XLA's report of too little memory into an OutOfMemory that names the batch size.

    with out_of_memory_named(config.batch_size):
        state = step(state, batch)
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if of_memory(error):
            raise OutOfMemory(
                f"The device has too little memory for a step: try a config.batch_size below {batch_size}."
            ) from error
        raise


def needed(compiled: jax.stages.Compiled) -> int:
    """Bytes that a program needs besides the dataset: its outputs, which replace donated inputs, and temporaries."""
    analysis = compiled.memory_analysis()
    return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def free(device: jax.Device) -> int:
    """Bytes that a device has left; on a CPU, those that the system and the container can give without swapping."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    left, available = cgroups.free_memory(), psutil.virtual_memory().available
    return available if left is None else min(left, available)


def mib(count: int) -> str:
    """Bytes for people: "1,024 MiB"."""
    return f"{count / 2**20:,.0f} MiB"


def peak_memory() -> int | None:
    """The most memory this process ever had, in bytes; None where the system does not tell."""
    try:
        # On Linux ru_maxrss begins with the size of the process that started this one, which may have been larger.
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024
    except (OSError, TypeError):
        pass
    if resource is None:
        return None
    # macOS counts ru_maxrss in bytes, Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
