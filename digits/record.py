"""The folder of a run: config.json, metrics.jsonl, result.json, failure.json.

A file is written whole; metrics.jsonl grows by a line an epoch, and a line that a kill has torn is dropped when the run
goes on. Each file is sealed (digits/files.py).
"""

from collections.abc import Iterator
import contextlib
import errno
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import jax
from ml_collections import ConfigDict

from digits import files
from digits.config import config_to_json, flat
from digits.errors import UserError

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second")


class Workdir:
    """The folder of one run: `Workdir("runs/two_conv").history()[-1]["val_accuracy"]`."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).expanduser().absolute()
        self.checkpoints = self.path / "checkpoints"
        self._metrics = self.path / "metrics.jsonl"
        self._lock = files.Lock(self.path)

    def check(self, config: ConfigDict) -> None:
        """Raises UserError if the folder holds a run of another config, or other files."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(
                f"--workdir is {self.path}, which is a file: name a new or empty folder, or a run to go on with."
            )
        if not (self.path / "config.json").exists():
            # A kill while config.json was written leaves a temporary file, a failure before that a failure.json.
            there = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
            if any(not name.startswith(".") for name in there - {"failure.json"}):
                raise UserError(f"--workdir is {self.path}, which holds files but no run: name a new or empty folder.")
            return
        before, now = (
            flat(files.read_object(self.path / "config.json", config=dict)["config"]),
            flat(config_to_json(config)),
        )
        # Two sections do not define a run: how it shares its device, and the documented figures.
        keys = [key for key in {**before, **now} if not key.startswith(("population.", "documented."))]
        differing = [key for key in keys if (key in before, before.get(key)) != (key in now, now.get(key))]
        if differing:

            def value(config: dict[str, Any], key: str) -> str:
                return repr(config[key]) if key in config else "absent"

            changes = "; ".join(f"config.{key} was {value(before, key)}, is {value(now, key)}" for key in differing)
            # A field that one config lacks came or went with a version of digits: no flag can set it back.
            common = all(key in before and key in now for key in differing)
            same = "the same config" if common else "its version of digits"
            raise UserError(
                f"{self.path} holds a run of another config ({changes}): give another --workdir, or {same}."
            )

    def create(self, config: ConfigDict, about: dict[str, Any]) -> None:
        """Makes the folder and its config.json, and locks it until `release` against other processes.

        Args:
          config: as configs/base.py declares it.
          about: JSON beside the config: "data", of which the "digest" must stay the same, and the config's origin.

        Raises:
          UserError: the folder cannot be written, holds a run on other data, or another process trains in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._lock.acquire()
            files.remove_temporaries(self.path, ("config.json", "metrics.jsonl", "result.json", "failure.json"))
        except OSError as error:
            raise self._cannot_be_written(error) from error
        if (self.path / "config.json").exists():
            before = files.read_object(self.path / "config.json", data=dict)["data"].get("digest")
            now = about["data"]["digest"]
            if before != now:
                raise UserError(
                    f"{self.path} holds a run on other data of the name {config.data.name!r} "
                    f"(SHA-256 {before!s:.12}..., now {now[:12]}...): give another --workdir, or the same data."
                )
        try:
            if not (self.path / "config.json").exists():
                files.write_json(self.path / "config.json", {"config": config_to_json(config), **about})
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def release(self) -> None:
        """Unlocks the folder."""
        self._lock.release()

    def _cannot_be_written(self, error: OSError) -> UserError:
        return UserError(f"--workdir is {self.path}, which cannot be written ({error.strerror}): name another.")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Within it, an OSError becomes a UserError: in the middle of a run, the folder cannot be written any more."""
        try:
            yield
        except OSError as error:
            there, reason = "the last checkpoint is whole", error.strerror or error
            if not (self.path / "config.json").exists():
                there, reason = "it is gone", os.strerror(errno.ENOENT)
                # A save under way may have made the folders again.
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise UserError(
                f"{self.path} cannot be written any more ({reason}), and the training has stopped: {there}. Where it "
                "can be written again, the same command goes on."
            ) from error

    def history(self) -> list[dict[str, float]]:
        """The records of metrics.jsonl, one an epoch, without a torn last line; UserError if one is damaged."""
        return list(files.read_records(self._metrics).values())

    def truncate(self, epochs: int) -> None:
        """Drops the records after the epoch `epochs`: no checkpoint has those epochs, which are trained again."""
        if self._metrics.exists():
            kept = [files.line(record) for record in self.history() if record["epoch"] <= epochs]
            with self.writing():
                files.replace(self._metrics, "".join(kept).encode())

    def append(self, record: dict[str, float]) -> None:
        """Adds the record of an epoch to metrics.jsonl."""
        with self.writing(), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(files.line(record))

    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None before the run is finished; UserError if it is damaged."""
        path, number = self.path / "result.json", (int, float)
        if not path.exists():
            return None
        return files.read_object(path, epochs=int, test_loss=number, test_accuracy=number)

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json, by which the run is finished."""
        with self.writing():
            files.write_json(self.path / "result.json", result)

    def failure(self) -> dict[str, str] | None:
        """The `kind` and `message` of failure.json, which a run of a sweep leaves if it fails; None without one."""
        path = self.path / "failure.json"
        return files.read_object(path, kind=str, message=str) if path.exists() else None

    def write_failure(self, kind: str, message: str) -> None:
        """Writes failure.json; the kind "diverged" means that another try would fail in the same way."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(self.path / "failure.json", {"kind": kind, "message": message})

    def forget_failure(self) -> None:
        """Removes failure.json before another try."""
        (self.path / "failure.json").unlink(missing_ok=True)


def command(about: dict[str, Any], workdir: Workdir) -> str:
    """The command line that goes on with a run; `about` is what `Workdir.create` was given."""
    if not about.get("config_file"):
        return f"train_and_evaluate with the same config and workdir {workdir.path}"
    overrides = [f"--config.{field}={value}" for field, value in about["overrides"].items()]
    parts = [f"--config={about['config_file']}", *overrides, f"--workdir={workdir.path}"]
    return "python -m digits.main " + " ".join(map(shlex.quote, parts))


def environment() -> dict[str, Any]:
    """What a run ran on: device, peak memory in bytes, versions of the libraries, state of the checkout.

    `device_peak_memory_bytes` is there only where a device has a memory of its own and tells.
    """
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_collections")
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
    used = {"peak_memory_bytes": peak_memory()}
    peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
    if any(peaks):
        used["device_peak_memory_bytes"] = max(filter(None, peaks))
    return {"device": device(), **used, "versions": versions, **checkout()}


def device() -> str:
    """The accelerators, or the processor and its cores: "NVIDIA H200 x1", "cpu (AMD EPYC with AVX2, 2 cores, 8 devices)"."""
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{devices[0].device_kind} x{len(devices)}"
    if jax.process_count() > 1:
        return f"cpu ({processor()}, {jax.process_count()} processes, {cores()} cores each)"
    return f"cpu ({processor()}, {cores()} cores{f', {len(devices)} devices' * (len(devices) > 1)})"


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


def peak_memory() -> int | None:
    """The most memory this process ever had, in bytes; None on Windows, which does not tell."""
    try:
        # On Linux ru_maxrss begins with the size of the process that started this one, which may have been larger.
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024
    except (OSError, TypeError):
        pass
    try:
        import resource
    except ImportError:
        return None
    # macOS counts ru_maxrss in bytes, Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def checkout() -> dict[str, Any]:
    """The state of the checkout that this code runs from: `commit`, `dirty`, `diff_sha256`.

    `dirty` tells whether digits/ or configs/ differ from the commit; `diff_sha256` is the SHA-256 of `git diff` and of new
    files there, None where nothing differs. All three are None outside a checkout, or where git is not installed.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
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
    except OSError:  # A checkout that was copied to where there is no git, or a file that vanished.
        return nothing
    digest = hashlib.sha256(difference).hexdigest() if difference else None
    return {"commit": commit, "dirty": bool(difference), "diff_sha256": digest}
