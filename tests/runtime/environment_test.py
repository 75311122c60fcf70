"""The environment of a run: the settings of JAX, and the state of the checkout."""

import importlib.metadata
import os
import subprocess

import jax
import pytest

import digits
from digits.config.values import with_values
from digits.runtime import environment
from digits.sweeps import population
from digits.sweeps.members import Member
from digits.training import train
from tests.conftest import slow, tiny_config


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


@pytest.mark.parametrize(
    "command",
    [("digits.main", "--config=quickstart"), pytest.param(("digits.evaluate",), marks=pytest.mark.slow)],
    ids=" ".join,
)
@pytest.mark.parametrize("platform", ["cuda", *slow("gpu", "cudda")])
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is an accelerator here")
def test_devices_that_are_not_here_are_one_sentence(platform, command, tmp_path, run_module):
    done = run_module(*command, f"--workdir={tmp_path}", env={"JAX_PLATFORMS": platform})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: JAX cannot start the devices of JAX_PLATFORMS={platform} (")
    assert done.stderr.endswith("leave the variable out to train on what is here, or set it to cpu.\n")
    assert done.stderr.count("\n") == 1 and "set JAX_PLATFORMS=''" not in done.stderr


@pytest.mark.parametrize("quota, cores, expected", [(None, 2, None), (1.5, 2, "2"), (None, 1, "2"), (1.0, 1, "2")])
def test_a_quota_bounds_the_threads_of_xla_which_are_two_on_one_core(quota, cores, expected, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(environment.cgroups, "cores", lambda: quota)
    monkeypatch.setattr(environment.machine, "cores", lambda: cores)
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


# Each, alone, gave other numbers for the same seed, or a traceback.
OTHERS = {
    "jax_enable_x64": True,
    "jax_threefry_partitionable": False,
    "jax_default_prng_impl": "rbg",
    "jax_random_seed_offset": 5,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_transfer_guard": "disallow",
    "jax_disable_jit": True,
}


@pytest.mark.slow
def test_results_do_not_depend_on_the_users_settings_of_jax(tmp_path):
    """Of training in the main thread and in a sweep's, of loading, predicting and evaluating."""
    expected = results(tmp_path / "without")
    before = {name: getattr(jax.config, name) for name in OTHERS}
    try:
        for name, value in OTHERS.items():
            jax.config.update(name, value)
        assert results(tmp_path / "with") == expected
        assert {name: getattr(jax.config, name) for name in OTHERS} == OTHERS
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def results(folder):
    """The losses of a run and of a member, and what the loaded run computes."""
    config = with_values(tiny_config(), {"epochs": 2, "model.hidden": (4,)})
    result = train.train_and_evaluate(config, folder / "run")
    (member,) = population.train_members([Member(config, folder / "member")])
    assert member["test_loss"] == result["test_loss"]
    run = digits.load(folder / "run")
    evaluated = run.evaluate()
    assert evaluated.loss == result["test_loss"]
    return result["test_loss"], run.predict(evaluated.examples.images[:20]).tolist()
