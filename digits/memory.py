"""Memory: the bytes that a compiled program needs, and those that a device has left."""

import pathlib
import re

import jax


def needed(compiled: jax.stages.Compiled) -> int:
    """Bytes that a program needs besides the dataset: its outputs, which replace donated inputs, and temporaries."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def free(device: jax.Device) -> int:
    """Bytes that a device has left; on a CPU, those that the system can give without swapping."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        return int(re.search(r"MemAvailable:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024
    except (OSError, TypeError):
        return 2**62  # The system does not tell.


def mib(count: int) -> str:
    """Bytes for people: "1,024 MiB"."""
    return f"{count / 2**20:,.0f} MiB"
