"""Hostile files: whatever is in them, the readers give a dataset or digits, or refuse them in a sentence, and soon.

The files of a few bytes are what the fuzzers of tests/fuzz found.
"""

import gzip
import io
import os
import pathlib
import pickle
import signal
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
from PIL import Image
import pytest

from digits.data import folders
from digits.data.idx import IDX_FILES, read_idx
from digits.data.npz import read_npz
from digits.data.pictures import segment
from digits.errors import UserError

IMAGES, LABELS = IDX_FILES[:2]
X, Y = np.zeros((12, 28, 28), np.uint8), np.arange(12) % 10
BODY = X.tobytes()


@pytest.fixture(autouse=True)
def soon_and_small():
    """No test takes long or allocates much, whatever its files claim."""

    def late(*_):
        raise TimeoutError("still reading")

    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    tracemalloc.start(1)
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    assert peak < 100 * 2**20


def refusal(read, *arguments) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(UserError) as error:
        read(*arguments)
    message = str(error.value)
    assert len(message.splitlines()) == 1 and message.endswith(".")
    return message


# IDX files.


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """A folder with the four IDX files."""
    for stem in IDX_FILES:
        (tmp_path / stem).write_bytes(idx(X if "images" in stem else Y.astype(np.uint8)))
    return tmp_path


def deflated(content: bytes, times: int = 1) -> bytes:
    """Deflate blocks of `content` repeated, without an end."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH)) * times


GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
TEN_GIB = 640  # Times 16 MiB.


@pytest.mark.parametrize(
    "start, word",
    [
        (b"", "starts with 00000000"),
        (idx(X[:0])[:4] + struct.pack(">3I", 12, 28, 28), "too long"),
        (idx(X[:0])[:4] + struct.pack(">3I", 10 * 2**30 // 784, 28, 28), "shape"),
    ],
    ids=["zeros", "12 images", "as it is"],
)
def test_ten_gib_of_zeros_in_a_small_gzip_are_not_inflated(folder, start, word):
    (folder / IMAGES).unlink()
    bomb = GZIP_HEADER + deflated(start) + deflated(bytes(2**24), TEN_GIB)
    (folder / f"{IMAGES}.gz").write_bytes(bomb)
    assert len(bomb) < 11 * 2**20
    assert word in refusal(read_idx, folder)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_room_is_made_for_what_is_there_not_for_what_is_claimed(folder, suffix):
    claim = idx(X)[:4] + struct.pack(">3I", 2**30 // 784, 28, 28) + bytes(1000)
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}{suffix}").write_bytes(gzip.compress(claim) if suffix else claim)
    assert "truncated: its header declares 1,073,741," in refusal(read_idx, folder)


@pytest.mark.parametrize("name", [IMAGES, f"{IMAGES}.gz", LABELS])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder, name):
    for path in folder.glob(f"{name.removesuffix('.gz')}*"):
        path.unlink()
    os.mkfifo(folder / name)
    assert name.removesuffix(".gz") in refusal(read_idx, folder)


# .npz files.


def npy(descr="'|u1'", shape="(12, 28, 28)", order="False", body=BODY) -> bytes:
    """A member with a header that may say anything."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


LABELS_NPY = npy("'<i8'", "(12,)", body=Y.tobytes())


