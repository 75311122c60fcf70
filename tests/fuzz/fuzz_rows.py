"""Fuzzes the reader of `.csv` datasets, and the finding out of what a file is.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris
    fuzzing/bin/python -m tests.fuzz.fuzz_rows -max_total_time=600

An input's first byte says whether the file is gzipped and has a test set beside it; the others are the file.
"""

import gzip
import pathlib
import random
import tempfile
import warnings

import atheris

with atheris.instrument_imports(include=["digits", "gzip", "zipfile"]):
    from digits.data import files, idx, rows  # noqa: F401

from tests.fuzz import harness

FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")
PLAIN, COMPRESSED, BESIDE = range(3)
CELLS = (
    b"", b"0", b"1", b"255", b"256", b"-1", b"0.5", b"1e400", b"nan", b"inf", b"-inf", b"0x1F", b"1_0", b"1e-400",
    b'"7"', b'"', b"#", b"label", b"1 2", b"\xff", b"\0", b"\r", b"9" * 400, b"9" * 5000, b"\xd9\xa3",
)  # fmt: skip
STARTS = (
    b"MATLAB 5.0", b"\x89HDF", b"\x93NUMPY", b"\x80\x04", b"PK\3\4", b"PK\5\6", b"ARROW1", b"PAR1", b"\x1f\x8b",
    b"BZh9", b"\0\0\x08\3", b"\0\0\x08", bytes(257) + b"ustar", b"\xef\xbb\xbf", b"\n", b",",
)  # fmt: skip


def valid(header: bool = False, separator: bytes = b",", count: int = 12) -> bytes:
    lines = [separator.join([b"label", *(b"p%d" % n for n in range(784))])] if header else []
    lines += [separator.join([b"%d" % (n % 2), *[b"0"] * 783, b"255"]) for n in range(count)]
    return b"\n".join(lines)


def seeds():
    for how in (PLAIN, COMPRESSED, BESIDE):
        yield bytes([how]) + valid()
        yield bytes([how]) + valid(header=True)
    for separator in (b";", b"\t"):
        yield bytes([PLAIN]) + valid(separator=separator)
    for start in STARTS:
        yield bytes([PLAIN]) + start + bytes(300)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time another cell, row or start; else libFuzzer's mutation."""
    rng = random.Random(seed)
    if rng.random() < 0.5 or len(data) < 6:
        return atheris.Mutate(data, max_size)
    head, lines = data[:1], data[1:].split(b"\n")
    change, number = rng.randrange(5), rng.randrange(len(lines))
    cells = lines[number].split(b",")
    if change <= 1:
        cells[rng.choice((0, -1, rng.randrange(len(cells))))] = rng.choice(CELLS)
    elif change == 2:
        cells = rng.choice((cells[1:], cells[:-1], [*cells, b"1"], [b"id", *cells], [], cells * 3))
    elif change == 3:
        lines.insert(number, rng.choice((b"", b"\r", b" ", b",", lines[number], b"# comment")))
    else:
        head = bytes([rng.randrange(3)])
        cells[0] = rng.choice(STARTS) + cells[0]
    lines[number] = b",".join(cells)
    return (head + b"\n".join(lines))[:max_size]


def target(data: bytes) -> None:
    if not data:
        return
    how, folder = data[0] % 3, pathlib.Path(FOLDER.name)
    path = folder / "my_train.csv"
    path.write_bytes(gzip.compress(data[1:], 1) if how == COMPRESSED else data[1:])
    if how == BESIDE:
        (folder / "my_test.csv").write_bytes(valid())
    harness.check_path(path)
    harness.check_path(folder)
    (folder / "my_test.csv").unlink(missing_ok=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    harness.fuzz(target, seeds(), mutate)
