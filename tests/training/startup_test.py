"""Before the first step: the dataset read in the background, and nothing imported without need."""

import gc
import sys
import threading

import pytest

from digits import data, errors
from digits.data import sources
from digits.training import startup
from tests.main_test import write_idx


def test_an_early_start_reads_the_dataset_and_collects_no_garbage_until_the_first_step(tmp_path, monkeypatch):
    write_idx(tmp_path, 100, 100)
    loads = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda *args: loads.append(args) or load(*args))
    gc.enable()  # A start that failed in an earlier test may still hold it off.
    start = startup.Start("fashion_mnist", str(tmp_path)).early()
    try:
        assert not gc.isenabled()
        dataset = start.dataset()
        assert loads == [("fashion_mnist", str(tmp_path))] and len(dataset.train_labels) == 100
    finally:
        start.arrived()
        gc.unfreeze()
    assert gc.isenabled() and start.seconds() > 0


def test_a_mistake_found_in_the_background_is_raised_where_the_dataset_is_needed(tmp_path):
    start = startup.Start("mnist", str(tmp_path)).early()
    start.arrived()
    gc.unfreeze()
    with pytest.raises(errors.UserError, match="has no file train-images"):
        start.dataset()


def test_a_start_that_never_arrives_leaves_the_garbage_collector_as_it_was(tmp_path):
    for was_on in (True, False):
        gc.enable() if was_on else gc.disable()
        try:
            start = startup.Start("mnist", str(tmp_path)).early()
            assert not gc.isenabled()
            del start
            assert gc.isenabled() is was_on
        finally:
            gc.enable()


def test_what_follows_the_first_step_is_called_after_it_and_once():
    called = threading.Event()
    start = startup.Start("optdigits", None).early(called.set)
    try:
        assert not called.wait(0.05)
        start.arrived()
        assert called.wait(60)
        called.clear()
        start.arrived()
        assert not called.wait(0.05)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("terminal, slow, says", [(True, True, True), (True, False, False), (False, True, False)])
def test_waiting_says_on_a_terminal_what_takes_long(terminal, slow, says, capsys, monkeypatch):
    said = threading.Event()
    monkeypatch.setattr("builtins.print", lambda text, flush: said.set())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    with startup.waiting("compiling ...", patience=0.01 if slow else 60):
        assert said.wait(60 if says else 0.1) is says


def test_what_may_take_long_is_not_read_early(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.delenv("DIGITS_DATA_DIR", raising=False)
    assert sources.is_quick("optdigits") and sources.is_quick("mnist", str(tmp_path))
    for name in ("mnist", "kmnist", "pictures/", "mine.npz"):  # A download, a folder and a file of any size.
        assert not sources.is_quick(name)


def test_the_training_modules_import_no_orbax_and_the_dataset_no_jax(tmp_path, run_module):
    (tmp_path / "imports.py").write_text(
        "import sys\nfrom digits.training import startup\nprint('jax' in sys.modules)\n"
        "from digits.training import train\n"
        "heavy = ('orbax.checkpoint', 'tensorflow', 'sklearn', 'PIL', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = run_module("imports", env={"PYTHONPATH": f"{tmp_path}:."})
    assert done.stdout.split("\n")[:2] == ["False", "[]"], done.stderr
