"""Reads and writes the folder of a run: config.json, metrics.jsonl, result.json, failure.json.

A file is written whole. metrics.jsonl grows by a line an epoch; a line that a kill has torn is dropped when the run
goes on. Each file is sealed (digits/runs/files.py) and says of which run it is: config.json gives a run its identity,
a random number, when the run begins. Files of another run in its folder, even of the same config, are refused.
"""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib
import shlex
import shutil
from typing import Any
import uuid

from ml_collections import ConfigDict

from digits.config.experiment_files import default_workdir
from digits.config.values import completed, config_to_json, flat
from digits.errors import UserError, reason, writing_to
from digits.runs import files, found, locks
from digits.runtime import atomic, paths, screen

# The keys of a record of metrics.jsonl, beside "epoch".
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second")

# Stands beside the figures of such a run.
NO_IDENTITY = "the run is of an earlier version of digits: its files do not tell whether all of them are its own"


class Workdir:
    """The folder of one run: `Workdir("runs/two_conv").history()[-1]["val_accuracy"]`."""

    def __init__(self, path: str | os.PathLike):
        self.path = paths.local(path, "--workdir").absolute()
        self.checkpoints = self.path / "checkpoints"
        self._config, self._metrics = self.path / "config.json", self.path / "metrics.jsonl"
        self._lock = locks.Lock(self.path)
        self._run: str | None = None  # The identity of the run that `create` has opened.

    def check(self, config: ConfigDict) -> None:
        """Raises UserError if the folder holds a run of another config, or other files."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(
                f"--workdir is {self.path}, which is a file: name a new or empty folder, or a run to go on with."
            )
        if not self._config.exists():
            # A kill while config.json is written leaves a temporary file; an earlier failure leaves failure.json.
            there = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
            if any(not name.startswith(".") for name in there - {"failure.json"}):
                raise UserError(f"--workdir is {self.path}, which holds files but no run: name a new or empty folder.")
            return
        before = flat(self.about()["config"])
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

    def about(self) -> dict[str, Any]:
        """Reads config.json: `config`, and what `create` was given beside it; UserError if there is none."""
        if not self._config.exists():
            raise incomplete(self._config)
        about = files.read_object(self._config, config=dict, run=(str, type(None)))
        return about | {"config": completed(about["config"])}

    @property
    def identity(self) -> str | None:
        """The run's identity; None for a run of an earlier version, whose files carry none."""
        return self.about().get("run")

    def refuse_swept(self) -> None:
        """Raises Busy if the run is one of a sweep that another process is training: it is on its way to this one."""
        if found.is_sweep(self.path.parent):
            locks.refuse_used(self.path.parent)

    def create(self, config: ConfigDict, about: dict[str, Any]) -> None:
        """Makes the folder and its config.json, and locks it until `release` against other processes.

        Args:
          config: as configs/base.py declares it.
          about: JSON beside the config: "data", whose "digest" must stay the same, and the config's origin.

        Raises:
          UserError: the folder cannot be written, holds a run on other data, or another process trains in it.
        """
        with writing_to(self.path, "--workdir"):
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._lock.acquire()
            for name in ("config.json", "metrics.jsonl", "result.json", "failure.json"):
                atomic.remove_rests(self.path / name)
            if not self._config.exists():
                files.write_json(self._config, {"run": uuid.uuid4().hex, "config": config_to_json(config), **about})
        recorded = files.read_object(self._config, data=dict)
        before, now = recorded["data"].get("digest"), about["data"]["digest"]
        if before != now:
            raise UserError(
                f"{self.path} holds a run on other data of the name {config.data.name!r} "
                f"(SHA-256 {before!s:.12}..., now {now[:12]}...): give another --workdir, or the same data."
            )
        self._run = recorded.get("run")

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
            why = reason(error)
            if not self._config.exists():
                there, why = "it is gone", os.strerror(errno.ENOENT)
                # A save in the background may have made the folders again.
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            raise UserError(
                f"{self.path} cannot be written any more ({why}), and the training has stopped: {there}. Where it "
                "can be written again, the same command goes on."
            ) from error

    def history(self) -> list[dict[str, float]]:
        """Reads the records of metrics.jsonl, one an epoch, without a torn last line; UserError if one is damaged."""
        return files.read_records(self._metrics, self.identity) if os.path.lexists(self._metrics) else []

    def truncate(self, epochs: int) -> None:
        """Drops the records after the epoch `epochs`: no checkpoint has them, and they are trained again."""
        if self._metrics.exists():
            kept = self.history()[:epochs]
            with self.writing():
                files.write_records(self._metrics, kept, self._run)

    def append(self, record: dict[str, float]) -> None:
        """Adds the record of an epoch to metrics.jsonl."""
        with self.writing():
            files.append_record(self._metrics, record, self._run)

    def result(self) -> dict[str, Any] | None:
        """Reads result.json; None before the run is finished; UserError if it is damaged or of another run."""
        path, number = self.path / "result.json", (int, float)
        if not path.exists():
            return None
        return self._own(
            path, files.read_object(path, epochs=int, tested_epoch=int, test_loss=number, test_accuracy=number)
        )

    def read(self) -> tuple[list[dict[str, float]], dict[str, Any] | None]:
        """Reads the records and the result; UserError if the result is not of these records."""
        result = self.result()
        if result and not self._metrics.exists():
            raise incomplete(self._metrics)
        history = self.history()  # Read last: a run that ends meanwhile has all of its epochs.
        if result and not 1 <= result["tested_epoch"] <= result["epochs"] <= len(history):
            raise UserError(
                f"{self._metrics} is damaged: it has {len(history)} of the {result['epochs']} epochs of result.json "
                f"(tested was epoch {result['tested_epoch']})."
            )
        return history, result

    def _own(self, path: pathlib.Path, content: dict[str, Any]) -> dict[str, Any]:
        """The content of a file of this run; UserError if it is of another one."""
        if content.get("run") != self.identity:
            raise UserError(f"{path} is of another run than {self._config}: copy the run's whole folder again.")
        return content

    def write_result(self, result: dict[str, Any]) -> dict[str, Any]:
        """Writes result.json, which marks the run as finished; returns its content, with the run's identity."""
        result = {"run": self._run, **result}
        with self.writing():
            files.write_json(self.path / "result.json", result)
        return result

    def failure(self) -> dict[str, str] | None:
        """Reads `kind` and `message` of failure.json, which a failed run of a sweep leaves; None without one."""
        path = self.path / "failure.json"
        if not path.exists():
            return None
        failure = files.read_object(path, kind=str, message=str)
        return self._own(path, failure) if self._config.exists() else failure

    def write_failure(self, kind: str, message: str) -> None:
        """Writes failure.json; the kind "diverged" means that another try would fail in the same way."""
        self.path.mkdir(parents=True, exist_ok=True)
        begun = {"run": self.identity} if self._config.exists() else {}
        files.write_json(self.path / "failure.json", {**begun, "kind": kind, "message": message})

    def forget_failure(self) -> None:
        """Removes failure.json before another try."""
        (self.path / "failure.json").unlink(missing_ok=True)


def incomplete(missing: pathlib.Path) -> UserError:
    """The error of a run of which a file or a folder is missing."""
    return UserError(
        f"{missing.parent} is only a part of a run, without {missing.name}: copy the run's whole folder again."
    )


def resuming_command(about: dict[str, Any], workdir: Workdir) -> str:
    """The command line that goes on with a run; `about` is that of `Workdir.create`."""
    if not about.get("config_file"):
        return f"train_and_evaluate with the same config and workdir {workdir.path}"
    overrides = [f"--config.{field}={value}" for field, value in about["overrides"].items()]
    parts = [f"--config={about['config_file']}", *overrides]
    if pathlib.Path(default_workdir(about)).absolute() != workdir.path:
        parts.append(f"--workdir={screen.near(workdir.path)}")
    return "python -m digits.main " + " ".join(map(shlex.quote, parts))
