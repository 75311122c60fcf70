"""Several processes, on one machine or many, that train one run together.

Each process reads its own copy of the data and computes the part of every batch that belongs to its devices
(digits/runtime/devices.py). The first process alone reads and writes the run's folder. All processes must call the same
collectives in the same order: a process that finds a signal or a damaged file tells the others before it acts.
"""

from collections.abc import Callable, Iterator
import contextlib
import importlib.util
import json
import os
import re
import sys
import traceback
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from digits.errors import UserError, reason
from digits.runtime import private
from digits.runtime.signals import Interrupted


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Connects this process with the others of its run; does nothing if it is the only one.

    Must be called before JAX does anything else: `join("10.0.0.1:1234", count=2, index=0)`.

    Args:
      coordinator: HOST:PORT of the first process; None where SLURM, a TPU pod or Kubernetes tells.
      count: number of processes.
      index: number of this process, from 0.

    Raises:
      UserError: only some of the arguments are given, or the others cannot be reached.
    """
    given = {"--coordinator": coordinator, "--num_processes": count, "--process_id": index}
    missing = [flag for flag, value in given.items() if value is None]
    if len(missing) == len(given):
        try:
            if not _scheduled():
                return
        except Exception as error:  # The schedulers' clients raise many types.
            print(f"This process trains alone: JAX found no other processes of the job ({reason(error)}).", flush=True)
            return
    elif missing:
        present = next(flag for flag in given if flag not in missing)
        raise UserError(f"{present} is {given[present]}, but {' and '.join(missing)} must be given with it.")
    elif not 0 <= index < count:
        raise UserError(
            f"--process_id is {index}, but it must be from 0 to {count - 1}, one less than --num_processes."
        )
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator is {coordinator!r}, but it must be HOST:PORT of the first process.")
    try:
        jax.distributed.initialize(coordinator, count, index)
    except Exception as error:  # JAX, gRPC and the schedulers' clients raise many types.
        raise UserError(
            f"The processes of {coordinator or 'this job'} found no way to each other: {reason(error)}."
        ) from error


def _scheduled() -> bool:
    """Whether a scheduler has started several processes for one run, by JAX's detection; any error if that fails."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) < 2 and "SLURM_JOB_ID" in os.environ:
        return False  # The batch script of a job has the variables of its tasks too.
    found = [name for name in ("SLURM_JOB_ID", "TPU_WORKER_HOSTNAMES", "KUBERNETES_SERVICE_HOST") if name in os.environ]
    if found == ["KUBERNETES_SERVICE_HOST"] and importlib.util.find_spec("kubernetes") is None:
        raise ModuleNotFoundError("the package kubernetes, which could ask for them, is not installed")
    return bool(found) and private.scheduled_processes() > 1


def several() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Whether this process is the first, which alone reads, writes and prints; true for a process by itself."""
    return not several() or jax.process_index() == 0


@contextlib.contextmanager
def failing_at_once() -> Iterator[None]:
    """If one of several processes fails within, ends it at once, with exit code 2 for a UserError and 1 otherwise.

    Otherwise it and the other processes would wait in a collective until JAX times out.
    """
    if not several():
        yield
        return
    try:
        yield
    except Interrupted:
        raise  # All processes stop together.
    except BaseException as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
            error = "Another process of this run may have ended, or this one failed: start all of them again to go on."
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(2 if isinstance(error, UserError) else 1)


def gather(*numbers: int) -> np.ndarray:
    """Returns the numbers that every process gives, PxN: a row for each process."""
    row = np.array(numbers, np.int32)
    if not several():
        return row[None]
    return np.asarray(multihost_utils.process_allgather(row)).reshape(-1, len(numbers))


def from_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process alone, and returns its value, which must be JSON, in all processes.

        result = from_first(lambda: files.result())

    Raises:
      Exception: in the first process, that of the function; in the others UserError with the same message.
    """
    if not several():
        return function()
    answer, raised = None, None
    if first():
        try:
            answer = {"value": function()}
        except Exception as error:
            answer, raised = {"error": str(error)}, error
    answer = json.loads(_broadcast(json.dumps(answer).encode() if first() else b""))
    if raised:
        raise raised
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def together(function: Callable[[], Any]) -> Any:
    """Calls a function in every process and returns its own value in each; UserError in all if one raises it."""
    if not several():
        return function()
    result, raised = None, None
    try:
        result = function()
    except UserError as error:
        raised = error
    failed = np.flatnonzero(gather(raised is not None)[:, 0])
    if raised:
        raise raised
    if len(failed):
        raise UserError(f"Process {failed[0]} cannot go on: its own message is the reason.")
    return result


def arrays_from_first(tree: Any) -> Any:
    """Returns the arrays of the first process in all of them; the others give arrays of the same shapes and types."""
    if not several():
        return tree
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def check_same(what: str, digest: str) -> None:
    """Raises UserError in all processes unless all give the same digest."""
    if not several():
        return
    theirs = from_first(lambda: digest)
    other = np.flatnonzero(gather(digest != theirs)[:, 0])
    if len(other):
        raise UserError(f"{what} of process {other[0]} are not those of process 0: give all of them the same.")


def _broadcast(content: bytes) -> bytes:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(size, np.uint8)
    if first():
        buffer[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8))
