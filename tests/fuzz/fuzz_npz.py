"""Fuzzes the reader of `.npz` datasets.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris
    fuzzing/bin/python -m tests.fuzz.fuzz_npz -max_total_time=600

An input is a file. Bytes changed at random nearly always break the archive's checksums, so that most mutations pack an
archive anew, with members whose headers tell something else.
"""

import io
import os
import pathlib
import random
import struct
import tempfile
import warnings
import zipfile

import atheris
import numpy as np

with atheris.instrument_imports(include=["digits", "zipfile", "numpy.lib"]):
    from digits.data import npz

from tests.fuzz import harness

FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")
KEYS = ("x_train", "y_train", "x_test", "y_test")
# Of a member's header.
TYPES = (
    "'|u1'", "'<i8'", "'>u2'", "'<f4'", "'|O'", "'|b1'", "'|V8'", "'<U3'", "'|S0'", "'<M8[D]'", "[('a','|u1')]",
    "[('a','|O')]", "('|u1',(28,28))", "'u1,u1'", "('<i8',(10,10,10,10))", "None", "{'a': 1}", "'|u1' * 9",
    "('|u1', {})",
)  # fmt: skip
SHAPES = (
    "(12, 28, 28)", "(12,)", "(12, 28, 28, 1)", "()", "(0, 28, 28)", "(-1, 28, 28)", "(2**40,)",
    "(1099511627776, 28, 28)",
    "(9223372036854775808,)", "(4294967296, 4294967296)", "(True, 28, 28)", "(1.5,)", "[12, 28, 28]", "(12L, 28L, 28L)",
    "None", "'12'", "(" * 150 + ")" * 150, "-" * 5000 + "1", "(1e400,)", "(12, 28, 28", "{1: 2}", "(1,) * 99",
)  # fmt: skip
ORDERS = ("False", "True", "1", "None", "'F'")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def npy(
    descr="'|u1'", shape="(12, 28, 28)", order="False", body=bytes(range(256)) * 36 + bytes(192), version=(1, 0)
) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(header)) + header + body


def pack(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def valid() -> list[tuple[str, bytes]]:
    labels = npy("'<i8'", "(12,)", body=(np.arange(12) % 10).astype("<i8").tobytes())
    return [(f"{key}.npy", npy() if key.startswith("x") else labels) for key in KEYS]


def seeds():
    for method in METHODS:
        yield pack(valid(), method)
    yield pack(valid()[:2])
    yield npy()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """A fifth of the time libFuzzer's mutation of the bytes, else that of one member, packed anew."""
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return atheris.Mutate(data, max_size)
    members = dict(valid())
    for _ in range(rng.randint(1, 2)):
        name = f"{rng.choice(KEYS)}.npy"
        members.setdefault(name, npy())  # It may have been renamed.
        kind = rng.randrange(6)
        if kind == 0:
            members[name] = atheris.Mutate(members[name], max_size)
        elif kind <= 3:
            size = rng.choice((0, 12, 96, 12 * 784, 10**6))
            version = rng.choice(((1, 0), (1, 0), (2, 0), (3, 0), (4, 0)))
            fields = [choices[0] if rng.random() < 0.5 else rng.choice(choices) for choices in (TYPES, SHAPES, ORDERS)]
            members[name] = npy(*fields, body=bytes(size), version=version)
        elif kind == 4:
            members[rng.choice(("/etc/" + name, "../" + name, name[:-4], name + "/", "a" * 60000))] = members.pop(name)
        else:
            members[name] = rng.choice((b"", b"\x80\x04N.", b"\x93NUMPY", b"PK\3\4", members[name][:-5]))
    items = list(members.items())
    if rng.random() < 0.1:  # The same name twice.
        items.append(rng.choice(items))
    packed = bytearray(pack(items, rng.choices(METHODS, (4, 8, 1, 1))[0]))
    if rng.random() < 0.2:  # The directory at the end: sizes, flags, methods and places of the members.
        start = packed.rfind(b"PK\1\2")
        place = start + rng.choice((6, 8, 10, 16, 20, 24, 28, 30, 42))
        packed[place : place + 2] = struct.pack("<H", rng.choice((0, 1, 8, 9, 12, 14, 99, 0xFFFF)))
    return bytes(packed)[:max_size]


def target(data: bytes) -> None:
    path = pathlib.Path(FOLDER.name) / "set.npz"
    path.write_bytes(data)
    if source := harness.allowed(npz.read_npz, path):
        harness.check_source(source)
        harness.check_path(path)
    assert os.listdir(FOLDER.name) == ["set.npz"], "reading a dataset made a file"


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # zipfile warns of the names that are there twice.
    harness.fuzz(target, seeds(), mutate)
