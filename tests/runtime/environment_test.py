"""The environment of a run: the settings of JAX, and the state of the checkout."""

import importlib.metadata
import os
import subprocess

import jax
import pytest

from digits.runtime import environment
from tests.conftest import tiny_config


@pytest.mark.parametrize("cached", [True, False])
def test_compiled_programs_are_kept_where_the_config_says_so(cached, tmp_path, monkeypatch):
    config = tiny_config()
    config.compilation_cache = cached
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        environment.prepare_jax(config)
        assert (jax.config.jax_compilation_cache_dir == str(tmp_path / "xla")) == cached
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("command", [("digits.main", "--config=quickstart"), ("digits.evaluate",)], ids=" ".join)
@pytest.mark.parametrize("platform", ["cuda", "gpu", "cudda"])
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is an accelerator here")
def test_devices_that_are_not_here_are_one_sentence(platform, command, tmp_path, run_module):
    done = run_module(*command, f"--workdir={tmp_path}", env={"JAX_PLATFORMS": platform})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: JAX cannot start the devices of JAX_PLATFORMS={platform} (")
    assert done.stderr.endswith("leave the variable out to train on what is here, or set it to cpu.\n")
    assert done.stderr.count("\n") == 1 and "set JAX_PLATFORMS=''" not in done.stderr


@pytest.mark.parametrize("quota, expected", [(None, None), (1.5, "2")])
def test_a_quota_bounds_the_threads_of_xla(quota, expected, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(environment.cgroups, "cores", lambda: quota)
    monkeypatch.setattr(environment.machine, "cores", lambda: 2)
    environment.start_devices()
    assert os.environ.get("NPROC") == expected
    monkeypatch.delenv("NPROC", raising=False)


def test_a_checkout_where_git_is_not_installed_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = environment.describe()
    assert found["commit"] is None and found["device"] == environment.device()
    assert found["versions"]["jax"] == importlib.metadata.version("jax")
    assert environment.checkout() == {"commit": None, "dirty": None, "diff_sha256": None}


def test_a_changed_checkout_is_told_from_its_commit(tmp_path, monkeypatch):
    """By changed and by new files of the code, in whatever state the project's own checkout is."""

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    room = tmp_path / "digits" / "runtime"
    room.mkdir(parents=True)
    module, new = room / "environment.py", room / "new.py"
    module.write_text("a = 1\n")
    (tmp_path / "notes.txt").write_text("")
    git("init", "--quiet")
    monkeypatch.setattr(environment, "__file__", str(module))
    assert environment.checkout()["commit"] is None  # There is none yet.
    git("add", "digits")
    git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "first")
    clean = environment.checkout()
    assert len(clean["commit"]) == 40 and (clean["dirty"], clean["diff_sha256"]) == (False, None)
    (tmp_path / "notes.txt").write_text("It is not code.")
    assert environment.checkout() == clean
    found = []
    for path, text in ((module, "a = 2\n"), (new, "b = 1\n"), (new, "b = 2\n")):
        path.write_text(text)
        found.append(environment.checkout())
    assert all(one["commit"] == clean["commit"] and one["dirty"] is True for one in found)
    assert len({one["diff_sha256"] for one in found}) == 3 and environment.checkout() == found[-1]
