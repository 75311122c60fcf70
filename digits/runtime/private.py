"""Everything of other libraries that this project uses although it is private there, or an experiment.

A new version may change any of it without a word. tests/runtime/private_test.py finds that out.
"""

from collections.abc import Callable
import contextlib
from typing import Any

import jax

# XLA's option for the small products of dense networks on a CPU: Eigen's are 1.5 times as fast a step as YNNPACK's.
# Another XLA may not know it, and then refuses to compile with it.
EIGEN_PRODUCTS = {"xla_cpu_experimental_ynn_fusion_type": ""}


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
