"""`python -m digits.demo`: one sentence for mistakes, and help at once."""

import socket
import sys

import pytest

from digits import demo

pytest.importorskip("flask")
pytest.importorskip("waitress")


def refused(capsys, *args):
    # Flags keep their values within a process, but of two the last counts.
    assert demo.main(["demo", "--workdir=", "--host=127.0.0.1", "--port=0", "--noopen", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_mistakes_in_the_command_are_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable, value in {"OPENBLAS_NUM_THREADS": "1", "PILLOW_BLOCK_SIZE": "64m"}.items():
        monkeypatch.setenv(variable, value)  # The command would leave it to later tests.
    assert "--workdir is missing" in refused(capsys)
    folder = f"--workdir={tmp_path}"
    assert "'wrkdir'" in refused(capsys, "--wrkdir=x")
    assert "'here' is given besides" in refused(capsys, folder, "here")
    assert "port" in refused(capsys, folder, "--port=65536")
    for host in ("no.such.host.invalid", ""):
        assert f"--host is {host!r}" in refused(capsys, folder, f"--host={host}")
    assert "is no run with checkpoints: it is empty" in refused(capsys, folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "take another" in refused(capsys, folder, f"--port={taken.getsockname()[1]}")
    monkeypatch.setitem(sys.modules, "waitress", None)
    assert "needs waitress: pip install waitress" in refused(capsys, folder)
    monkeypatch.setitem(sys.modules, "flask", None)
    assert "needs flask and waitress: pip install flask waitress" in refused(capsys, folder)


def test_help_is_quick_to_import(run_module):
    done = run_module("digits.demo", "--help", python=("-X", "importtime"))
    assert done.returncode == 0 and "--port" in done.stdout
    for heavy in ("jax", "flax", "flask", "waitress", "numpy", "PIL.Image"):
        assert f" {heavy}\n" not in done.stderr
