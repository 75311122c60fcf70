"""Fuzzes what reads a person's own pictures: digits/data/pictures/segment.py, and the image folders of
digits/data/idx.py.

    python -m venv fuzzing --system-site-packages && fuzzing/bin/pip install -r requirements.txt atheris
    fuzzing/bin/python -m tests.fuzz.fuzz_picture -max_total_time=600

An input is an image file.
"""

import io
import pathlib
import random
import struct
import tempfile
import warnings
import zlib

import atheris
import numpy as np

with atheris.instrument_imports(include=["digits", "PIL"]):
    from PIL import Image, ImageDraw

    from digits.data import folders
    from digits.data.pictures import segment

from tests.fuzz import harness

FOLDER = tempfile.TemporaryDirectory(prefix="digits-fuzz-")
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "JPEG": ("L", "RGB", "CMYK"), "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"), "WEBP": ("RGB", "RGBA"), "TIFF": ("1", "L", "LA", "RGB", "CMYK", "I", "F", "I;16", "LAB"),
}  # fmt: skip


def drawn(mode: str, size=(40, 36)) -> Image.Image:
    image = Image.new("L", size, 250)
    draw = ImageDraw.Draw(image)
    draw.line([(10, 6), (10, 30)], 0, 3)
    draw.ellipse([20, 6, 34, 30], outline=0, width=3)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    return (image.convert("RGB") if mode == "LAB" else image).convert(mode)


def seeds():
    for kind, modes in MODES.items():
        for mode in modes:
            for options in [
                {},
                *([{"compression": "tiff_lzw"}, {"compression": "packbits"}] if kind == "TIFF" else []),
            ]:
                file = io.BytesIO()
                drawn(mode).save(file, kind, **options)
                yield file.getvalue()
    for orientation in (0, 6, 99):
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        drawn("RGB").save(file, "JPEG", exif=exif)
        yield file.getvalue()
    file = io.BytesIO()
    drawn("P").save(file, "GIF", save_all=True, append_images=[drawn("P", (36, 40))])
    yield file.getvalue()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's mutation; of a PNG often that of one chunk, whose checksum is mended so that it is looked at."""
    rng = random.Random(seed)
    if not data.startswith(b"\x89PNG") or rng.random() < 0.3:
        return atheris.Mutate(data, max_size)
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return atheris.Mutate(data, max_size)
    index = rng.randrange(len(chunks))
    name, body = chunks[index]
    if name == b"IHDR" and len(body) == 13 and rng.random() < 0.5:
        sizes = (0, 1, 7, 28, 5000, 7000, 7071, 2**16, 2**31 - 1, 2**32 - 1)
        kinds = bytes((rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6)), 0, 0, rng.randrange(2)))
        body = struct.pack(">2I", rng.choice(sizes), rng.choice(sizes)) + kinds
    elif rng.random() < 0.2:
        name = rng.choice(
            (b"tRNS", b"PLTE", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"cHRM")
        )
        chunks.insert(index, (name, body))
    elif name == b"IDAT" and rng.random() < 0.5:
        body = zlib.compress(bytes(rng.randrange(256) for _ in range(8)) * rng.choice((1, 40, 900, 10**5)))
    else:
        body = atheris.Mutate(body or b"\0", max_size)
    chunks[index] = name, body
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return (data[:8] + b"".join(packed))[:max_size]


def fill_folder(root: pathlib.Path) -> pathlib.Path:
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(5):
            drawn("L").save(root / name / f"{number}.png")
    return root / "a" / "0.png"


def target(data: bytes) -> None:
    with np.errstate(invalid="raise", divide="raise"):
        digits = harness.allowed(segment.read, data)
    for digit in digits or ():
        left, top, right, bottom = digit.box
        assert digit.image.shape == (28, 28) and digit.image.dtype == np.uint8 and digit.image.max() == 255
        assert 0 <= left < right and 0 <= top < bottom
    IMAGE.write_bytes(data)
    if source := harness.allowed(folders.read_folder, pathlib.Path(FOLDER.name)):
        harness.check_source(source)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow's own limit warns before it refuses.
    IMAGE = fill_folder(pathlib.Path(FOLDER.name))
    harness.fuzz(target, seeds(), mutate)
