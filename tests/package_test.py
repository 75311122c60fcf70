"""What an installation puts into site-packages, where `import digits` works, and what that name offers."""

import fnmatch
import json
import os
import pydoc
import subprocess
import sys
import tomllib

import pytest

import digits
from tests.conftest import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_one_name_is_installed_with_all_folders_of_modules():
    assert set(SETUPTOOLS) == {"packages", "package-dir", "package-data", "dynamic"}
    assert SETUPTOOLS["packages"] == {"find": {"include": ["digits*"], "namespaces": False}}
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert fnmatch.filter(top, "digits*") == ["digits"]
    folders = {path.parent for path in (ROOT / "digits").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders), "a folder without __init__.py is not installed"


def test_files_that_are_no_modules_are_installed_too():
    """A pattern is matched in each folder that has an __init__.py, not in its other folders."""
    patterns = SETUPTOOLS["package-data"]["*"]
    packages = [path.parent for path in (ROOT / "digits").rglob("__init__.py")]
    installed = {path for folder in packages for pattern in patterns for path in folder.glob(pattern)}
    files = {path for path in (ROOT / "digits").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    others = {path for path in files if path.suffix != ".py"}
    needed = {
        "convolution.cc",
        "algorithm.h",
        "page.html",
        "network.js",
        "style.css",
        "py.typed",
        "run.html.j2",
        "page.css",
    }
    assert needed <= {path.name for path in others}
    assert others <= installed, others - installed


def run(folder, *arguments):
    """Runs Python in a folder as an editable installation does: the checkout stands on the path, behind the folder."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_editable_installation_puts_the_checkout_on_the_path():
    """A package-dir of one folder is what setuptools asks for to do this instead of installing a finder of modules."""
    assert SETUPTOOLS["package-dir"] == {"": "."}
    makefile = (ROOT / "Makefile").read_text()
    assert "--no-deps --no-build-isolation --editable ." in makefile
    [needed] = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    [pinned] = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("setuptools==")
    ]
    assert int(pinned.split("==")[1].split(".")[0]) >= int(needed.split(">=")[1])


@pytest.mark.parametrize("command", ["main", "sweep", "evaluate", "report", "predict", "export", "demo"])
def test_a_file_started_as_a_script_is_the_command_also_where_nothing_is_installed(command, tmp_path):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [sys.executable, ROOT / "digits" / f"{command}.py", "--wrkdir=x"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: there is no flag 'wrkdir'")
    words[2:] = ["--help"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "") and f"python -m digits.{command}" in done.stdout


def test_the_folder_above_a_clone_does_not_hide_the_package(tmp_path):
    (tmp_path / "digits" / "configs").mkdir(parents=True)  # As a clone looks from above: no __init__.py.
    done = run(tmp_path, "-c", "import digits; print(digits.__file__)")
    assert done.stdout.strip() == str(ROOT / "digits" / "__init__.py"), done.stderr
    (tmp_path / "mine.py").write_text("from configs import base\nprint(base.get_config().epochs)\n")
    assert run(tmp_path, "mine.py").stdout == "10\n"


@pytest.mark.parametrize("file", ["main", "sweep", "evaluate", "report", "predict", "export", "demo", "runs/__main__"])
def test_a_command_s_file_can_be_run_by_itself(file, tmp_path):
    """An editor's button does so; the file's folder is then first on the path, and its modules hide no others."""
    done = run(tmp_path, str(ROOT / "digits" / f"{file}.py"))
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr
    assert done.returncode == 0 or done.stderr.startswith("error: ") and "name" in done.stderr


def test_the_files_of_experiments_can_be_run_by_themselves(tmp_path):
    assert "Flags:" in run(tmp_path, str(ROOT / "experiments" / "kernel_size_search.py"), "--help").stdout
    assert run(tmp_path, str(ROOT / "configs" / "deep_cnn.py")).returncode == 0


def test_no_module_beside_the_commands_hides_one_of_python():
    assert not {path.stem for path in (ROOT / "digits").iterdir()} & set(sys.stdlib_module_names)


def test_the_editor_s_buttons_start_commands():
    from digits.__main__ import COMMANDS

    made = json.loads((ROOT / ".vscode" / "launch.json").read_text())["configurations"]
    assert len(made) == 3
    for one in made:
        assert one["module"] == "digits" and one["args"][0] in COMMANDS


def test_make_help_prints_the_head_of_the_makefile():
    # The tests themselves may be run by make, whose child would name the folders that it enters.
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    head = (ROOT / "Makefile").read_text().split("\n\n")[0].splitlines()
    assert done.stdout.splitlines() == [line.removeprefix("# ") for line in head] and "make train" in done.stdout


OFFERED = """
import json, sys
import digits
before = [name for name in ("jax", "numpy", "ml_collections") if name in sys.modules]
print(json.dumps([before, dir(digits), digits.train.__module__, digits.data.SIDE, digits.models.__name__]))
"""


def test_the_package_offers_its_functions_and_rooms_and_imports_none_before_it_is_used(tmp_path, run_module):
    (tmp_path / "offered.py").write_text(OFFERED)
    done = run_module("offered", env={"PYTHONPATH": f"{tmp_path}:."})
    before, names, *used = json.loads(done.stdout)
    assert before == [] and used == ["digits.training.session", 28, "digits.models"]
    assert names == sorted(["analysis", "data", "load", "models", "train", "__version__"])
    assert set(digits.__all__) < set(names)
    with pytest.raises(AttributeError, match="module 'digits' has no attribute 'lode'"):
        digits.lode  # noqa: B018


def test_help_describes_the_functions():
    text = pydoc.render_doc(digits, renderer=pydoc.plaintext)
    for name in ("load(", "train("):
        assert f"\n    {name}" in text
