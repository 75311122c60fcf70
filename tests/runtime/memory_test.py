"""The memory that a program needs, and that a device has left."""

import jax
import jax.numpy as jnp

from digits.runtime import memory


def test_memory_of_a_program_counts_its_results_and_temporaries():
    compiled = jax.jit(lambda x: (jnp.sort(x) @ x.T) @ x).lower(jnp.zeros((256, 512))).compile()
    need = memory.needed(compiled)
    assert 256 * 512 * 4 + 256 * 256 * 4 <= need < 20 * 256 * 512 * 4
    assert memory.free(jax.devices()[0]) > 2**20
    assert memory.mib(3 * 2**20) == "3 MiB"
