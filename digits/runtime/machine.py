"""Facts about this machine that need no JAX: processor, cores, the age of this process, the cache folder."""

import functools
import math
import pathlib
import platform
import re
import tempfile
import time

import psutil

from digits.runtime import cgroups, paths

_CPUINFO = pathlib.Path("/proc/cpuinfo")
# Processors of one name differ in speed by these; the first that a processor has counts.
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


def cache_dir() -> pathlib.Path:
    """DIGITS_CACHE_DIR, or `digits` in the user's cache folder; without a home, a folder that lasts as this process."""
    if given := paths.folder_of("DIGITS_CACHE_DIR"):
        return pathlib.Path(given)
    try:
        return pathlib.Path(paths.folder_of("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "digits"
    except RuntimeError:  # As in a container that gives the process the number of no user.
        return pathlib.Path(_temporary_cache().name)


@functools.cache
def _temporary_cache() -> tempfile.TemporaryDirectory:
    """A folder of this process alone: in a name that others can guess, they could put programs for it to run."""
    return tempfile.TemporaryDirectory(prefix="digits-")


def processor() -> str:
    """The processor's name and vector extension, as far as the system tells: "AMD EPYC 9654 with AVX-512"."""
    found = dict(_properties())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    flags = found.get("flags", "").split()
    vectors = next((f" with {name}" for flag, name in _VECTORS.items() if flag in flags), "")
    return found["model name"].replace(" Processor", "").strip() + vectors


def instruction_sets() -> str:
    """The properties of the processor that code compiled for it depends on, as text of any length."""
    return str(_properties() or platform.processor())


def _properties() -> list[tuple[str, str]]:
    """Names and instruction sets of the cores in /proc/cpuinfo, each once; none on a system without that file."""
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"^(model name|flags|CPU part|Features)\s*: (.+)$", text, re.MULTILINE)))


def cores() -> int:
    """How many of the processor's cores this process may use: those it is bound to, and not more than its quota."""
    quota = cgroups.cores()
    return _allowed_cores() if quota is None else min(_allowed_cores(), max(1, math.ceil(quota)))


def _allowed_cores() -> int:
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()


def process_start() -> float:
    """When this process started, on the clock of `time.perf_counter`; now, where the system does not tell."""
    now = time.perf_counter()
    try:
        created = psutil.Process().create_time()
        if hasattr(time, "CLOCK_BOOTTIME"):
            # Linux dates its own start to a whole second. psutil counts both from there, so the difference is exact.
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - (created - psutil.boot_time())
        else:
            age = time.time() - created
    except (psutil.Error, OSError, RuntimeError):
        return now
    return now - max(age, 0)
