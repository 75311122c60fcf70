"""Tests of digits.data.tfds: sets that TFDS downloads as IDX files, those that it prepares, and what cannot be had."""

import functools
import gzip
import hashlib
import http.server
from importlib.machinery import PathFinder
import pathlib
import shutil
import sys
import threading
import zipfile

import numpy as np
import pytest

from digits import data
from digits.data import sources, tfds
from digits.data.idx import IDX_FILES, read_idx
from digits.errors import UserError
from tests.made_datasets import assert_same_arrays, idx_bytes, small_sets

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
checksums = pytest.importorskip("tensorflow_datasets.core.download.checksums")


@pytest.fixture
def root(mnist_dir, tmp_path):
    """TFDS's folder, empty, and no other place that could hold a dataset."""
    (tmp_path / "tfds" / "downloads" / "manual").mkdir(parents=True)
    return tmp_path / "tfds"


@pytest.fixture
def no_tensorflow(monkeypatch):
    """Neither imports TensorFlow nor finds it, as where it is not installed."""
    find_spec = PathFinder.find_spec

    def find_others(name, path=None, target=None):
        return None if name == "tensorflow" else find_spec(name, path, target)

    monkeypatch.setattr(PathFinder, "find_spec", find_others)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(tfds, "_reachable", lambda url: False)


def write_and_tell(monkeypatch, builder, folder, contents, host="http://files.invalid"):
    """Writes files by name into a folder, and has TFDS think that they are the dataset's at that host."""
    infos = {}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        info = checksums.UrlInfo(len(content), hashlib.sha256(content).hexdigest(), name)
        infos[f"{host}/{name}"] = info
    monkeypatch.setattr(builder, "url_infos", infos)


def as_gzips(arrays):
    return {f"{stem}.gz": gzip.compress(idx_bytes(array)) for stem, array in zip(IDX_FILES, arrays, strict=True)}


@pytest.mark.mnist
def test_the_official_files_are_read_in_their_order_without_tensorflow(root, mnist_dir, no_tensorflow, offline):
    for stem in IDX_FILES:
        shutil.copy(pathlib.Path(mnist_dir) / f"{stem}.gz", root / "downloads" / "manual")
    dataset = data.load("mnist")
    assert dataset.digest() == sources.MNIST_DIGEST and dataset.class_names == tuple("0123456789")


def test_a_set_is_downloaded_once(root, tmp_path, monkeypatch, no_tensorflow):
    arrays, served = small_sets(), tmp_path / "served"
    served.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    host = f"http://127.0.0.1:{server.server_port}"
    write_and_tell(monkeypatch, tensorflow_datasets.image_classification.KMNIST, served, as_gzips(arrays), host)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        dataset = data.load("kmnist")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert_same_arrays(dataset, arrays)
    assert dataset.class_names == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    monkeypatch.setattr(tfds, "_reachable", lambda url: pytest.fail(f"{url} is needed again"))
    again = tfds.read_tfds("kmnist").arrays
    assert all(map(np.array_equal, again, arrays))
    monkeypatch.setattr(tfds, "read_tfds", lambda name: pytest.fail(f"{name} is not in the cache"))
    assert_same_arrays(data.load("kmnist"), arrays)


@pytest.mark.parametrize(
    "name, part, first, classes",
    [("emnist", "byclass", 3, "3456789ABC"), ("emnist/letters", "letters", 1, "ABCDEFGHIJ")]
    + [("emnist/digits", "digits", 0, "0123456789"), ("emnist/balanced", "balanced", 37, "bdefghnqrt")],
)
def test_the_parts_of_emnist_come_upright_out_of_one_archive(
    name, part, first, classes, root, tmp_path, monkeypatch, no_tensorflow
):
    sets = {part: small_sets(1), "mnist": small_sets(2)}
    for labels in sets[part][1::2]:
        labels += first
    with zipfile.ZipFile(tmp_path / "emnist.zip", "w") as archive:
        for of, arrays in sets.items():
            for stem, array in zip(IDX_FILES, arrays, strict=True):
                archive.writestr(f"gzip/emnist-{of}-{stem.replace('t10k', 'test')}.gz", gzip.compress(idx_bytes(array)))
    content = {"gzip.zip": (tmp_path / "emnist.zip").read_bytes()}
    write_and_tell(monkeypatch, tensorflow_datasets.image_classification.EMNIST, root / "downloads" / "manual", content)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emnist" / part).mkdir(parents=True)  # No folder is meant.
    dataset = data.load(name)
    of_part = sets[part]
    upright = [of_part[0].swapaxes(1, 2), of_part[1] - first, of_part[2].swapaxes(1, 2), of_part[3] - first]
    assert_same_arrays(dataset, upright)
    assert dataset.name == name and dataset.class_names == tuple(classes)
    assert dataset.notes == ("EMNIST's images, transposed in its files, are turned upright",)
    assert sources.is_quick(name)
    monkeypatch.setattr(tfds, "read_tfds", lambda name: pytest.fail(f"{name} is not in the cache"))
    assert_same_arrays(data.load(name), upright)
    assert data.load(name).notes == dataset.notes and data.load(name).class_names == dataset.class_names


