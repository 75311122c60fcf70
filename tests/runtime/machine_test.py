"""Facts about the machine: its processor, cores and cache folder, and when this process started."""

import os
import platform
import sys
import time

import pytest

from digits.runtime import machine


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells it to a hundredth of a second")
def test_a_process_started_when_it_did_not_when_it_asks(tmp_path, run_module):
    (tmp_path / "late.py").write_text(
        "import time\ntime.sleep(1)\nfrom digits.runtime import machine\n"
        "print(time.perf_counter() - machine.process_start())\n"
    )
    began = time.perf_counter()
    done = run_module("late", env={"PYTHONPATH": f"{tmp_path}:."})
    assert 1 < float(done.stdout) < time.perf_counter() - began + 0.02
