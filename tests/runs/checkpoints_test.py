"""Checkpoints are saved in a thread and read to their ends, also when either fails; faults_test.py damages more."""

import asyncio
import concurrent.futures
import errno
import gc
import logging
import os
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from digits.errors import UserError
from digits.runs.checkpoints import Checkpoints, Damaged


def test_saving_is_of_a_copy_and_what_goes_wrong_in_its_thread_is_raised(tmp_path):
    """The training overwrites its buffers while the thread writes, as a donating program does."""
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
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
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
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
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
    saved.save(1, {"array": np.arange(1000)}, {"epoch": 1})
    saved.close()
    before = asyncio.new_event_loop
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [Checkpoints(tmp_path / "checkpoints", "5f3a", read_only=True) for _ in range(8)]
        for state, about in pool.map(lambda reader: reader.restore(1), readers):
            assert state["array"].sum() == 499500 and about == {"epoch": 1}
    assert asyncio.new_event_loop is before


def test_a_checkpoint_of_another_step_or_another_run_is_neither_used_nor_deleted(tmp_path):
    """Somebody may have put it there, who will want it back."""
    for run in ("5f3a", "5f3b"):
        saved = Checkpoints(tmp_path / run, run)
        for step in (1, 2):
            saved.save(step, {"array": np.arange(step)}, {"epoch": step})
        saved.close()
    shutil.rmtree(tmp_path / "5f3a" / "2")
    for source, words in ((tmp_path / "5f3a" / "1", "step 1"), (tmp_path / "5f3b" / "2", "another run")):
        shutil.copytree(source, tmp_path / "5f3a" / "2")
        saved = Checkpoints(tmp_path / "5f3a", "5f3a")
        with pytest.raises(UserError, match=f"5f3a/2 is a checkpoint of {words}: put back the run's own"):
            saved.restore(2)
        saved.close()
        shutil.rmtree(tmp_path / "5f3a" / "2")


@pytest.mark.parametrize(
    "error, code",
    [
        (OSError(errno.ESTALE, "Stale file handle"), errno.ESTALE),
        (ValueError("NOT_FOUND: Error reading x [os_error_code='5' source locations='a']"), errno.EIO),
        (ValueError("NOT_FOUND: Error opening x [os_error_code='2' source locations='a']"), None),
    ],
)
def test_a_checkpoint_that_the_machine_cannot_read_is_not_damaged(error, code, tmp_path, monkeypatch):
    """A run that goes on would delete it. TensorStore tells the errors of the machine as ValueErrors."""
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
    saved.save(1, {"array": np.arange(9)}, {"epoch": 1})
    assert saved.steps() == [1]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(saved._orbax, "restore", fail)
    with pytest.raises(OSError if code else Damaged) as raised:
        saved.restore(1)
    if code:
        assert raised.value.errno == code and raised.value.filename == str(tmp_path / "checkpoints" / "1")
    saved.close()


def test_a_checkpoint_that_cannot_be_listed_is_not_damaged(tmp_path, monkeypatch):
    """Orbax takes its folder for an empty one then."""
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
    saved.save(1, {"array": np.arange(9)}, {"epoch": 1})
    assert saved.steps() == [1]

    def fail(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OSError, match="Too many open files: .*checkpoints/1"):
        saved.restore(1)
    monkeypatch.undo()
    saved.close()


def test_exchanged_parts_of_checkpoints_are_damage(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
    for step in (1, 2):
        saved.save(step, {"array": np.arange(9) * step}, {"epoch": step})
    saved.close()
    for part in ("about", "state"):
        one, two, aside = (tmp_path / "checkpoints" / place for place in (f"1/{part}", f"2/{part}", "aside"))
        one.rename(aside), two.rename(one), aside.rename(two)
        saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
        for step in (1, 2):
            with pytest.raises(Damaged, match="are not those that were saved"):
                saved.restore(step)
        saved.close()
        one.rename(aside), two.rename(one), aside.rename(two)


@pytest.mark.parametrize("place", ["_CHECKPOINT_METADATA", "state/manifest.ocdbt", "about/metadata", "state/d/more"])
def test_a_pipe_or_a_file_without_end_hangs_nothing(tmp_path, place):
    saved = Checkpoints(tmp_path / "checkpoints", "5f3a")
    saved.save(1, {"array": np.arange(9)}, {"epoch": 1})
    saved.close()
    path = tmp_path / "checkpoints" / "1" / place
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(UserError, match="is neither a file nor a folder"):
        Checkpoints(tmp_path / "checkpoints", "5f3a", read_only=True).steps()
    path.unlink()
    path.touch()
    os.truncate(path, 2**35)  # Without content: it takes no space.
    with pytest.raises(UserError, match="is damaged: it has 34,359,738,368 bytes"):
        Checkpoints(tmp_path / "checkpoints", "5f3a", read_only=True).steps()
