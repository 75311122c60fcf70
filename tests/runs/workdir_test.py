"""The run directory's files: torn and superfluous lines; and the machine that is recorded."""

import platform
import subprocess

import numpy as np
import pytest

from configs import base
from digits import errors
from digits.runs import workdir
from digits.runs.workdir import Workdir
from digits.runtime import environment, machine


def test_a_torn_last_line_is_dropped_and_later_epochs_are_cut(tmp_path):
    files = Workdir(tmp_path)
    for epoch in (1, 2, 3):
        files.append({"epoch": epoch, "loss": 1 / epoch})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in files.history()] == [1, 2, 3]
    files.truncate(2)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    assert files.history()[1] == {"epoch": 2, "loss": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_folder_with_what_a_kill_or_a_failure_left_is_free(tmp_path):
    files, config = Workdir(tmp_path), base.get_config()
    (tmp_path / ".config.json.123").write_text("{")
    files.write_failure("out of memory", "It was too large.")
    files.check(config)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(errors.UserError, match="which holds files but no run"):
        files.check(config)


def test_a_checkout_where_git_is_not_installed_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.environment()["commit"] is None
    assert environment.checkout() == {"commit": None, "dirty": None, "diff_sha256": None}


def test_a_changed_checkout_is_told_from_its_commit(tmp_path, monkeypatch):
    """By changed and by new files of the code, in whatever state the project's own checkout is."""

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    (tmp_path / "digits").mkdir()
    module, new = tmp_path / "digits" / "record.py", tmp_path / "digits" / "new.py"
    module.write_text("a = 1\n")
    (tmp_path / "notes.txt").write_text("")
    git("init", "--quiet")
    monkeypatch.setattr(workdir, "__file__", str(module))
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


def test_unreadable_json_names_the_file(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.UserError, match="config.json cannot be read as JSON"):
        Workdir(tmp_path).check(base.get_config())


@pytest.mark.parametrize("content", ["{}", "[1, 2]", '{"config": 3}'])
def test_a_config_json_of_something_else_is_damaged(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(errors.UserError, match="config.json is damaged: it has no valid 'config'"):
        Workdir(tmp_path).check(base.get_config())


def test_peak_memory_is_of_this_process_alone_and_in_bytes(tmp_path, run_module):
    """The process that starts the others, this one, has had more than the 200 MB that one of them takes."""
    ballast = np.ones(400_000_000, np.uint8)
    peaks = []
    for size in (1, 200_000_000):
        (tmp_path / "peak.py").write_text(
            f"import numpy as np\nfrom digits.runs import workdir as record\nx = np.ones({size}, np.uint8)\ndel x\n"
            "print(record.environment()['peak_memory_bytes'])\n"
        )
        peaks.append(int(run_module("peak", env={"PYTHONPATH": f"{tmp_path}:."}).stdout))
    assert peaks[1] - peaks[0] == pytest.approx(200_000_000, rel=0.1) and peaks[0] < ballast.nbytes


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
    core = f"processor\t: 0\nmodel name\t: AMD EPYC Processor\nflags\t\t: {flags}\nbugs\t\t: none\n\n"
    (tmp_path / "cpuinfo").write_text(core * 2)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == expected
    # Others have no such name.
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert machine.processor() == (platform.processor() or platform.machine())
