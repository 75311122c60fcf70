"""What an installation puts into site-packages: one name, `digits`, with all its files."""

import fnmatch
import tomllib

from tests.conftest import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_one_name_is_installed_with_all_folders_of_modules():
    assert set(SETUPTOOLS) == {"packages", "package-data", "dynamic"}
    assert SETUPTOOLS["packages"] == {"find": {"include": ["digits*"], "namespaces": False}}
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert fnmatch.filter(top, "digits*") == ["digits"]
    folders = {path.parent for path in (ROOT / "digits").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders), "a folder without __init__.py is not installed"


def test_files_that_are_no_modules_are_installed_too():
    patterns = SETUPTOOLS["package-data"]["*"]
    files = [path for path in (ROOT / "digits").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    others = [path.name for path in files if path.suffix != ".py"]
    assert {"convolution.cc", "demo.html"} <= set(others)
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in others), others
