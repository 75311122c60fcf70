"""The doors between the rooms: the contracts of pyproject.toml hold, and an import through a closed door fails them."""

import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
[LAYERS] = [contract["layers"] for contract in CONTRACTS if contract["id"] == "rooms"]
MODULES = [name for layer in LAYERS for name in layer.split(" | ")]
# An import for each door that must stay closed: importer -> imported.
CLOSED = {
    "digits.runtime.x": "digits.data.x",
    "digits.data.x": "digits.models.x",
    "digits.models.x": "digits.analysis.x",
    "digits.analysis.x": "digits.runtime.x",
    "digits.runs.x": "digits.training.x",
    "digits.training.x": "digits.reports.x",
    "digits.reports.x": "digits.serving.x",
    "digits.serving.x": "digits.training.x",
    "digits.sweeps.x": "digits.serving.x",
    "digits.config": "digits.runtime.x",
    "digits.errors": "digits.config",
    "digits.command_line": "digits.main",
    "digits.main": "digits.sweep",
    "digits.predict": "digits.training.x",
    "digits.evaluate": "configs.x",
    "digits.export": "experiments.x",
    "digits.demo": "benchmarks.x",
}


def lint(folder):
    """(exit code, output) of import-linter in a folder with a pyproject.toml."""
    program = "from importlinter import cli; cli.lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write(root, module, text):
    path = root / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def house(tmp_path):
    """A tree that has the modules of the contracts and passes only through open doors."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("configs", "experiments", "benchmarks"):
        write(tmp_path, f"{package}.__init__", "")
        write(tmp_path, f"{package}.x", "import digits.main\n")
    for name in MODULES:
        if f"digits.{name}.x" in CLOSED:
            write(tmp_path, f"digits.{name}.__init__", "")
            write(
                tmp_path,
                f"digits.{name}.x",
                "from digits.config import values as config; from digits import errors\n" if name != "analysis" else "",
            )
        else:
            write(tmp_path, f"digits.{name}", "")
    write(tmp_path, "digits.__init__", "def load():\n    from digits.runs.loading import load\n")
    write(tmp_path, "digits.runs.loading", "import digits\nfrom digits.analysis import x\nfrom digits.data import x\n")
    write(tmp_path, "digits.runs.__main__", "from digits import command_line\nfrom digits.reports import runs_table\n")
    write(tmp_path, "digits.reports.runs_table", "")
    write(tmp_path, "digits.main", "from digits.reports import x\nfrom digits.training import x\n")
    return tmp_path


def test_every_import_goes_through_an_open_door():
    code, output = lint(ROOT)
    assert code == 0, output


def test_open_doors_can_be_passed(house):
    code, output = lint(house)
    assert code == 0, output


def test_closed_doors_are_found_also_inside_functions(house):
    for importer, imported in CLOSED.items():
        with (house / f"{importer.replace('.', '/')}.py").open("a") as file:
            file.write(f"\n\ndef later():\n    import {imported}\n")
    code, output = lint(house)
    assert code == 1, output
    for importer, imported in CLOSED.items():
        assert f"{importer} -> {imported} (" in output


def test_a_new_room_needs_a_place(house):
    write(house, "digits.attic.__init__", "")
    code, output = lint(house)
    assert code == 1 and "digits.attic" in output
