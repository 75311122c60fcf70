"""The machine that JAX runs on: settings for the whole process, and too little memory as a sentence."""

import contextlib

import jax
from ml_collections import ConfigDict

from digits import data
from digits.errors import OutOfMemory


def prepare_jax(config: ConfigDict) -> None:
    """Sets JAX up for the whole process: keeps compiled programs in the cache folder, if `config.compilation_cache`."""
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(data.cache_dir() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@contextlib.contextmanager
def out_of_memory_named(batch_size: int):
    """Turns XLA's report of too little memory into an OutOfMemory that names the batch size.

    with out_of_memory_named(config.batch_size):
        state = step(state, batch)
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):
            raise OutOfMemory(
                f"The device has too little memory for a step: try a config.batch_size below {batch_size}."
            ) from error
        raise
