"""Reads and writes the folder of a run: config.json, metrics.jsonl, result.json, failure.json.

A file is written whole. metrics.jsonl grows by a line an epoch; a line that a kill has torn is dropped when the run
goes on. Each file is sealed (digits/runs/files.py).
"""

from collections.abc import Iterator
import contextlib
import errno
import os
import shlex
import shutil
from typing import Any

from ml_collections import ConfigDict

from digits.config.values import config_to_json, flat
from digits.errors import UserError
from digits.runs import files
from digits.runtime import atomic, paths

# The keys of a record of metrics.jsonl, beside "epoch".
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second")


class Workdir:
    """The folder of one run: `Workdir("runs/two_conv").history()[-1]["val_accuracy"]`."""

    def __init__(self, path: str | os.PathLike):
        self.path = paths.local(path, "--workdir").absolute()
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
            # A kill while config.json is written leaves a temporary file; an earlier failure leaves failure.json.
            there = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
            if any(not name.startswith(".") for name in there - {"failure.json"}):
                raise UserError(f"--workdir is {self.path}, which holds files but no run: name a new or empty folder.")
            return
        before = flat(files.read_object(self.path / "config.json", config=dict)["config"])
        now = flat(config_to_json(config))
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
          about: JSON beside the config: "data", whose "digest" must stay the same, and the config's origin.

        Raises:
          UserError: the folder cannot be written, holds a run on other data, or another process trains in it.
        """
        path = self.path / "config.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._lock.acquire()
            for name in ("config.json", "metrics.jsonl", "result.json", "failure.json"):
                atomic.remove_rests(self.path / name)
            if not path.exists():
                files.write_json(path, {"config": config_to_json(config), **about})
        except OSError as error:
            raise UserError(
                f"--workdir is {self.path}, which cannot be written ({error.strerror}): name another."
            ) from error
        before, now = files.read_object(path, data=dict)["data"].get("digest"), about["data"]["digest"]
        if before != now:
            raise UserError(
                f"{self.path} holds a run on other data of the name {config.data.name!r} "
                f"(SHA-256 {before!s:.12}..., now {now[:12]}...): give another --workdir, or the same data."
            )

    def release(self) -> None:
        """Unlocks the folder."""
        self._lock.release()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns an OSError within it into a UserError: the folder cannot be written any more in the middle of a run."""
        try:
            yield
        except OSError as error:
            saved = any(path.name.isdigit() for path in self.checkpoints.glob("*"))
            there = "the last checkpoint is whole" if saved else "it has no checkpoint yet"
            reason = error.strerror or error
            if not (self.path / "config.json").exists():
                there, reason = "it is gone", os.strerror(errno.ENOENT)
                # A save in the background may have made the folders again.
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise UserError(
                f"{self.path} cannot be written any more ({reason}), and the training has stopped: {there}. Where it "
                "can be written again, the same command goes on."
            ) from error

    def history(self) -> list[dict[str, float]]:
        """Reads the records of metrics.jsonl, one an epoch, without a torn last line; UserError if one is damaged."""
        return list(files.read_records(self._metrics).values())

    def truncate(self, epochs: int) -> None:
        """Drops the records after the epoch `epochs`: no checkpoint has them, and they are trained again."""
        if self._metrics.exists():
            kept = [files.line(record) for record in self.history() if record["epoch"] <= epochs]
            with self.writing():
                files.replace(self._metrics, "".join(kept).encode())

    def append(self, record: dict[str, float]) -> None:
        """Adds the record of an epoch to metrics.jsonl."""
        with self.writing(), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(files.line(record))

    def result(self) -> dict[str, Any] | None:
        """Reads result.json; None before the run is finished; UserError if it is damaged."""
        path, number = self.path / "result.json", (int, float)
        if not path.exists():
            return None
        return files.read_object(path, epochs=int, test_loss=number, test_accuracy=number)

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json, which marks the run as finished."""
        with self.writing():
            files.write_json(self.path / "result.json", result)

    def failure(self) -> dict[str, str] | None:
        """Reads `kind` and `message` of failure.json, which a failed run of a sweep leaves; None without one."""
        path = self.path / "failure.json"
        return files.read_object(path, kind=str, message=str) if path.exists() else None

    def write_failure(self, kind: str, message: str) -> None:
        """Writes failure.json; the kind "diverged" means that another try would fail in the same way."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(self.path / "failure.json", {"kind": kind, "message": message})

    def forget_failure(self) -> None:
        """Removes failure.json before another try."""
        (self.path / "failure.json").unlink(missing_ok=True)


def resuming_command(about: dict[str, Any], workdir: Workdir) -> str:
    """The command line that goes on with a run; `about` is that of `Workdir.create`."""
    if not about.get("config_file"):
        return f"train_and_evaluate with the same config and workdir {workdir.path}"
    overrides = [f"--config.{field}={value}" for field, value in about["overrides"].items()]
    parts = [f"--config={about['config_file']}", *overrides, f"--workdir={workdir.path}"]
    return "python -m digits.main " + " ".join(map(shlex.quote, parts))
