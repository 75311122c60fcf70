"""Fuzzes the reader of IDX files, plain and gzipped, of images, labels and writers.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris
    fuzzing/bin/python -m tests.fuzz.fuzz_idx -max_total_time=600

An input's first byte says which file it is and whether it is gzipped; the others are the file, before it is compressed
where the byte says so.
"""

import gzip
import pathlib
import random
import struct
import tempfile

import atheris
import numpy as np

with atheris.instrument_imports(include=["digits", "gzip"]):
    from digits.data import idx, writers

from tests.fuzz import harness

LABELS = np.arange(12, dtype=np.uint8) % 10
PLAIN, COMPRESSED, AS_IT_IS = range(3)
STEMS = (*idx.IDX_FILES, *writers.WRITER_FILES.values())
FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")


def idx_bytes(code: int, array: np.ndarray) -> bytes:
    return bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def valid(stem: str) -> bytes:
    if stem in writers.WRITER_FILES.values():
        return idx_bytes(12, np.repeat(LABELS[:, None], 8, 1).astype(">i4"))
    return idx_bytes(8, LABELS if "labels" in stem else np.zeros((12, 28, 28), np.uint8))


def seeds():
    for number, stem in enumerate(STEMS):
        for how in (PLAIN, COMPRESSED):
            yield bytes([number * 3 + how]) + valid(stem)
        yield bytes([number * 3 + AS_IT_IS]) + gzip.compress(valid(stem))


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time another shape or kind in the header, or another file's content; else libFuzzer's mutation."""
    rng = random.Random(seed)
    if rng.random() < 0.5 or len(data) < 6:
        return atheris.Mutate(data, max_size)
    head, body = data[:1], bytearray(data[1:])
    change = rng.randrange(3)
    if change == 0:
        place = rng.choice((4, 8, 12))
        body[place : place + 4] = struct.pack(
            ">I", rng.choice((0, 1, 11, 13, 27, 28, 2**16, 2**31 - 1, 2**31, 2**32 - 1))
        )
    elif change == 1:
        body[2:4] = bytes((rng.choice((8, 9, 11, 12, 13, 14, 255)), rng.randrange(256)))
    else:
        head = bytes([rng.randrange(3 * len(STEMS))])
    return (head + bytes(body))[:max_size]


def target(data: bytes) -> None:
    if not data:
        return
    number, how = divmod(data[0] % (3 * len(STEMS)), 3)
    folder, stem = pathlib.Path(FOLDER.name), STEMS[number]
    for old in folder.iterdir():
        old.unlink()
    for other in idx.IDX_FILES:
        if other != stem:
            (folder / other).write_bytes(valid(other))
    content = gzip.compress(data[1:], 1) if how == COMPRESSED else data[1:]
    (folder / (stem if how == PLAIN else f"{stem}.gz")).write_bytes(content)
    if number < len(idx.IDX_FILES):
        if source := harness.allowed(idx.read_idx, folder):
            harness.check_source(source)
        # The same file under a name that says nothing: found by its content.
        shown = (folder / stem if how == PLAIN else folder / f"{stem}.gz").rename(folder / f"{stem[:12]}.bin")
        harness.check_path(folder)
        shown.unlink()
        return
    part = "train" if "train" in stem else "test"
    people = harness.allowed(writers.read_writers, part, LABELS, [folder])
    assert people is None or (people.dtype == np.int32 and people.shape == (12,))


if __name__ == "__main__":
    harness.fuzz(target, seeds(), mutate)
