"""IDX files, whole and damaged."""

import gzip
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest

from digits import data
from digits.data.idx import IDX_FILES, read_idx
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, idx_bytes, small_sets, write_idx

IMAGES, LABELS = IDX_FILES[:2]


@pytest.fixture
def arrays():
    """Training images and labels, test images and labels: noise, so that no two images are equal."""
    return small_sets(counts=(30, 12))


@pytest.fixture
def folder(tmp_path, arrays):
    """A folder with the four plain files."""
    return write_idx(tmp_path, arrays)


def refusal(folder):
    """The message with which reading the folder is refused."""
    with pytest.raises(UserError) as error:
        read_idx(folder)
    return str(error.value)


def assert_read_exactly(folder, arrays):
    read = read_idx(folder).arrays
    for got, expected in zip(read, arrays, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def compress(folder, stem):
    (folder / f"{stem}.gz").write_bytes(gzip.compress((folder / stem).read_bytes()))
    (folder / stem).unlink()


def test_plain_files_are_read_exactly(folder, arrays):
    assert_read_exactly(folder, arrays)


def test_gzipped_files_are_read_exactly(folder, arrays):
    for stem in IDX_FILES:
        compress(folder, stem)
    assert_read_exactly(folder, arrays)


def test_names_with_a_dot_are_read_exactly(folder, arrays):
    for stem in IDX_FILES:
        (folder / stem).rename(folder / stem.replace("-idx", ".idx"))
    assert (folder / "train-images.idx3-ubyte").exists()
    assert_read_exactly(folder, arrays)


def test_plain_and_gzipped_files_can_be_mixed(folder, arrays):
    compress(folder, IMAGES)
    assert_read_exactly(folder, arrays)


@pytest.mark.parametrize("gzipped", [False, True])
def test_gzipped_or_not_is_told_by_the_content_whatever_the_ending(folder, arrays, gzipped):
    for stem in IDX_FILES:
        content = (folder / stem).read_bytes()
        (folder / stem).unlink()
        (folder / (stem if gzipped else f"{stem}.gz")).write_bytes(gzip.compress(content) if gzipped else content)
    assert_read_exactly(folder, arrays)


def rename(folder, pattern):
    for stem in IDX_FILES:
        (folder / stem).rename(folder / pattern(stem))


@pytest.mark.parametrize(
    "pattern",
    [
        lambda stem: f"digits_{stem.replace('t10k', 'test')}",
        lambda stem: stem.replace("-idx3-ubyte", ".bin").replace("-idx1-ubyte", ".bin").replace("t10k", "Test"),
        lambda stem: stem.replace("train", "training").replace("t10k", "testing").partition("-idx")[0],
    ],
)
def test_files_of_other_names_are_found_by_their_content(folder, arrays, pattern):
    rename(folder, pattern)
    (folder / "README.txt").write_text("not one of them")
    assert_read_exactly(folder, arrays)
    assert_same_arrays(data.load(f"{folder}/"), arrays)


def test_a_pair_without_a_test_set_gives_a_fifth_to_it(folder, arrays):
    for stem in IDX_FILES[2:]:
        (folder / stem).unlink()
    (folder / IMAGES).rename(folder / "mine.idx3")
    (folder / LABELS).rename(folder / "mine.idx1")
    dataset = data.load(str(folder))
    assert [len(array) for array in dataset.arrays] == [20, 20, 10, 10]  # A fifth would lack classes.


def test_emnists_files_come_upright_and_with_their_letters(folder, arrays):
    arrays[1][:], arrays[3][:] = arrays[1] + 1, arrays[3] + 1  # Letters are numbered from 1.
    write_idx(folder, arrays)
    rename(folder, lambda stem: f"emnist-letters-{stem.replace('t10k', 'test')}")
    upright = [arrays[0].swapaxes(1, 2), arrays[1] - 1, arrays[2].swapaxes(1, 2), arrays[3] - 1]
    for dataset in (data.load(str(folder)), data.load("emnist/letters", str(folder))):
        assert_same_arrays(dataset, upright)
        assert dataset.class_names == tuple("ABCDEFGHIJ")
        assert dataset.notes == ("EMNIST's images, transposed in its files, are turned upright",)


def test_one_of_several_sets_in_a_folder_is_named(tmp_path, arrays):
    for number, part in enumerate(("digits", "letters")):
        write_idx(tmp_path, [np.roll(array, number + 1, axis=0) for array in arrays])
        rename(tmp_path, lambda stem, part=part: f"emnist-{part}-{stem.replace('t10k', 'test')}")
    assert "emnist/digits, emnist/letters: name one of them" in refusal(tmp_path)
    letters = data.load("emnist/letters", str(tmp_path))
    np.testing.assert_array_equal(letters.train_images, np.roll(arrays[0], 2, axis=0).swapaxes(1, 2))
    with pytest.raises(UserError, match="emnist/digits, emnist/letters"):
        data.load("emnist/balanced", str(tmp_path))


# What can be wrong with the bytes of a file, and the word that says so.
DAMAGES = {
    "magic of labels": (lambda raw: bytes((0, 0, 8, 1)) + raw[4:], "starts with 00000801"),
    "magic of signed bytes": (lambda raw: bytes((0, 0, 9, 3)) + raw[4:], "starts with 00000903"),
    "swapped byte order": (lambda raw: bytes((3, 8, 0, 0)) + raw[4:], "starts with 03080000"),
    "header cut in the magic": (lambda raw: raw[:3], "starts with 000008"),
    "header cut in the shape": (lambda raw: raw[:11], "truncated"),
    "body cut": (lambda raw: raw[:-1], "truncated"),
    "body missing": (lambda raw: raw[:16], "truncated"),
    "trailing byte": (lambda raw: raw + b"\0", "too long"),
    "no images": (lambda raw: raw[:4] + struct.pack(">3I", 0, 28, 28), "shape"),
    "other side": (lambda raw: raw[:4] + struct.pack(">3I", 30, 14, 56) + raw[16:], "shape"),
}


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_refused(folder, damage, gzipped):
    change, word = DAMAGES[damage]
    path = folder / IMAGES
    path.write_bytes(change(path.read_bytes()))
    if gzipped:
        compress(folder, IMAGES)
        path = folder / f"{IMAGES}.gz"
    message = refusal(folder)
    assert str(path) in message and word in message


def test_labels_file_with_the_magic_of_images_is_refused(folder):
    path = folder / LABELS
    path.write_bytes(bytes((0, 0, 8, 3)) + path.read_bytes()[4:])
    message = refusal(folder)
    assert str(path) in message and "starts with 00000803" in message


@pytest.mark.parametrize("stem", IDX_FILES)
def test_empty_file_is_refused(folder, stem):
    (folder / stem).write_bytes(b"")
    assert str(folder / stem) in refusal(folder)


def break_gzip_at(cut):
    return lambda raw: gzip.compress(raw)[:cut]


GZIP_DAMAGES = {
    "cut in the body": break_gzip_at(-500),
    "cut in the checksum": break_gzip_at(-4),
    "cut in the header": break_gzip_at(6),
    "wrong checksum": lambda raw: gzip.compress(raw)[:-8] + b"\1\2\3\4" + gzip.compress(raw)[-4:],
    "wrong byte": lambda raw: gzip.compress(raw)[:5000] + b"\xaa\x55" + gzip.compress(raw)[5002:],
    # After the ten bytes of the header: a block of the type that does not exist.
    "impossible block": lambda raw: gzip.compress(raw)[:10] + b"\7" + gzip.compress(raw)[11:],
    "garbage after the stream": lambda raw: gzip.compress(raw) + b"garbage",
}


@pytest.mark.parametrize("damage", GZIP_DAMAGES)
def test_damaged_gzip_is_refused(folder, damage):
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(GZIP_DAMAGES[damage]((folder / IMAGES).read_bytes()))
    (folder / IMAGES).unlink()
    message = refusal(folder)
    assert str(path) in message and "cannot be read" in message


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("shape", [(1_402_500_000, 28, 28), (2**32 - 1,) * 3], ids=["terabyte", "largest header"])
def test_header_that_claims_a_terabyte_is_refused_without_allocating(folder, shape, gzipped):
    path = folder / IMAGES
    path.write_bytes(path.read_bytes()[:4] + struct.pack(">3I", *shape) + b"\0" * 1000)
    if gzipped:
        compress(folder, IMAGES)
        path = folder / f"{IMAGES}.gz"
    tracemalloc.start()
    try:
        begin = time.monotonic()
        message = refusal(folder)
        seconds, peak = time.monotonic() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in message and "shape" in message
    assert peak < 10 * 2**20
    assert seconds < 5


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("stem", [IDX_FILES[0], IDX_FILES[2]])
def test_images_and_labels_of_different_counts_are_refused(folder, arrays, stem, gzipped):
    images = arrays[IDX_FILES.index(stem)]
    (folder / stem).write_bytes(idx_bytes(images[:-1]))
    path = folder / stem
    if gzipped:
        compress(folder, stem)
        path = folder / f"{stem}.gz"
    message = refusal(folder)
    assert str(path) in message
    assert f"{len(images) - 1} images" in message and f"{len(images)} labels" in message


@pytest.mark.parametrize("stem", IDX_FILES)
def test_missing_file_is_named(folder, stem):
    (folder / stem).unlink()
    message = refusal(folder)
    assert str(folder) in message and f"{stem}.gz" in message
    assert "--data_dir" in message and "DIGITS_DATA_DIR" in message


def test_missing_folder_is_named(tmp_path):
    assert str(tmp_path / "nowhere") in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [IMAGES, f"{IMAGES}.gz"])
def test_directory_in_the_place_of_a_file_is_refused(folder, name):
    (folder / IMAGES).unlink()
    (folder / name).mkdir()
    message = refusal(folder)
    assert str(folder) in message and IMAGES in message


def test_file_that_may_not_be_read_is_refused(folder):
    path = folder / LABELS
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    message = refusal(folder)
    assert str(path) in message and "cannot be read" in message
