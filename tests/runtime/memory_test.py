"""The memory that a program needs, that a device has left, and that a process had; too little of it as a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from digits.errors import OutOfMemory
from digits.runtime import memory


def test_memory_of_a_program_counts_its_results_and_temporaries():
    compiled = jax.jit(lambda x: (jnp.sort(x) @ x.T) @ x).lower(jnp.zeros((256, 512))).compile()
    need = memory.needed(compiled)
    assert 256 * 512 * 4 + 256 * 256 * 4 <= need < 20 * 256 * 512 * 4
    assert memory.mib(3 * 2**20) == "3 MiB"


def test_a_cpu_has_left_what_the_system_can_give():
    class Accelerator:
        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": 30}

    assert 2**20 < memory.free(jax.devices("cpu")[0]) < psutil.virtual_memory().total
    assert memory.free(Accelerator()) == 70


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 byte")])
def test_too_little_memory_is_named(error):
    with pytest.raises(OutOfMemory, match="config.batch_size below 64"), memory.out_of_memory_named(64):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory.out_of_memory_named(64):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_peak_memory_is_of_this_process_alone_and_in_bytes(tmp_path, run_module):
    """The process that starts the others, this one, has had more than the 200 MB that one of them takes."""
    ballast = np.ones(400_000_000, np.uint8)
    peaks = []
    for size in (1, 200_000_000):
        (tmp_path / "peak.py").write_text(
            f"import numpy as np\nfrom digits.runtime import memory\nx = np.ones({size}, np.uint8)\ndel x\n"
            "print(memory.peak_memory())\n"
        )
        peaks.append(int(run_module("peak", env={"PYTHONPATH": f"{tmp_path}:."}).stdout))
    assert peaks[1] - peaks[0] == pytest.approx(200_000_000, rel=0.1) and peaks[0] < ballast.nbytes