def npz(path: pathlib.Path, method=zipfile.ZIP_DEFLATED, **members: bytes) -> pathlib.Path:
    """An archive with a training set, unless its members are given."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in ({"x_train": npy(), "y_train": LABELS_NPY} | members).items():
            file.writestr(f"{name}.npy", content)
    return path


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_executed(tmp_path):
    trace = tmp_path / "executed"
    content = pickle.dumps(Bomb(trace))
    pickle.loads(content)
    trace.rmdir()  # It works, where pickles are loaded.
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb(trace)] * 12, object))
    plain = tmp_path / "plain.npz"
    plain.write_bytes(content)
    for path in (
        plain,
        npz(tmp_path / "member.npz", x_train=content),
        npz(tmp_path / "array.npz", x_train=objects.getvalue()),
        npz(tmp_path / "labels.npz", y_train=objects.getvalue()),
    ):
        refusal(read_npz, path)
    # Beside a dataset it is not even looked at.
    images, _ = read_npz(npz(tmp_path / "beside.npz", about=objects.getvalue()))[0]
    assert images.shape == (12, 28, 28) and not trace.exists()


NPZ_MEMBERS = {
    "no array": (b"Here are words.", "magic"),
    "a terabyte": (npy(shape="(1402500000, 28, 28)"), "which it cannot hold"),
    "more than can be counted": (npy(shape="(9223372036854775808, 28, 28)"), "which it cannot hold"),
    "less than nothing": (npy(shape="(-12, 28, 28)"), "which it cannot hold"),
    "twice less than nothing": (npy(shape="(-12, -28, 28)"), "must be uint8"),
    "unclosed header": (npy(shape="(12, 28, 28"), "cannot be read"),
    "nested header": (npy(shape="(" * 150 + ")" * 150), "must be uint8"),
    "endless header": (npy(shape="-" * 9000 + "1"), "cannot be read"),
    "no shape": (npy(shape="None"), "cannot be read"),
    "part of an image": (npy("('|u1', (28, 28))", "(12,)"), "must be uint8"),
    "fields": (npy("[('a', '|u1')]"), "must be uint8"),
    "objects in fields": (npy("[('a', '|O')]"), "never loaded"),
    "nothing each": (npy("'|S0'", body=b""), "must be uint8"),
    "a later version": (npy().replace(b"\1\0", b"\4\0", 1), "cannot be read"),
}


@pytest.mark.parametrize("member", NPZ_MEMBERS)
def test_hostile_member_is_refused(tmp_path, member):
    content, words = NPZ_MEMBERS[member]
    assert words in refusal(read_npz, npz(tmp_path / "set.npz", x_train=content))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    # A kilobyte of theirs can be a gigabyte, or declare a dictionary of four.
    assert "np.savez_compressed" in refusal(read_npz, npz(tmp_path / "set.npz", method))


def test_zip_bomb_is_not_inflated(tmp_path):
    count = 10 * 2**30 // 784
    header = npy(shape=f"({count}, 28, 28)", body=b"")
    content = deflated(header) + deflated(bytes(2**24), TEN_GIB)
    path = npz(tmp_path / "set.npz", zipfile.ZIP_STORED, x_train=content)
    raw = bytearray(path.read_bytes())
    for sign, method, size in ((b"PK\3\4", 8, 22), (b"PK\1\2", 10, 24)):  # Said to be deflated, and of which size.
        place = raw.find(sign)
        raw[place + method : place + method + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        raw[place + size : place + size + 4] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(raw)
    assert "which it cannot hold" in refusal(read_npz, path)


def test_encrypted_member_is_refused(tmp_path):
    path = npz(tmp_path / "set.npz")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    assert "encrypted" in refusal(read_npz, path)


@pytest.mark.parametrize("name", ["/{}", "../{}", "a/{}", "{}/", "\\{}"])
def test_members_outside_the_archive_are_none(tmp_path, name):
    path = tmp_path / "inside" / "set.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name.format("x_train.npy"), npy())
        file.writestr("y_train.npy", LABELS_NPY)
    assert "no array x_train" in refusal(read_npz, path)
    assert list(path.parent.iterdir()) == [path] and list(tmp_path.iterdir()) == [path.parent]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_member_that_is_there_twice_the_last_is_read(tmp_path):
    path = npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", npy(body=bytes(range(1, 13)) * 784))
    assert read_npz(path)[0][0].min() == 1


def test_fortran_order_is_understood(tmp_path):
    images = np.arange(12 * 784).reshape(12, 28, 28).astype(np.uint8)
    path = npz(tmp_path / "set.npz", x_train=npy(order="True", body=images.tobytes(order="F")))
    np.testing.assert_array_equal(read_npz(path)[0][0], images)


def test_npz_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "set.npz")
    assert "no file" in refusal(read_npz, tmp_path / "set.npz")


# Folders of images.


@pytest.fixture
def classes(tmp_path):
    """A folder with two classes of six images each."""
    for number in range(12):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), number).save(path)
    return tmp_path / "set"


def test_link_to_something_else_is_no_way_to_read_it(classes):
    secret = classes.parent / "secret.txt"
    secret.write_text("hunter2")
    (classes / "a" / "linked.png").symlink_to(secret)
    message = refusal(folders.read_folder, classes)
    assert "linked.png" in message and "hunter2" not in message


def test_link_to_an_image_elsewhere_is_that_image(classes):
    Image.new("L", (28, 28), 99).save(classes.parent / "elsewhere.png")
    (classes / "a" / "linked.png").symlink_to(classes.parent / "elsewhere.png")
    assert (folders.read_folder(classes)[0][0] == 99).all((1, 2)).sum() == 1


def test_what_is_transparent_is_white(classes):
    """Black ink on nothing would be black on black."""
    drawing = np.zeros((28, 28, 4), np.uint8)
    drawing[10:20, 10:20, 3] = 255
    Image.fromarray(drawing).save(classes / "a" / "drawn.png")
    images = folders.read_folder(classes)[0][0]
    found = next(image for image in images if len(np.unique(image)) > 1)
    assert found[0, 0] == 255 and found[15, 15] == 0


def test_what_is_no_file_is_left_out(classes):
    os.mkfifo(classes / "a" / "pipe.png")
    (classes / "a" / "endless.png").symlink_to("/dev/zero")
    (classes / "a" / "itself.png").symlink_to(classes / "a" / "itself.png")
    (classes / "a" / "up").symlink_to(classes)
    os.makedirs(classes / "a" / "/".join(["deep"] * 400))
    assert len(folders.read_folder(classes)[0][1]) == 12


@pytest.mark.parametrize("name", [b"caf\xe9", b"\x1b[2J", b"two\nlines"])
def test_class_name_that_cannot_be_printed_is_refused(classes, name):
    os.rename(classes / "a", os.path.join(os.fsencode(classes), name))
    message = refusal(folders.read_folder, classes)
    assert "can be printed" in message and message.isprintable()


def test_file_names_may_be_any(classes):
    for name in (b"caf\xe9.png", b"x" * 251 + b".png", b"\x1b[2J.png", b" "):
        os.rename(classes / "a" / "0.png", os.path.join(os.fsencode(classes), b"a", name))
        assert len(folders.read_folder(classes)[0][1]) == 12
        os.rename(os.path.join(os.fsencode(classes), b"a", name), classes / "a" / "0.png")


@pytest.mark.parametrize("name", ["./" + "x" * 5000, "/".join(["x" * 200] * 30), "./a\0b", ""], ids=len)
@pytest.mark.parametrize("read", [folders.read_folder, read_npz, segment.read])
def test_name_that_no_file_can_have_is_refused(read, name):
    refusal(read, pathlib.Path(name))


# Pictures, also those of a folder.


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def png_header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">2I", width, height) + bytes((8, 0, 0, 0, 0))


PICTURES = {
    "a hundred million pixels": png(png_header(10_000, 10_001), (b"IDAT", zlib.compress(bytes(10**7))), (b"IEND", b"")),
    "as many as can be": png(png_header(2**31 - 1, 2**31 - 1), (b"IDAT", b""), (b"IEND", b"")),
    "no pixels": png(png_header(0, 28), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "text of ten GiB": png((b"zTXt", b"a\0\0x" + deflated(bytes(2**24), TEN_GIB)[: 10**6]), (b"IEND", b"")),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n"
    b"(%pipe%touch executed) (w) file\n",
}


@pytest.mark.parametrize("picture", PICTURES)
def test_hostile_picture_is_refused(classes, picture, monkeypatch):
    monkeypatch.chdir(classes.parent)
    refusal(segment.read, PICTURES[picture])
    (classes / "a" / "0.png").write_bytes(PICTURES[picture])
    assert "0.png" in refusal(folders.read_folder, classes)
    assert not pathlib.Path("executed").exists()


def test_jpeg_that_is_to_be_gone_over_many_times_is_refused():
    file = io.BytesIO()
    Image.new("L", (128, 128), 255).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    assert "no digit" in refusal(segment.read, jpeg)  # As it is, its ten scans are no reason.
    scan = jpeg[jpeg.rfind(b"\xff\xc4") : -2]
    assert "JPEG of 10,0" in refusal(segment.read, jpeg[:-2] + scan * 10_000 + jpeg[-2:])
    # What is behind the image's end is not decoded.
    assert "no digit" in refusal(segment.read, jpeg + scan * 100)
