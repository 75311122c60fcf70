"""`python -m digits.export`: one sentence for mistakes, and help at once."""

import pytest

from digits import export
from digits.serving import export_formats
from tests.conftest import is_one_mistake


@pytest.mark.parametrize(
    "args, words",
    [
        (["--format=jax"], ["--workdir is missing"]),
        (["--workdir={workdir}"], ["--format is missing", "jax, savedmodel, tflite, onnx, html"]),
        (["--workdir={workdir}", "--formt=jax"], ["'formt'", "format"]),
        (["--workdir={workdir}", "--format=jax", "here"], ["'here'"]),
    ],
)
def test_mistakes_on_the_command_line_give_one_sentence_and_exit_code_2(args, words, tmp_path, run_module):
    done = run_module("digits.export", *(argument.format(workdir=tmp_path) for argument in args))
    assert done.returncode == 2 and done.stdout == ""
    assert is_one_mistake(done.stderr)
    for word in words:
        assert word in done.stderr


def test_help_names_every_format_and_its_file():
    help_ = " ".join(export._FLAGS.get_help().split())
    assert f"One of {', '.join(export_formats.FORMATS)}." in help_
    for name, kind in export_formats.FORMATS.items():
        assert f"{kind.file} ({name})" in help_


def test_help_is_quick_to_import(run_module):
    done = run_module("digits.export", "--help", python=("-X", "importtime"))
    assert done.returncode == 0 and "model.onnx (onnx)" in " ".join(done.stdout.split())
    for heavy in ("jax", "flax", "tensorflow", "onnx", "numpy"):
        assert f" {heavy}\n" not in done.stderr
