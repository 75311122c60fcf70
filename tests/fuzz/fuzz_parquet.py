"""Fuzzes the reader of Parquet datasets.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris pyarrow
    fuzzing/bin/python -m tests.fuzz.fuzz_parquet -max_total_time=600

An input is a file. Most mutations write a table anew, with other columns, types, values and notes: pyarrow has fuzzers
of its own for the file's structure.
"""

import io
import pathlib
import random
import tempfile

import atheris
from PIL import Image
import pyarrow
from pyarrow import parquet

with atheris.instrument_imports(include=["digits"]):
    from digits.data import parquet as reader  # noqa: F401

from tests.fuzz import harness

FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")
NOTES = (
    b'{"info": {"features": {"label": {"names": ["a", "b"]}}}}', b'{"info": {"features": {"label": {"names": ["a"]}}}}',
    b'{"info": {"features": {"label": {"names": 7}}}}', b'{"info": {"features": {"label": {"names": [1, null]}}}}',
    b'{"info": {"features": {"label": {"names": ["\\u001b", "a"]}}}}', b'{"info": []}', b"[]", b"null", b"{", b"\xff",
    b"[" * 5000,
)  # fmt: skip
LABELS = (
    [n % 2 for n in range(12)], [-1] * 12, [256] * 12, [None, *[1] * 11], [0.5] * 12, ["a"] * 12, [2**40] * 12,
    [[1]] * 12, [True, False] * 6, [1] * 12,
)  # fmt: skip
NAMES = ("image", "label", "labels", "digit", "", "img", "image.bytes", "\x1b", "a" * 300)


def picture(side: int = 28) -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (side, side))
    image.putpixel((side // 2, side // 2), 255)
    image.save(file, "PNG")
    return file.getvalue()


PICTURE = picture()
IMAGES = (
    [{"bytes": PICTURE, "path": None}] * 12, [PICTURE] * 12, [None, *[PICTURE] * 11], [b""] * 12, [PICTURE[:40]] * 12,
    [{"bytes": None, "path": "a"}] * 12, [{"path": "a"}] * 12, ["a"] * 12, [{"bytes": "a"}] * 12, [picture(9)] * 12,
    [{"bytes": {"bytes": PICTURE}}] * 12, [1] * 12,
)  # fmt: skip


def packed(columns: dict, note: bytes | None = None, **options) -> bytes:
    file = io.BytesIO()
    table = pyarrow.table(columns)
    if note is not None:
        table = table.replace_schema_metadata({b"huggingface": note})
    parquet.write_table(table, file, **options)
    return file.getvalue()


def seeds():
    for images in IMAGES[:2]:
        for compression in ("none", "snappy", "zstd", "gzip"):
            yield packed({"image": images, "label": LABELS[0]}, NOTES[0], compression=compression)
    yield b"PAR1"
    yield b"PAR1" + bytes(100) + b"PAR1"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """A third of the time libFuzzer's mutation of the bytes, else another table."""
    rng = random.Random(seed)
    if rng.random() < 0.33:
        return atheris.Mutate(data, max_size)
    images = list(IMAGES[0] if rng.random() < 0.4 else rng.choice(IMAGES))
    if rng.random() < 0.3 and isinstance(images[3], dict):
        images[3] = {**images[3], "bytes": atheris.Mutate(PICTURE, 2000)}
    labels = LABELS[0] if rng.random() < 0.5 else rng.choice(LABELS)
    count = rng.choice((0, 1, 9, 12, 12, 12))
    columns = {"image": images[:count], "label": labels[:count]}
    for _ in range(rng.choice((0, 0, 1, 2))):
        columns[rng.choice(NAMES)] = rng.choice((*IMAGES, *LABELS))[:count]
    if rng.random() < 0.2:
        columns.pop(rng.choice(("image", "label")), None)
    try:
        made = packed(columns, rng.choice((None, *NOTES)), row_group_size=rng.choice((1, 5, 100)))
    except Exception:  # pyarrow cannot write every type.
        return atheris.Mutate(data, max_size)
    return made[:max_size]


def target(data: bytes) -> None:
    path = pathlib.Path(FOLDER.name) / "train.parquet"
    path.write_bytes(data)
    harness.check_path(path)


if __name__ == "__main__":
    harness.fuzz(target, seeds(), mutate)
