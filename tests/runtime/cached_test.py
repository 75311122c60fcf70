"""The files of the cache folder: read only if they are what was written."""

import os

import jax
import jax.numpy as jnp
import pytest

from digits.runtime import cached, environment
from tests.conftest import tiny_config


def changed(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def replaced(path, make):
    path.unlink()
    make(path)


DAMAGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a bit of the content": lambda path: changed(path, 10),
    "a bit of the digest": lambda path: changed(path, -1),
    "empty": lambda path: os.truncate(path, 0),
    "grown": lambda path: os.truncate(path, 2**40),  # Sparse: a TiB that takes no room.
    "a pipe": lambda path: replaced(path, os.mkfifo),
    "a folder": lambda path: replaced(path, os.mkdir),
    "a device": lambda path: replaced(path, lambda path: path.symlink_to("/dev/zero")),
    "absent": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_not_written_so_is_not_read(damage, tmp_path):
    path = tmp_path / "new" / "file"
    content = os.urandom(5000)
    cached.keep(path, content)
    assert cached.read(path) == content
    DAMAGES[damage](path)
    assert cached.read(path) is None
    if damage != "a folder":  # It may hold somebody's files.
        cached.keep(path, content)
        assert cached.read(path) == content and os.listdir(path.parent) == ["file"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cached, "_told", set())
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    for name in ("one", "two"):
        cached.keep(tmp_path / "file" / "below" / name, b"content")
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "DIGITS_CACHE_DIR" in told
    assert str(tmp_path / "file" / "below" / "one") in told and "Not a directory" in told


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The folder in which JAX keeps programs during the test."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path))
    compilation_cache.reset_cache()
    environment.prepare_jax(tiny_config())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield tmp_path / "xla"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.filterwarnings("error")
def test_a_damaged_program_is_compiled_anew_without_a_warning(programs):
    def compiled():
        jax.clear_caches()
        return jax.jit(lambda x: jnp.sin(x) * 3 + 1)(jnp.arange(3.0)).tolist()

    expected = compiled()
    kept = {path: path.read_bytes() for path in programs.iterdir()}
    assert kept and all(cached.read(path) for path in kept)
    for damage in ("cut", "a bit of the content", "a pipe"):
        for path in kept:
            DAMAGES[damage](path)
        assert compiled() == expected
        assert all(cached.read(path) for path in kept), damage


def test_the_users_own_folder_of_programs_stays(programs, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    environment.prepare_jax(tiny_config())
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
