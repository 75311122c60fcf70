"""The environment of a run: device, versions, commit; and the settings of JAX."""

from collections.abc import Iterator
import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax
from ml_collections import ConfigDict

from digits.errors import UserError, reason
from digits.runtime import cached, cgroups, machine, memory, private

# On one core XLA has two threads as on two cores, at no cost: it splits sums by their number, which decides their bits.
_FEWEST_THREADS = 2
_ours: set[str] = set()  # The folders in which `prepare_jax` has JAX keep programs.


def start_devices() -> None:
    """Starts JAX's devices. Must be called before JAX does anything else; later calls do nothing.

    Raises:
      UserError: the devices that JAX_PLATFORMS names are not here, or have no memory left.
    """
    if cgroups.cores() is not None or machine.cores() < _FEWEST_THREADS:
        # Of this variable XLA takes the number of its threads. It counts all of a machine's cores otherwise.
        os.environ.setdefault("NPROC", str(max(machine.cores(), _FEWEST_THREADS)))
    try:
        jax.devices()
    except Exception as error:  # Each kind of device has errors of its own.
        why = reason(error).partition(" (set JAX_PLATFORMS")[0] if str(error) else "there are none"
        platforms = jax.config.jax_platforms or ""  # type: ignore[attr-defined]
        raise UserError(
            f"JAX cannot start the devices of JAX_PLATFORMS={platforms} ({why}): leave the "
            "variable out to train on what is here, or set it to cpu."
        ) from error


def prepare_jax(config: ConfigDict) -> None:
    """Sets JAX up for the whole process: keeps compiled programs in the cache folder, if `config.compilation_cache`."""
    start_devices()
    if config.compilation_cache:
        _keep_programs(machine.cache_dir() / "xla")


def _keep_programs(folder: pathlib.Path) -> None:
    """Has JAX keep compiled programs in a folder, unless the user has given JAX a folder for them."""
    if str(folder) not in _ours:
        private.keep_programs(str(folder), cached.Programs(folder))
        _ours.add(str(folder))
    if jax.config.jax_compilation_cache_dir in (None, *_ours):  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Gives this thread the settings of JAX on which results depend, or without which no program can be made.

        @settings()
        def train(): ...

    The same seed then gives the same numbers, whatever the environment or a notebook has set. Everything outside of
    the context, and other threads, keep the user's own settings.
    """
    with contextlib.ExitStack() as entered:
        for setting in (
            jax.enable_x64(False),
            jax.default_prng_impl("threefry2x32"),
            jax.threefry_partitionable(True),
            private.random_seed_offset(0),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            jax.transfer_guard("allow"),
            jax.disable_jit(False),
        ):
            entered.enter_context(setting)
        yield


def describe() -> dict[str, Any]:
    """Describes where this process runs: device, processor, peak memory in bytes, versions, state of the checkout.

    Has `device_peak_memory_bytes` only where a device has its own memory and reports its peak.
    """
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_collections")
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
    used = {"peak_memory_bytes": memory.peak_memory()}
    peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
    if any(peaks):
        used["device_peak_memory_bytes"] = max(filter(None, peaks))
    return {
        "device": device(),
        "processor": machine.processor(),
        "cores": machine.cores(),
        **used,
        "versions": versions,
        **checkout(),
    }


def arithmetic() -> dict[str, Any]:
    """The facts about devices and libraries on which the last bits of a run's results depend, beside its config."""
    devices = jax.devices()
    cpu = devices[0].platform == "cpu"
    return {
        "processor": machine.processor() if cpu else devices[0].device_kind,
        "threads": int(os.environ.get("NPROC") or machine.cores()) if cpu else None,
        "devices": len(devices),
        "processes": jax.process_count(),
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def device() -> str:
    """The accelerators or the processor: "NVIDIA H200 x1", "cpu (AMD EPYC with AVX2, 2 cores, 8 devices)"."""
    devices, cores = jax.devices(), f"{machine.cores()} cores"
    if devices[0].platform != "cpu":
        return f"{devices[0].device_kind} x{len(devices)}"
    if jax.process_count() > 1:
        cores = f"{jax.process_count()} processes, {cores} each"
    elif len(devices) > 1:
        cores += f", {len(devices)} devices"
    return f"cpu ({machine.processor()}, {cores})"


def checkout() -> dict[str, Any]:
    """Describes the checkout that this code runs from by `commit`, `dirty` and `diff_sha256`.

    `dirty` tells whether digits/ or configs/ differ from the commit. `diff_sha256` is the SHA-256 of `git diff` and of
    new files there, None where nothing differs. All three are None outside a checkout, or where git is not installed.
    """
    root = pathlib.Path(__file__).resolve().parents[2]
    nothing = {"commit": None, "dirty": None, "diff_sha256": None}
    if not (root / ".git").exists():
        return nothing

    def git(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False).stdout

    try:
        if not (commit := git("rev-parse", "--verify", "--quiet", "HEAD").decode().strip()):
            return nothing
        code = ("--", "digits", "configs")
        difference = git("diff", "--no-ext-diff", "--binary", "HEAD", *code)
        for name in sorted(filter(None, git("ls-files", "-z", "--others", "--exclude-standard", *code).split(b"\0"))):
            difference += b"\0" + name + b"\0" + (root / os.fsdecode(name)).read_bytes()
    except OSError:  # There is no git here, or a file vanished.
        return nothing
    digest = hashlib.sha256(difference).hexdigest() if difference else None
    return {"commit": commit, "dirty": bool(difference), "diff_sha256": digest}
