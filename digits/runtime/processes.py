"""Several processes, on one machine or many, that train one run together.

Each process reads its own copy of the data and computes the part of every batch that belongs to its devices
(digits/runtime/devices.py). The first process alone reads and writes the run's folder. All processes must call the same
collectives in the same order: a process that finds a signal or a damaged file tells the others before it acts.
"""

import atexit
from collections.abc import Callable, Iterator
import contextlib
import importlib.util
import json
import os
import re
import socket
import sys
import threading
import traceback
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from digits.errors import UserError, reason
from digits.runtime import private
from digits.runtime.signals import Interrupted

# How the libraries of collectives, and JAX's coordination of processes, report that another process is gone.
_LOST = ("Gloo", "NCCL", "CoordinationService", "coordination service", "Connection reset", "Connection closed")
_SECONDS_TO_ANSWER = 5
_ending = threading.Lock()  # Several threads may find at once that the process must end: one says why.


def join(coordinator: str | None, count: int | None, index: int | None, timeout: int = 60) -> None:
    """Connects this process with the others of its run; does nothing if it is the only one.

    Must be called before JAX does anything else: `join("10.0.0.1:1234", count=2, index=0)`.

    Ends the process, with a sentence, if the others do not come within the time, or if one of them is gone later.

    Args:
      coordinator: HOST:PORT of the first process; None where SLURM, a TPU pod or Kubernetes tells.
      count: number of processes.
      index: number of this process, from 0.
      timeout: seconds to wait for the others.

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
    private.call_when_a_process_is_lost(lambda: _end(_gone(), 1))
    # JAX itself would abort the process, with a C++ stack.
    late = threading.Timer(timeout, lambda: _end(_late(timeout), 2))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=2 * timeout + 60)
    except Exception as error:  # JAX, gRPC and the schedulers' clients raise many types.
        raise UserError(
            f"The processes of {coordinator or 'this job'} found no way to each other: {reason(error)}."
        ) from error
    finally:
        late.cancel()
    atexit.register(_leave)


def _late(timeout: int) -> str:
    """Says who did not come within the time."""
    coordinator, this, count = _place()
    if this and not _answers(coordinator):
        who = f"Process {this} found no process 0 at {coordinator}"
    else:
        who = f"Process {this} waited for the others at {coordinator}, but not all of the {count} processes came"
    return f"{who} within {timeout} s: start all within --initialization_timeout={timeout}, or give them more seconds."


def _gone() -> str:
    """Says which other process is gone, if that can be known, and how the run goes on."""
    coordinator, this, count = _place()
    others = {0} if this and not _answers(coordinator) else set(range(count)) - {this}
    who = f"Process {min(others)}" if len(others) == 1 else "Another process"
    return (
        f"{who} of this run has ended or was killed, and process {this} ends with it. The last checkpoint is whole: "
        "start all processes again to go on."
    )


def _place() -> tuple[str, int, int]:
    """The address of the first process, the number of this one, and the number of all."""
    state = private.distributed_state()
    return state.coordinator_address or "the address of this job", state.process_id, state.num_processes


def _answers(coordinator: str) -> bool:
    """Whether the first process is there."""
    host, _, port = coordinator.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError):
        return False
    return True


def _end(message: str, code: int) -> None:
    """Ends the process at once: it may wait in a collective, and in C++ for the others."""
    _ending.acquire()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"error: {message}\n".encode(errors="backslashreplace"))
    os._exit(code)


def _leave() -> None:
    """Takes leave of the other processes; of a run that has ended, one that is gone is missed by nobody."""
    with contextlib.suppress(Exception):
        jax.distributed.shutdown()


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
        if isinstance(error, UserError):
            _end(str(error), 2)
        if isinstance(error, Exception) and any(words in str(error) for words in _LOST):
            _end(_gone(), 1)
        traceback.print_exc()
        _end("This process has failed, and ends those that train with it: start all of them again to go on.", 1)


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
