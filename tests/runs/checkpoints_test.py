"""Checkpoints are saved in a thread and read to their ends, also when either fails; faults_test.py damages more."""

import asyncio
import concurrent.futures
import gc
import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.runs.checkpoints import Checkpoints, Damaged


def test_saving_is_of_a_copy_and_what_goes_wrong_in_its_thread_is_raised(tmp_path):
    """The training overwrites its buffers while the thread writes, as a donating program does."""
    saved = Checkpoints(tmp_path / "checkpoints")
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    state = {"x": jnp.arange(1000.0)}
    for step in (1, 2):
        saved.save(step, state, {"epoch": step}, best=1)
        state = {"x": double(state["x"])}
    restored, about = saved.restore(2, state)
    np.testing.assert_array_equal(restored["x"], 2 * np.arange(1000.0))
    assert about == {"epoch": 2} and saved.steps() == [2, 1]
    saved.save(3, state, {"epoch": object()})  # No JSON.
    with pytest.raises(TypeError):
        saved.steps()
    saved.close()


def test_a_failed_read_leaves_the_process_as_it_was_and_prints_nothing(tmp_path, capfd):
    """Orbax reads arrays at once. The reads beside the one that fails end too, also in a notebook's event loop."""
    saved = Checkpoints(tmp_path / "checkpoints")
    rng = np.random.default_rng(0)
    saved.save(1, {f"array_{i}": rng.random((300, 300)) for i in range(30)}, {"epoch": 1})
    saved.steps()
    before = sys.unraisablehook, asyncio.new_event_loop, logging.getLogger("asyncio").level

    def damage_each_file():
        refused = 0
        for path in sorted((tmp_path / "checkpoints" / "1" / "state").rglob("d/*")):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            try:
                saved.restore(1)
            except Damaged:
                refused += 1
            path.write_bytes(content)
        return refused

    async def in_a_loop():
        return damage_each_file()

    assert damage_each_file() and asyncio.run(in_a_loop())
    assert (sys.unraisablehook, asyncio.new_event_loop, logging.getLogger("asyncio").level) == before
    assert saved.restore(1)[1] == {"epoch": 1}
    saved.close()
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_reads_in_several_threads_leave_the_process_as_it_was(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(1, {"array": np.arange(1000)}, {"epoch": 1})
    saved.close()
    before = asyncio.new_event_loop
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [Checkpoints(tmp_path / "checkpoints", read_only=True) for _ in range(8)]
        for state, about in pool.map(lambda reader: reader.restore(1), readers):
            assert state["array"].sum() == 499500 and about == {"epoch": 1}
    assert asyncio.new_event_loop is before
