"""Facts about this machine that need no JAX: processor, cores, the cache folder."""

import os
import pathlib
import platform
import re


def cache_dir() -> pathlib.Path:
    """DIGITS_CACHE_DIR, or `digits` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("DIGITS_CACHE_DIR") or pathlib.Path(home) / "digits")


_CPUINFO = pathlib.Path("/proc/cpuinfo")
# By these, processors of one name differ in speed; the first that a processor has counts.
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


def processor() -> str:
    """The processor's name, as it gives it itself, and its vector extension, where the system tells."""
    if _CPUINFO.exists():
        told = dict(re.findall(r"^(model name|flags)\s*: (.+)$", _CPUINFO.read_text(), re.MULTILINE))
        if "model name" in told:
            flags = told.get("flags", "").split()
            vectors = next((f" with {name}" for flag, name in _VECTORS.items() if flag in flags), "")
            return told["model name"].replace(" Processor", "").strip() + vectors
    return platform.processor() or platform.machine()


def cores() -> int:
    """How many of the processor's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
