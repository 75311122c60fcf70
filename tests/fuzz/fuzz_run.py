"""Fuzzes the reader of run directories: `digits.load` of a run that somebody sent.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris
    fuzzing/bin/python -m tests.fuzz.fuzz_run -max_total_time=600

An input's first byte says which file of a small run it replaces, the others are that file. Checks that a sender could
make anew are made anew: a JSON object is sealed again after it was changed, so that its content is what is read.
"""

import json
import pathlib
import random
import sys
import tempfile
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["digits"]):
    from digits.runs import files, loading
    from digits.training import train

from tests.conftest import tiny_config
from tests.fuzz import harness

FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")
RUN = pathlib.Path(FOLDER.name) / "run"
# In place of a value of a JSON object; code, paths and sizes that nobody should believe.
VALUES = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), "",
    "x", "../../etc/passwd", "/etc/passwd", "__import__('os').system('id')", "a" * 10000, "\0", "last(10000)", "test",
    "cnn", "dense", "native", "adam", [], [[]], [1, 2], [10**9], [[2**31]], [0], {}, {"a": 1}, [None] * 9, "none",
    "relu",
)  # fmt: skip


def prepare() -> dict[str, bytes]:
    """Trains the run, and returns the contents of its files by their names below its folder."""
    config = tiny_config()
    config.epochs = 1
    train.train_and_evaluate(config, RUN)
    return {str(path.relative_to(RUN)): path.read_bytes() for path in sorted(RUN.rglob("*")) if path.is_file()}


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values of a JSON object, those of objects and lists too."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [p for key, value in inner for p in [(*path, key), *places(value, (*path, key))]]


def change(content: Any, rng: random.Random) -> None:
    """Replaces, removes or adds a value somewhere in a JSON object."""
    where = places(content)
    if not where:
        return
    *path, last = rng.choice(where)
    for key in path:
        content = content[key]
    kind = rng.randrange(8)
    if kind == 0:
        del content[last]
    elif kind == 1 and isinstance(content, dict):
        content[rng.choice(("check", "x", "../x", "epoch", "__class__"))] = rng.choice(VALUES)
    else:
        content[last] = rng.choice(VALUES)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Where a file holds JSON, mostly some of its values; else libFuzzer's mutation of the bytes."""
    rng = random.Random(seed)
    if rng.random() < 0.8:  # All whole files take the same way through the reader, so that libFuzzer keeps but one.
        small = [n for n, name in enumerate(NAMES) if len(FILES[name]) < max_size]
        number = rng.choice(small)
        data = bytes([number + rng.choice((0, LATEST))]) + FILES[NAMES[number]]
    head, lines = data[:1], data[1:].split(b"\n")
    index = rng.randrange(len(lines)) if NAMES[data[0] % len(NAMES)].endswith(".jsonl") else None
    try:
        content = json.loads(lines[index] if index is not None else data[1:])
    except ValueError:
        content = None
    if not isinstance(content, dict) or rng.random() < 0.1:
        return head + atheris.Mutate(data[1:max_size], max_size - 1)
    content.pop("check", None)
    for _ in range(rng.randint(1, 2)):
        change(content, rng)
    text = json.dumps(files.seal(content)).encode()
    if index is None:
        return head + text
    return head + b"\n".join([*lines[:index], text, *lines[index + 1 :]])


def target(data: bytes) -> None:
    if not data:
        return
    name = NAMES[data[0] % len(NAMES)]
    try:
        (RUN / name).write_bytes(data[1:])
        if run := harness.allowed(loading.load, RUN, "best" if data[0] < LATEST else "latest"):
            check(run)
        there = sorted(str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.is_file())
        assert there == NAMES, "reading a run made or removed a file"
    finally:
        (RUN / name).write_bytes(FILES[name])


def check(run: loading.Run) -> None:
    """Asserts what digits/runs/loading.py says of a run."""
    assert run.class_names and all(isinstance(name, str) for name in run.class_names)
    assert run.epoch >= 0 and len(run.history) >= 0
    try:
        probabilities = run.predict(np.zeros((2, 28, 28), np.uint8))
    except files.UserError:
        return
    assert probabilities.shape == (2, len(run.class_names))


if __name__ == "__main__":
    FILES = prepare()
    NAMES = sorted(FILES)
    # The larger ones are arrays, whose bytes are covered by a digest.
    sys.argv[1:1] = ["-len_control=0", "-timeout=30"]
    LATEST = len(NAMES)  # Added to the first byte: load the latest weights instead of the best.
    seeds = (bytes([n + which]) + FILES[name] for which in (0, LATEST) for n, name in enumerate(NAMES))
    harness.fuzz(target, seeds, mutate)
