"""Everything of other libraries that this project uses although it is private there, or an experiment.

A new version may change any of it without a word. tests/runtime/private_test.py finds that out.
"""

from collections.abc import Callable
import contextlib
import ctypes
import functools
import os
from typing import Any

import jax

# XLA's option for the small products of dense networks on a CPU: Eigen's are 1.5 times as fast a step as YNNPACK's.
# Another XLA may not know it, and then refuses to compile with it.
EIGEN_PRODUCTS = {"xla_cpu_experimental_ynn_fusion_type": ""}

# C++ calls it: it must live as long as the process.
_terminate: Any = None


def scheduled_processes() -> int:
    """The number of processes that a scheduler started for this job, as `jax.distributed` detects it; 1 without one.

    Raises:
      Exception: the scheduler does not tell the number, or which of them this is: a pod may not ask Kubernetes, or is
        one of several that work apart.
    """
    clusters = jax._src.clusters.ClusterEnv._cluster_types
    present = (cluster for cluster in clusters if not cluster.opt_in_only_method and cluster.is_env_present())
    first = next(present, None)
    count = first.get_process_count() if first else 1
    if count > 1:
        first.get_process_id()
    return count


def distributed_state() -> Any:
    """JAX's own record of the processes: `coordinator_address`, `process_id`, `num_processes`."""
    return jax._src.distributed.global_state


def call_when_a_process_is_lost(function: Callable[[], None]) -> None:
    """Has JAX call a function, which must end this process, where it would abort it: another process is gone.

    JAX has a callback for it that cannot be written in Python: jaxlib 0.10 fails to convert its argument, throws
    std::bad_cast in a thread of its own, and C++ calls the terminate handler. This is what is set here.
    """
    global _terminate
    jaxlib = jax._src.distributed._jax
    with contextlib.suppress(OSError, AttributeError):  # Another C++ library: JAX aborts, with a C++ stack.
        _terminate = ctypes.CFUNCTYPE(None)(function)
        set_terminate = ctypes.CDLL("libstdc++.so.6")._ZSt13set_terminatePFvvE
        set_terminate.argtypes, set_terminate.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_terminate(ctypes.cast(_terminate, ctypes.c_void_p))
        connect = functools.partial(
            jaxlib.get_distributed_runtime_client, missed_heartbeat_callback=lambda *_: function()
        )
        jaxlib.get_distributed_runtime_client = connect
        if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # JAX's default; another one is the user's choice.
            jax._src.lib.utils.absl_set_min_log_level(3)  # No errors of C++: `function` says it in a sentence.


def keep_programs(folder: str, cache: Any) -> None:
    """Has JAX keep compiled programs in `cache`, wherever it would keep them in the files of `folder`.

    A JAX that has no such place keeps its own files there.
    """
    ours = jax._src.compilation_cache
    if files := getattr(ours, "get_file_cache", None):
        ours.get_file_cache = lambda path: (cache, path) if path == folder else files(path)


def random_seed_offset(offset: int) -> contextlib.AbstractContextManager[None]:
    """A context in which JAX adds `offset` to every seed, in place of JAX_RANDOM_SEED_OFFSET."""
    return jax._src.config.random_seed_offset(offset)


def redirect_ray_logs(ray: Any, tell: Callable[[list[str]], None]) -> None:
    """Has Ray give the lines of its workers' logs to `tell`. It prints pages of them, also without `log_to_driver`."""

    def print_to_stdstream(data, **_):
        tell(data["lines"])

    ray._private.worker.print_to_stdstream = print_to_stdstream


def silence_trackio(trackio: Any) -> None:
    """Has Trackio print nothing. It has no setting for it, and prints lines for every run that begins and ends."""
    for module in (trackio, trackio.run, trackio.utils):
        module.print = lambda *_, **__: None


def trackio_steps(run: Any) -> int:
    """The last step that Trackio has of a run that goes on; 0 for a new one."""
    return max(0, run._next_step - 1)
