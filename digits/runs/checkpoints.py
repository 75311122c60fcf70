"""Saves the checkpoints of a run with Orbax, restores them, and chooses the one that the run goes on from.

A checkpoint carries a digest of its arrays and a check of the JSON beside them, which names its step and its run. If
its content has another digest, it is damaged: otherwise a few wrong bits would be trained further, or become a reported
accuracy. If it is intact but of another step or run, somebody put it there: it is neither used nor deleted.
"""

from collections.abc import Callable, Iterable, Sequence
import concurrent.futures
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

from digits.errors import OF_THE_MACHINE, UserError, reason, system_code
from digits.runs import files, orbax
from digits.runs.workdir import Workdir

# Files of a few bytes may declare arrays of terabytes. Arrays are refused if they are larger than this and than a
# hundred times their files.
_MOST_BYTES = 2**30
_MOST_BYTES_OF_DATA = 2**34  # Of a file of arrays; the other files describe them.
_MOST_BYTES_OF_WORDS = 2**24
_LATEST = 2  # So many of the latest checkpoints are kept. One is to go back to.
# A checkpoint has another name until everything is saved, and from the instant at which it is to be deleted.
_RESTS, _DELETED = "*.orbax-checkpoint-tmp*", "deleted.orbax-checkpoint-tmp"


class Damaged(Exception):
    """A checkpoint is not what was saved; the message says in which respect."""


class Checkpoints:
    """The checkpoints of a run: the latest two, and that of the best epoch. A thread writes them beside the training.

        checkpoints = Checkpoints(folder, run)
        checkpoints.save(100, {"weights": weights}, {"epoch": 1})
        state, about = checkpoints.restore(100)

    Orbax can save in the background itself, but takes 10 to 20 ms in the foreground. Here the training waits only for a
    copy of the arrays, and for the previous save if that has not ended.

    Args:
      folder: that of the checkpoints, in the run's.
      run: the run's identity, see `Workdir.identity`.
      read_only: whether nothing is ever written or deleted.
    """

    def __init__(self, folder: pathlib.Path, run: str | None, read_only: bool = False):
        self._folder, self._run, self._read_only = folder, run, read_only
        self._thread, self._saving, self._kept = concurrent.futures.ThreadPoolExecutor(1), None, _Kept()

    @functools.cached_property
    def _orbax(self):
        ocp = orbax.imported()
        if not self._read_only:
            self._folder.mkdir(exist_ok=True)
        files.check_entries(self._folder, _most_bytes)
        self._remove_rests()
        # Only the first of several processes has checkpoints: Orbax must not wait for the others.
        this = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=this, active_processes={this}, barrier_sync_key_prefix="digits"
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept, create=False, read_only=self._read_only, todelete_subdir=_DELETED,
            enable_async_checkpointing=False, multiprocessing_options=alone,
        )  # fmt: skip
        # Named handlers, so that Orbax tells the declared shapes of the arrays before it reads them.
        handlers = {
            "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
            "about": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        }
        return ocp.CheckpointManager(self._folder, options=options, item_handlers=handlers)

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        self._saving = self._saving or self._thread.submit(lambda: self._orbax)

    def save(self, step: int, state: Any, about: dict[str, Any], best: int = 0) -> None:
        """Saves a tree of arrays in the background. Waits for the previous save, and raises its errors.

        Args:
          step: updates so far.
          state: the arrays.
          about: JSON, kept beside the arrays.
          best: the step of the best epoch, whose checkpoint is kept as well.
        """
        self._wait()
        # The next step writes into the buffers of `state`: the thread needs a copy. Orbax writes NumPy's arrays in half
        # the time, and they name no device, which might be absent where they are restored.
        copy = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(self._write, step, copy, about, best)

    def _write(self, step: int, state: Any, about: dict[str, Any], best: int) -> None:
        with jax.profiler.TraceAnnotation("checkpoint"):
            args = orbax.imported().args
            about = files.seal(about | {"run": self._run, "step": step, "digest": digest(state)})
            items = args.Composite(state=args.StandardSave(state), about=args.JsonSave(about))
            try:
                self._kept.best = best
                self._orbax.save(step, args=items)
            except Exception as error:  # A dozen types, for a full disk as for a missing one.
                orbax.await_threads()
                raise OSError(reason(error)) from error
            finally:
                self._remove_rests()

    def _remove_rests(self) -> None:
        """Removes checkpoints that were not saved to their ends, or not deleted to their ends."""
        for rest in () if self._read_only else self._folder.glob(_RESTS):
            shutil.rmtree(rest, ignore_errors=True)

    def _wait(self) -> None:
        """Waits until everything is on disk; raises the error of the thread."""
        saving, self._saving = self._saving, None
        if saving:
            saving.result()

    def steps(self) -> list[int]:
        """The numbers of updates after which there are checkpoints, the latest first."""
        self._wait()
        return sorted(self._orbax.all_steps(), reverse=True)

    def restore(self, step: int, like: Any = None) -> tuple[Any, dict[str, Any]]:
        """Returns the state that was saved after `step` updates, as arrays of NumPy, and its `about`.

        Args:
          step: one of `steps()`.
          like: a state with the wanted structure, shapes and types; without it, the arrays come as saved, in dicts.

        Raises:
          Damaged: the content is not what was saved, or not like `like`.
          OSError, MemoryError: the machine could not read it this time.
          UserError: it is intact, but of another step or another run.
        """
        self._wait()
        try:
            # Orbax starts an event loop, which this thread cannot if it has one already, as that of a notebook has.
            return self._thread.submit(self._restore, step, like).result()
        except (Damaged, UserError, MemoryError):
            raise
        except Exception as error:  # Many types, for files that are missing, cut or nonsense.
            if (code := system_code(error)) in OF_THE_MACHINE:
                raise OSError(code, os.strerror(code), str(self._folder / str(step))) from error
            raise Damaged(reason(error, with_type=True)) from error

    def _restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        args = orbax.imported().args
        # First, because a folder that Orbax cannot list, with too many files open, would be an empty one to it.
        size = _size(self._folder / str(step))
        _check_size(self._orbax.item_metadata(step)["state"].tree, size)
        empty = None if like is None else jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
        items = args.Composite(state=args.StandardRestore(empty), about=args.JsonRestore())
        restored = self._orbax.restore(step, args=items)
        state, about = restored.state, files.unseal(restored.about, required=bool(self._run))
        if like is not None and _kinds(like) != _kinds(state):
            raise Damaged("its arrays have other shapes than those of the network")
        # Checkpoints of earlier versions have no digest.
        if about.pop("digest", None) not in (None, digest(state)):
            raise Damaged("its arrays are not those that were saved")
        saved_at, run = about.pop("step", step), about.pop("run", None)
        if (saved_at, run) != (step, self._run):
            origin = "another run" if run != self._run else f"step {saved_at}"
            raise UserError(
                f"{self._folder / str(step)} is a checkpoint of {origin}: put back the run's own, or remove it."
            )
        return state, about

    def remove(self, step: int) -> None:
        """Deletes a checkpoint, such as a damaged one, so that the run can save there again."""
        self._orbax.delete(step)
        self._remove_rests()

    def remove_replaced(self, best: int) -> None:
        """Deletes what a kill between a save and the deletions after it has left; `best` as for `save`."""
        for step in self.steps()[_LATEST:]:
            if step != best:
                self.remove(step)

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._thread.shutdown()
        if "_orbax" in vars(self):
            self._orbax.close()
            self._remove_rests()  # Those that could not be removed before.
        self._wait()


