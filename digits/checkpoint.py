"""Orbax checkpoints: saving and restoring a run.

Each carries a digest of its arrays and of what is saved about them, and what has another one by now is damaged: a few
wrong bits would otherwise go on training, or be somebody's accuracy.
"""

from collections.abc import Sequence
import concurrent.futures
import contextlib
import errno
import functools
import gc
import hashlib
import logging
import math
import pathlib
import shutil
import sys
from typing import Any

import jax
import numpy as np

from digits import files, hosts


def _import_orbax():
    """Orbax, which takes a second to import: only where a checkpoint is written or read."""
    import orbax.checkpoint as ocp

    # It warns of its own defaults and reports every step of a save.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return ocp


@contextlib.contextmanager
def _one_error():
    """When one read fails, keeps what asyncio prints of the others that Orbax began from burying that one error."""
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception:
        # Those in flight end whenever they do, and find their event loop closed.
        sys.unraisablehook = lambda given: "loop is closed" in str(given.exc_value) or hook(given)
        gc.collect()  # The others' errors are printed when they are collected.
        raise
    finally:
        logger.setLevel(level)


# Files of a few bytes may declare arrays of terabytes: more than this much, and a hundred times the files, is refused.
_MOST_BYTES = 2**30
_KEPT = 2  # The latest, and one to go back to.
# What a file that is whole can fail with too, and may not the next time.
_OF_THE_MACHINE = {errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT}


class Damaged(Exception):
    """A checkpoint is not what was saved; the message says in what."""


class Checkpoints:
    """The checkpoints of a run: the latest two, and that of the best epoch. A thread saves them behind the training.

    Orbax could save in the background itself, but only after 10 to 20 ms of its own in the foreground; here the
    training waits for a copy of the arrays, and for the save before if that is still going on.
    """

    def __init__(self, directory: pathlib.Path, read_only: bool = False):
        self._directory, self._read_only = directory, read_only
        self._thread, self._saving, self._best = concurrent.futures.ThreadPoolExecutor(1), None, 0

    @functools.cached_property
    def _orbax(self):
        ocp = _import_orbax()
        if not self._read_only:
            self._directory.mkdir(exist_ok=True)
            for unfinished in self._directory.glob("*.orbax-checkpoint-tmp*"):  # Of a process that was killed.
                shutil.rmtree(unfinished, ignore_errors=True)
        # Of several processes this one alone has checkpoints: it must not wait for the others.
        alone = (
            ocp.options.MultiprocessingOptions(
                primary_host=jax.process_index(),
                active_processes={jax.process_index()},
                barrier_sync_key_prefix="digits",
            )
            if hosts.several()
            else ocp.options.MultiprocessingOptions()
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self, create=False, read_only=self._read_only,
            enable_async_checkpointing=False, multiprocessing_options=alone,
        )  # fmt: skip
        # Named, so that what an array declares of itself can be asked for before it is read.
        handlers = {
            "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
            "about": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        }
        return ocp.CheckpointManager(self._directory, options=options, item_handlers=handlers)

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        self._saving = self._saving or self._thread.submit(lambda: self._orbax)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """What Orbax asks of a policy. Its own for the best needs a file in each checkpoint, and stops where one is bad."""
        latest = [checkpoint.step for checkpoint in checkpoints][-_KEPT:]
        return [checkpoint.step in (*latest, self._best) for checkpoint in checkpoints]

    def save(self, step: int, state: Any, about: dict[str, Any], best: int = 0) -> None:
        """Saves after `step` updates. `about` is JSON; `best` is the step that is kept as well, that of the best epoch.

        At most one save is ever under way: a killed run has lost no more than that and what it trained meanwhile.
        """
        self._wait()
        # A copy, for the next step is given the buffers of `state` to write to. Orbax takes half the time for arrays of
        # NumPy, and they say nothing of the device, which may be absent where they are restored.
        copy = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(self._write, step, copy, about, best)

    def _write(self, step: int, state: Any, about: dict[str, Any], best: int) -> None:
        with jax.profiler.TraceAnnotation("checkpoint"):
            args = _import_orbax().args
            about = files.seal(about | {"digest": digest(state)})
            items = args.Composite(state=args.StandardSave(state), about=args.JsonSave(about))
            try:
                self._best = best
                self._orbax.save(step, args=items)
            except Exception as error:  # A dozen kinds, for a full disk as for a missing one.
                raise OSError(str(error).strip().splitlines()[0][:200]) from error

    def _wait(self) -> None:
        """Waits until everything is on disk; raises what went wrong in the thread."""
        saving, self._saving = self._saving, None
        if saving:
            saving.result()

    def steps(self) -> list[int]:
        """After how many updates there is a checkpoint, the latest first."""
        self._wait()
        return sorted(self._orbax.all_steps(), reverse=True)

    def restore(self, step: int, like: Any = None) -> tuple[Any, dict[str, Any]]:
        """The state saved after `step` updates, as arrays of NumPy, and its `about`.

        Args:
          step: one of `steps()`.
          like: a state with the structure, shapes and types that it must have; without, it is what was saved, in dicts.

        Raises:
          Damaged: it is not what was saved, or not like `like`.
          OSError, MemoryError: the machine does not let it be read now.
        """
        self._wait()
        try:
            with _one_error():
                return self._restore(step, like)
        except (Damaged, MemoryError):
            raise
        except Exception as error:  # Whatever Orbax and its storage raise for what is missing, cut short or nonsense.
            if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
                raise
            lines = str(error).strip().splitlines()
            raise Damaged(f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__) from error

    def _restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        args, folder = _import_orbax().args, self._directory / str(step)
        saved = jax.tree.leaves(self._orbax.item_metadata(step)["state"].tree)
        declared = sum(math.prod(array.shape) * array.dtype.itemsize for array in saved)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if declared > max(_MOST_BYTES, 100 * size):
            raise Damaged(f"it declares arrays of {declared:,} bytes, in files of {size:,}")
        empty = None if like is None else jax.tree.map(lambda a: np.empty(a.shape, a.dtype), like)
        items = args.Composite(state=args.StandardRestore(empty), about=args.JsonRestore())
        restored = self._orbax.restore(step, args=items)
        state, about = restored.state, files.unseal(restored.about)
        if like is not None:
            kinds = [[(a.shape, a.dtype) for a in jax.tree.leaves(tree)] for tree in (like, state)]
            if kinds[0] != kinds[1]:
                raise Damaged("its arrays have other shapes than those of the network")
        # Checkpoints of earlier versions have no digest.
        if about.pop("digest", None) not in (None, digest(state)):
            raise Damaged("its arrays are not those that were saved")
        return state, about

    def remove(self, step: int) -> None:
        """Removes a damaged one, so that the run can save there again."""
        shutil.rmtree(self._directory / str(step))
        self._orbax.reload()

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._thread.shutdown()
        if "_orbax" in vars(self):
            self._orbax.close()
        self._wait()


class NoCheckpoints:
    """Those of the processes of a run that write nothing."""

    def prepare(self) -> None:
        pass

    def save(self, step: int, state: Any, about: dict[str, Any], best: int = 0) -> None:
        pass

    def steps(self) -> list[int]:
        return []

    def close(self) -> None:
        pass


def digest(state: Any) -> str:
    """SHA-256 over the arrays of a state, with their names, types and shapes."""
    sha = hashlib.sha256()
    # Orbax gives tuples with names back as dicts, those without as lists.
    word = lambda key: str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    named = {"/".join(map(word, path)): np.asarray(leaf) for path, leaf in leaves}
    for name, array in sorted(named.items(), key=lambda item: item[0]):
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