def test_a_cache_of_emnist_of_an_earlier_version_is_not_used(root, no_tfds):
    dataset = data.Dataset("emnist/letters", *small_sets(), tuple(map(str, range(37))))
    sources._keep(dataset)  # Transposed, without a note.
    with pytest.raises(UserError, match="TFDS was asked for emnist/letters"):
        data.load("emnist/letters")
    sources._keep(data.Dataset("kmnist", *small_sets(), tuple("0123456789")))
    assert_same_arrays(data.load("kmnist"), small_sets())


def refusal(name):
    with pytest.raises(UserError) as error:
        tfds.read_tfds(name)
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


def test_a_file_with_another_checksum_is_refused(root, monkeypatch, no_tensorflow):
    manual = root / "downloads" / "manual"
    write_and_tell(monkeypatch, tensorflow_datasets.image_classification.MNIST, manual, as_gzips(small_sets()))
    path = manual / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    message = refusal("mnist")
    assert str(path) in message and "wrong checksum. Ways out: (1)" in message


def test_what_an_interrupted_preparation_left_is_no_dataset(root, monkeypatch, offline):
    # TFDS prepares in a folder beside the final one, and would wait for minutes for a host that is not there.
    monkeypatch.setattr(tfds, "import_tensorflow", lambda: None)
    for folder in ("mnist", "mnist_corrupted/identity"):
        (root / folder / "incomplete.ABCDEF_1.0.0").mkdir(parents=True)
    assert "https://storage.googleapis.com cannot be reached. Ways out: (1)" in refusal("mnist")
    assert "https://zenodo.org cannot be reached. Ways out: (1)" in refusal("mnist_corrupted")
    assert "with --data_dir=FOLDER or DIGITS_DATA_DIR;" in refusal("mnist")
    assert "with --data_dir=FOLDER or in a folder kmnist of DIGITS_DATA_DIR;" in refusal("kmnist")


def test_what_a_name_may_mean_is_asked(root, tmp_path, monkeypatch, offline):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mydata").mkdir()
    (tmp_path / "mydat").touch()  # A file is no folder of images.
    assert "TFDS knows no such dataset; did you mean ./mydata?" in refusal("mydta")
    assert "TFDS knows no such dataset; did you mean fashion_mnist?" in refusal("fashon_mnist")


def test_what_is_missing_or_no_set_of_28x28_images_is_said(root, monkeypatch, no_tensorflow, offline):
    message = refusal("mnist_corrupted")
    assert "only TensorFlow can prepare" in message and message.endswith(": pip install tensorflow.")
    message = refusal("cifar10")
    assert "cifar10" in message and "(32, 32, 3)" in message and "28x28x1" in message
    assert "TFDS knows no such dataset" in refusal("no_such_digits")
    assert "emnist/nothing" in refusal("emnist/nothing")
    with pytest.raises(UserError, match="'my/digits', but TFDS knows no such dataset, nor is there such a path"):
        data.load("my/digits")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = refusal("mnist")
    assert "TFDS cannot be imported" in message and "Ways out: (1)" in message


@pytest.mark.mnist
@pytest.mark.slow
def test_tfds_prepares_other_sets_with_tensorflow(root, mnist_dir, monkeypatch, offline):
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(tfds, "_IDX_SETS", ())  # MNIST, as if it were one of them.
    for stem in IDX_FILES:
        shutil.copy(pathlib.Path(mnist_dir) / f"{stem}.gz", root / "downloads" / "manual")
    # The first of each file: preparing all of them takes most of a minute.
    counts = (1000, 200)
    for part, count in zip(("TRAIN", "TEST"), counts):
        monkeypatch.setattr(f"tensorflow_datasets.image_classification.mnist._{part}_EXAMPLES", count)
    expected = read_idx(pathlib.Path(mnist_dir)).arrays
    for _ in range(2):  # The second time it is there.
        arrays, class_names, *_ = tfds.read_tfds("mnist")
        assert class_names == tuple("0123456789") and all(array.dtype == np.uint8 for array in arrays)
        for images, labels, all_images, all_labels, count in zip(
            arrays[::2], arrays[1::2], expected[::2], expected[1::2], counts
        ):
            # TFDS puts examples into an order of its own.
            found = sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True))
            assert found == sorted((image.tobytes(), label) for image, label in zip(all_images[:count], all_labels))
        shutil.rmtree(root / "downloads", ignore_errors=True)