@dataclasses.dataclass
class _Kept:
    """Tells Orbax to keep the latest checkpoints and that of the step `best`.

    Orbax's own policy for the best reads a metrics file in each checkpoint, and fails on a damaged one.
    """

    best: int = 0

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        latest = [checkpoint.step for checkpoint in checkpoints][-_LATEST:]
        return [checkpoint.step in (*latest, self.best) for checkpoint in checkpoints]


def latest(
    checkpoints: Checkpoints, workdir: Workdir, like: Any, required: Iterable[str], say: Callable[[str], None]
) -> tuple[Any, dict[str, Any]] | None:
    """Returns state and `about` of the latest intact checkpoint whose epochs are recorded; None if there is none.

        state, about = latest(checkpoints, workdir, like, ["train"], print)

    Deletes damaged newer checkpoints, with a message, but only after an intact older one was found. If none is intact,
    nothing is deleted.

    Args:
      like: see `Checkpoints.restore`.
      required: keys that `about` must have.

    Raises:
      UserError: there are checkpoints, but none is intact.
      OSError, MemoryError: the machine could not read one this time; it may be intact.
    """
    if not workdir.checkpoints.is_dir():
        return None
    recorded = len(workdir.history())
    damaged = {}
    for step in checkpoints.steps():
        try:
            state, about = checkpoints.restore(step, like)
            if missing := set(required) - about.keys():
                raise Damaged(f"it does not say its {min(missing)}")
            if recorded < about["epoch"]:
                raise Damaged(f"metrics.jsonl has no record of some of its {about['epoch']} epochs")
        except Damaged as error:
            damaged[step] = str(error)
            continue
        for newer, damage in damaged.items():
            say(f"the checkpoint {workdir.checkpoints / str(newer)} was damaged, and is removed ({damage})")
            checkpoints.remove(newer)
        return state, about
    if not damaged:
        return None
    step, damage = next(iter(damaged.items()))
    raise UserError(
        f"{workdir.path} has no checkpoint that is whole (that of step {step}: {damage}): give another --workdir, or "
        "remove this one to train from the beginning."
    )


def best(checkpoints: Checkpoints, workdir: Workdir, like: Any, step: int) -> tuple[Any, dict[str, Any]]:
    """Returns the checkpoint of the best epoch, which ended after `step` updates; UserError if it is damaged."""
    try:
        return checkpoints.restore(step, like)
    except Damaged as error:
        raise UserError(
            f"{workdir.checkpoints / str(step)}, the checkpoint of the best epoch, is damaged ({error}): give "
            f"another --workdir, or remove {workdir.path} to train from the beginning."
        ) from error


def digest(state: Any) -> str:
    """SHA-256 over the arrays of a state, with their names, types and shapes."""
    sha = hashlib.sha256()
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    # Orbax gives named tuples back as dicts, and other tuples as lists: "a/0" names an entry of either.
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    for name in sorted(named):
        array = named[name]
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _kinds(tree: Any) -> list[tuple]:
    return [(array.shape, array.dtype) for array in jax.tree.leaves(tree)]


def _most_bytes(path: pathlib.Path) -> int:
    """The bytes that a file of a checkpoint may have: Orbax keeps the arrays in folders `d`."""
    return _MOST_BYTES_OF_DATA if path.parent.name == "d" else _MOST_BYTES_OF_WORDS


def _size(folder: pathlib.Path) -> int:
    """The bytes of a folder's files on the disk: of a sparse file, only the part that is there counts."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    # Windows counts no blocks.
    return sum(min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512) for status in found)


def _check_size(arrays: Any, size: int) -> None:
    """Raises Damaged if a checkpoint declares far larger arrays than its files, of `size` bytes, can hold."""
    declared = sum(math.prod(array.shape) * array.dtype.itemsize for array in jax.tree.leaves(arrays))
    if declared > max(_MOST_BYTES, 100 * size):
        raise Damaged(f"it declares arrays of {declared:,} bytes, in files of {size:,}")
