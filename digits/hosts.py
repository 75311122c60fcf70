"""Several processes, on one host or many, that train one run together.

Each reads its own copy of the data and computes its devices' part of every batch (digits/parallel.py); the first one
alone reads and writes the run's directory. What a process finds out by itself, a signal or a damaged file, it tells the
others before anyone acts on it: whoever goes another way leaves the rest waiting for ever.
"""

from collections.abc import Callable, Iterator
import contextlib
import json
import os
import re
import sys
import traceback
from typing import Any

import jax
import numpy as np

from digits.errors import UserError
from digits.interrupt import Interrupted


def join(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Makes this process one of several, before JAX does anything else; does nothing where it is the only one.

    Args:
      coordinator: HOST:PORT of the first process; None where SLURM, a TPU pod or Kubernetes tells.
      count: how many processes there are.
      index: which of them this is, from 0.

    Raises:
      UserError: not all of them are given or none, or the others cannot be reached.
    """
    given = {"--coordinator": coordinator, "--num_processes": count, "--process_id": index}
    missing = [flag for flag, value in given.items() if value is None]
    if len(missing) == len(given):
        if not _scheduled():
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
    except Exception as error:  # What JAX, gRPC and the schedulers' clients raise.
        reason = str(error).strip().splitlines()[0][:300]
        raise UserError(f"The processes of {coordinator or 'this job'} found no way to each other: {reason}") from error


def _scheduled() -> bool:
    """Whether a scheduler has started several processes for one run, as JAX's own detection tells."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) < 2 and "SLURM_JOB_ID" in os.environ:
        return False  # A batch script alone has the variables of its job's tasks, too.
    if not any(name in os.environ for name in ("SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST", "TPU_WORKER_HOSTNAMES")):
        return False
    from jax._src.clusters import ClusterEnv  # Has no public name.

    environments = [e for e in ClusterEnv._cluster_types if not e.opt_in_only_method and e.is_env_present()]
    return bool(environments) and environments[0].get_process_count() > 1


def several() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Whether it is the one that reads and writes the run's directory."""
    return not several() or jax.process_index() == 0


@contextlib.contextmanager
def company() -> Iterator[None]:
    """What stops one of several processes stops all: it leaves at once, where the others would wait for it, or it for
    them, until JAX gives up."""
    if not several():
        yield
        return
    try:
        yield
    except Interrupted:
        raise  # All of them, together.
    except BaseException as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
            error = "Another process of this run may have ended, or this one failed: start all of them again to go on."
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(2 if isinstance(error, UserError) else 1)


def gather(*numbers: int) -> np.ndarray:
    """The numbers of all processes, a row each."""
    row = np.array(numbers, np.int32)
    if not several():
        return row[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(row)).reshape(-1, len(numbers))


def from_first(function: Callable[[], Any]) -> Any:
    """What the function, called by the first process alone, returns; it must be JSON. Its UserError is everybody's."""
    if not several():
        return function()
    said, raised = None, None
    if first():
        try:
            said = {"value": function()}
        except Exception as error:
            said, raised = {"error": str(error)}, error
    said = json.loads(_broadcast(json.dumps(said).encode() if first() else b""))
    if raised:
        raise raised
    if "error" in said:
        raise UserError(said["error"])
    return said["value"]


def together(function: Callable[[], Any]) -> Any:
    """What the function, called by every process, returns in this one; UserError in all if it is raised in any."""
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
        raise UserError(f"Process {failed[0]} cannot go on: what it says is the reason.")
    return result


def arrays_from_first(tree: Any) -> Any:
    """The first process's arrays; the others give arrays of the same shapes and types."""
    if not several():
        return tree
    from jax.experimental import multihost_utils

    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def check_same(what: str, digest: str) -> None:
    """Raises UserError in all processes unless they have the same digest."""
    if not several():
        return
    theirs = from_first(lambda: digest)
    other = np.flatnonzero(gather(digest != theirs)[:, 0])
    if len(other):
        raise UserError(f"{what} of process {other[0]} are not those of process 0: give all of them the same.")


def _broadcast(content: bytes) -> bytes:
    from jax.experimental import multihost_utils

    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(size, np.uint8)
    if first():
        buffer[:] = np.frombuffer(content, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8))
