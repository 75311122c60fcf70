"""What an installation puts into site-packages: one name, `digits`, with all its files; and what that name offers."""

import fnmatch
import json
import pydoc
import tomllib

import pytest

import digits
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
