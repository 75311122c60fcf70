"""Facts about the machine: its processor, cores and cache folder, and when this process started."""

import os
import platform
import subprocess
import sys
import time

import pytest

from digits.runtime import machine
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("fpu avx avx2 avx512f", "AMD EPYC with AVX-512"),
        ("fpu avx avx2", "AMD EPYC with AVX2"),
        ("fpu avx", "AMD EPYC with AVX"),
        ("fpu sse2", "AMD EPYC"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_vectors(tmp_path, monkeypatch, flags, expected):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    core = "processor\t: {}\nmodel name\t: AMD EPYC Processor\nflags\t\t: {}\nbugs\t\t: none\n\n"
    (tmp_path / "cpuinfo").write_text(core.format(0, flags) + core.format(1, flags))
    assert machine.processor() == expected
    code = machine.instruction_sets()
    (tmp_path / "cpuinfo").write_text(core.format(0, flags))
    assert machine.instruction_sets() == code
    (tmp_path / "cpuinfo").write_text(core.format(0, f"{flags} amx"))
    assert machine.instruction_sets() != code


def test_processors_that_have_no_such_name_or_file(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.instruction_sets() == platform.processor()
    core = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: {}\n"
    (tmp_path / "cpuinfo").write_text(core.format("0xd0c"))
    assert machine.processor() == (platform.processor() or platform.machine())
    code = machine.instruction_sets()
    (tmp_path / "cpuinfo").write_text(core.format("0xd49"))
    assert machine.instruction_sets() != code


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="other systems do not bind processes to cores")
def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    assert machine.cores() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("xdg", [False, True])
def test_cache_is_in_the_users_cache_folder_by_default(tmp_path, monkeypatch, xdg):
    monkeypatch.delenv("DIGITS_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if xdg:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert machine.cache_dir() == (tmp_path / "xdg" if xdg else tmp_path / "home" / ".cache") / "digits"


def test_without_a_home_the_cache_is_where_it_is_said_or_a_folder_of_this_process(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "DIGITS_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_):
        raise KeyError("getpwuid(): uid not found: 4321")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    folder = machine.cache_dir()
    assert folder == machine.cache_dir() and folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path))
    assert machine.cache_dir() == tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("with_cache", [True, False])
def test_a_user_without_a_name_and_a_home_trains(with_cache, tmp_path):
    """As in a container that is started with --user 4321."""
    unset = ("HOME", "XDG_CACHE_HOME", "DIGITS_CACHE_DIR", "USER", "LOGNAME")
    env = {key: value for key, value in os.environ.items() if key not in unset}
    if with_cache:
        env["DIGITS_CACHE_DIR"] = str(tmp_path / "cache")
    fields = ["data.name=optdigits", "data.validation=none", "monitor=loss", "epochs=1", "tensorboard=False"]
    arguments = ["digits", "train", "--config=dense_32_32", *(f"--config.{field}" for field in fields)]
    arguments.append(f"--workdir={tmp_path}/run")
    nobody = "import os, pwd, sys\ndef unknown(_): raise KeyError('uid not found')\npwd.getpwuid = unknown\n"
    code = f"{nobody}from digits.__main__ import main\nsys.exit(main({arguments}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "run" / "report.html").exists() and (tmp_path / "cache").exists() == with_cache


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells it to a hundredth of a second")
def test_a_process_started_when_it_did_not_when_it_asks(tmp_path, run_module):
    (tmp_path / "late.py").write_text(
        "import time\ntime.sleep(1)\nfrom digits.runtime import machine\n"
        "print(time.perf_counter() - machine.process_start())\n"
    )
    began = time.perf_counter()
    done = run_module("late", env={"PYTHONPATH": f"{tmp_path}:."})
    assert 1 < float(done.stdout) < time.perf_counter() - began + 0.02
