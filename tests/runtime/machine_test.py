"""Settings of JAX for the whole process, and too little memory as a sentence."""

import jax
import pytest

from digits.errors import OutOfMemory
from digits.runtime.environment import prepare_jax
from digits.runtime.memory import out_of_memory_named
from tests.conftest import tiny_config


@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 byte")])
def test_too_little_memory_is_named(error):
    with pytest.raises(OutOfMemory, match="config.batch_size below 64"), out_of_memory_named(64):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), out_of_memory_named(64):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


@pytest.mark.parametrize("cached", [True, False])
def test_compiled_programs_are_kept_where_the_config_says_so(cached, tmp_path, monkeypatch):
    config = tiny_config()
    config.compilation_cache = cached
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        prepare_jax(config)
        assert (jax.config.jax_compilation_cache_dir == str(tmp_path / "xla")) == cached
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
