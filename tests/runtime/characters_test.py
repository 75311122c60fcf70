"""Characters that the encoding of the output lacks: ASCII in their place in every command, UTF-8 in every file."""

import io
import json
import sys

import pytest

from digits.runtime import characters
from tests.conftest import ROOT

# What Windows and LANG=C give a program; and C as it is with Python's own remedies switched off.
ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp437": {"PYTHONIOENCODING": "cp437"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": ""},
}


@pytest.mark.parametrize(
    "encoding, printed",
    [
        ("ascii", "0.5 +- 0.1, 3x3, a..., \\u4e09, \\U0001f431, \\udcff"),
        ("cp1252", "0.5 ± 0.1, 3×3, a…, \\u4e09, \\U0001f431, \\udcff"),
        ("cp437", "0.5 ± 0.1, 3x3, a..., \\u4e09, \\U0001f431, \\udcff"),
        ("utf-8", "0.5 ± 0.1, 3×3, a…, 三, 🐱, \\udcff"),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_the_encoding_lacks_is_written_in_ascii(encoding, printed, errors, monkeypatch):
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding=encoding, errors=errors, write_through=True))
    characters.replace_missing()
    text = "0.5 ± 0.1, 3×3, a…, 三, 🐱, \udcff"
    print(text)
    print(text, file=sys.stderr)
    assert written.getvalue().decode(encoding).splitlines() == [printed, printed]


def test_a_choice_of_the_user_and_foreign_streams_stay(monkeypatch):
    mine = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="ignore")
    monkeypatch.setattr(sys, "stdout", mine)
    monkeypatch.setattr(sys, "stderr", None)  # As pythonw.exe has it.
    characters.replace_missing()
    assert mine.errors == "ignore"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    characters.replace_missing()


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_list_of_experiments_is_printed_everywhere(environment, run_module):
    done = run_module("digits.main", env=environment)
    assert done.returncode == 0 and done.stderr == "" and "quickstart" in done.stdout


@pytest.mark.slow
def test_a_sweep_ends_with_its_table_and_its_files_are_utf_8(tmp_path, run_module):
    (tmp_path / "größe.py").write_bytes((ROOT / "configs" / "dense_32_32.py").read_bytes())
    fields = ["data.name=optdigits", "data.validation=random(0.2,0)", "epochs=1", "tensorboard=False"]
    arguments = [f"--config={tmp_path}/größe.py", *(f"--config.{field}" for field in fields), "--sweep.seed=0:2"]
    done = run_module("digits.sweep", *arguments, f"--workdir={tmp_path}/all", env=ENVIRONMENTS["ascii"])
    assert done.returncode == 0 and "gr\\xf6\\xdfe.py" in done.stdout, done.stderr
    about = (tmp_path / "all" / "seed=0" / "config.json").read_text(encoding="utf-8")
    assert json.loads(about)["config_file"] == f"{tmp_path}/größe.py"
    table = (tmp_path / "all" / "sweep.md").read_text(encoding="utf-8")
    assert "±" in table
    for name in ("ascii", "C"):
        done = run_module("digits.evaluate", f"--workdir={tmp_path}/all", env=ENVIRONMENTS[name])
        assert done.returncode == 0 and "mean +- std over n runs" in done.stdout, done.stderr
