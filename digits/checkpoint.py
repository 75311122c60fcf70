"""Orbax checkpoints: saving and restoring a run."""

import concurrent.futures
import contextlib
import functools
import gc
import logging
import pathlib
import sys
from typing import Any

import jax
import numpy as np


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


class Checkpoints:
    """The checkpoints of a run: the latest, and the best by its rank. A thread saves them behind the training.

    Orbax could save in the background itself, but only after 10 to 20 ms of its own in the foreground; here the
    training waits for a copy of the arrays, and for the save before if that is still going on.
    """

    def __init__(self, directory: pathlib.Path, read_only: bool = False):
        self._directory, self._read_only = directory, read_only
        self._thread, self._saving = concurrent.futures.ThreadPoolExecutor(1), None

    @functools.cached_property
    def _orbax(self):
        ocp = _import_orbax()
        rank = lambda metrics: metrics["rank"]
        latest, best = ocp.checkpoint_managers.LatestN, ocp.checkpoint_managers.BestN
        keep = ocp.checkpoint_managers.AnyPreservationPolicy(
            [latest(1), best(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep, best_fn=rank, best_mode="max", create=not self._read_only,
            read_only=self._read_only, enable_async_checkpointing=False,
        )  # fmt: skip
        return ocp.CheckpointManager(self._directory, options=options, item_names=("state", "about"))

    def prepare(self) -> None:
        """Imports Orbax in the background."""
        self._saving = self._saving or self._thread.submit(lambda: self._orbax)

    def save(self, step: int, state: Any, about: dict[str, Any], rank: int) -> None:
        """Saves after `step` updates. `about` is JSON; `rank` is the epoch if it is the best so far, otherwise 0.

        At most one save is ever under way: a killed run has lost no more than that and what it trained meanwhile.
        """
        self._wait()
        # A copy, for the next step is given the buffers of `state` to write to. Orbax takes half the time for arrays of
        # NumPy, and they say nothing of the device, which may be absent where they are restored.
        copy = jax.tree.map(np.array, jax.device_get(state))
        self._saving = self._thread.submit(self._write, step, copy, about, rank)

    def _write(self, step: int, state: Any, about: dict[str, Any], rank: int) -> None:
        with jax.profiler.TraceAnnotation("checkpoint"):
            args = _import_orbax().args
            items = args.Composite(state=args.StandardSave(state), about=args.JsonSave(about))
            self._orbax.save(step, args=items, metrics={"rank": rank})

    def _wait(self) -> None:
        """Waits until everything is on disk; raises what went wrong in the thread."""
        saving, self._saving = self._saving, None
        if saving:
            saving.result()

    def latest_step(self) -> int | None:
        self._wait()
        return self._orbax.latest_step()

    def best_step(self) -> int | None:
        """The step of the best epoch; the latest where no epoch was ever ranked."""
        self._wait()
        return self._orbax.best_step()

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state saved after `step` updates, of the structure, types and placement of `like`, and its `about`."""
        return self._restore(step, _import_orbax().args.StandardRestore(like))

    def restore_anywhere(self, step: int) -> tuple[dict, dict[str, Any]]:
        """As `restore`, but without knowing the structure, and as arrays of NumPy."""
        return self._restore(step, _import_orbax().args.StandardRestore())

    def _restore(self, step: int, state: Any) -> tuple[Any, dict[str, Any]]:
        self._wait()
        args = _import_orbax().args
        with _one_error():
            restored = self._orbax.restore(step, args=args.Composite(state=state, about=args.JsonRestore()))
        return restored.state, restored.about

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._thread.shutdown()
        if "_orbax" in vars(self):
            self._orbax.close()
        self._wait()


def __getattr__(name: str):
    # They were here before they had a module of their own, which imports this one.
    if name in ("Run", "load"):
        from digits import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'digits.checkpoint' has no attribute {name!r}")
