"""The line of reproduced figures in the docstrings of configs/: its place and content, and that none is out of date."""

import pathlib

import pytest

from experiments.collecting import collected
from experiments.judging.study import Arm, Member
from experiments.rendering import docstrings, results

ROOT = pathlib.Path(__file__).resolve().parents[2]
BEFORE = '"""A network.\n\n    python -m digits.main --config=configs/x.py\n\nDocumented: 0.9.\n'
AFTER = '"""\n\nfrom configs import base\n'


def member(seed, accuracy, seconds, device="cpu (2 cores)", history=()):
    return Member(seed, {"test_accuracy": accuracy, "seconds": seconds, "device": device}, history)


def test_the_line_comes_last_in_place_of_the_one_before():
    first = docstrings.with_line(BEFORE + AFTER, "Reproduced: 0.5.")
    assert first == f"{BEFORE}Reproduced: 0.5.\n{AFTER}"
    longer = "Reproduced: " + "and so on " * 20 + "end."
    broken = docstrings.with_line(first, longer)
    assert "0.5." not in broken and max(map(len, broken.splitlines())) <= 120
    assert broken.startswith(BEFORE) and broken.endswith(AFTER)
    assert broken.removeprefix(BEFORE).removesuffix(AFTER).split() == longer.split()
    assert docstrings.with_line(broken, "Reproduced: 0.5.") == first


def test_a_short_docstring_or_none():
    short = docstrings.with_line('"""A network."""\nx = 1\n', "Reproduced: 0.5.")
    assert short == '"""A network.\n\nReproduced: 0.5.\n"""\nx = 1\n'
    assert docstrings.with_line(short, "Reproduced: 0.6.") == short.replace("0.5", "0.6")
    assert docstrings.with_line("x = 1\n", "Reproduced: 0.5.") == "x = 1\n"


def test_the_line_has_mean_deviation_n_seconds_and_devices():
    arm = Arm("x", "x", "ours", seeds=3)
    members = [member(0, 0.98, 10.0), member(1, 0.97, 90.0, "one GPU"), member(2, 0.96, 20.0)]
    said = "Reproduced: test accuracy 0.9700 ± 0.0100 (n = 3), 20 s each on cpu (2 cores), one GPU."
    assert docstrings.line(arm, members) == said


def test_a_documented_figure_of_another_kind_is_compared_beside_the_test_accuracy():
    history = [{"accuracy": 0.5 + epoch / 100} for epoch in range(1, 21)]
    arm = Arm("dense_batch_32", "dense_batch_32", "as run", documented="dense_batch_32", seeds=1)
    said = docstrings.line(arm, [member(0, 0.9, 8.0, history=history)])
    assert said.startswith("Reproduced: test accuracy 0.9000; training accuracy, epoch 18 0.6800 (n = 1), 8 s")


def test_only_what_is_trained_as_the_file_says_is_written(tmp_path):
    for name in ("plain", "changed", "folds", "missing"):
        (tmp_path / f"{name}.py").write_text(BEFORE + AFTER)
    arms = [
        Arm("plain", "plain", "ours", seeds=1),
        Arm("changed,epochs=3", "changed", "ours", {"epochs": 3}, seeds=1),
        Arm("folds", "folds", "ours", seeds=1, repeats="data.fold"),
        Arm("missing", "missing", "ours", seeds=1),
    ]
    there = {arm.name: [member(0, 0.9, 1.0)] for arm in arms[:3]} | {"missing": []}
    docstrings.write(arms, there, tmp_path)
    changed = [path.stem for path in sorted(tmp_path.iterdir()) if path.read_text() != BEFORE + AFTER]
    assert changed == ["plain"]


def test_no_config_is_out_of_date():
    studies = pytest.importorskip("experiments.studies").ALL
    found = results.read(studies, collected.FOLDER)
    arms = [arm for study in studies for arm in study.arms if not arm.overrides and found.members[arm.name]]
    assert len(arms) > 20
    for arm in arms:
        text = (ROOT / "configs" / f"{arm.config}.py").read_text()
        assert docstrings.with_line(text, docstrings.line(arm, found.members[arm.name])) == text, arm.name
