"""`python -m digits.evaluate`: flags that make no sense are refused, and help comes at once."""

import pytest

from digits import evaluate


@pytest.mark.parametrize(
    "args, words",
    [
        (["--workdir={sweep}", "--robustness"], ["--robustness is for a run", "rates is a sweep"]),
        (["--workdir={sweep}", "--figures={sweep}/pictures"], ["--figures is for a run", "rates is a sweep"]),
        (["--workdir={sweep}/good_0", "--figures="], ["--figures is empty", "none"]),
        (["--workdir={sweep}/good_0", "--figures={sweep}/sweep.json"], ["sweep.json", "that is a file"]),
        (
            ["--workdir={sweep}/good_0", "--robustness", "--robustness_images=0"],
            ["--robustness_images=0", "positive integer"],
        ),
        (["--workdir={sweep}/good_0", "--robustness_images=9"], ["--robustness, which it is for, is not"]),
        (["--workdir={sweep}/good_0", "--robustness_images=many"], ["robustness_images", "many"]),
    ],
)
def test_flags_of_a_run_that_make_no_sense_are_refused(args, words, tmp_path, capsys):
    (sweep := tmp_path / "rates").mkdir()
    (sweep / "sweep.json").write_text("{}")
    (sweep / "good_0").mkdir()
    assert evaluate.main(["evaluate", *(argument.format(sweep=sweep) for argument in args)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    for word in words:
        assert word in error
    assert not (sweep / "pictures").exists() and not (sweep / "good_0" / "figures").exists()


def test_help_is_quick_to_import(run_module):
    done = run_module("digits.evaluate", "--help", python=("-X", "importtime"))
    assert done.returncode == 0 and "--split" in done.stdout
    for heavy in ("jax", "flax", "orbax", "tensorflow", "matplotlib"):
        assert f" {heavy}\n" not in done.stderr
