"""Where datasets come from: MNIST's files, those of other sets, the cache, and nowhere."""

import concurrent.futures
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from digits import data
from digits.data import optdigits, sources
from digits.errors import UserError
from digits.runtime import cached
from tests.conftest import ROOT, slow_but
from tests.made_datasets import assert_same_arrays, flip_method, small_sets, write_idx, write_npy

pytestmark = pytest.mark.usefixtures("mnist_dir")


def run_python(code, **environment):
    """Runs code in an interpreter of its own, whose sys.modules show what it imported; returns what it printed."""
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    finished = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def assert_is_mnist(dataset):
    assert dataset.name == "mnist"
    assert [array.shape for array in dataset.arrays] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert all(array.dtype == np.uint8 for array in dataset.arrays)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert dataset.class_names == tuple("0123456789")
    assert dataset.digest() == sources.MNIST_DIGEST


def test_the_letters_of_a_benchmark_s_name_are_small():
    for name in ("MNIST", "EMNIST/Letters"):
        with pytest.raises(UserError, match=rf"config.data.name is '{name}'; did you mean {name.lower()}\?$"):
            data.load(name)


@pytest.mark.mnist
def test_mnist_is_read_from_its_files_and_then_from_the_cache(mnist_dir, monkeypatch, tmp_path, no_tfds):
    monkeypatch.setenv("DIGITS_DATA_DIR", mnist_dir)
    assert_is_mnist(data.load("mnist"))
    monkeypatch.delenv("DIGITS_DATA_DIR")
    assert_is_mnist(data.load("mnist"))
    assert data.load("mnist").data_dir is None
    # A process of its own shows that the cache needs neither TensorFlow nor TFDS.
    printed = run_python(
        """
        import sys
        from digits import data
        print(data.load("mnist").digest())
        print([name for name in ("tensorflow", "tensorflow_datasets") if name in sys.modules])
        """
    )
    assert printed.split("\n")[:2] == [sources.MNIST_DIGEST, "[]"]

    # A cache with a changed pixel, or cut short, is ignored.
    cache = tmp_path / "cache" / "mnist.npz"
    whole = cache.read_bytes()
    for damaged in (whole[:30_000_000] + bytes([whole[30_000_000] ^ 1]) + whole[30_000_001:], whole[:30_000_000]):
        cache.write_bytes(damaged)
        with pytest.raises(UserError, match="TFDS was asked for mnist"):
            data.load("mnist")
        assert_is_mnist(data.load("mnist", mnist_dir))


@pytest.mark.mnist
def test_mnist_under_another_name_is_refused(mnist_dir):
    with pytest.raises(UserError) as error:
        data.load("fashion_mnist", mnist_dir)
    assert mnist_dir in str(error.value) and "holds MNIST" in str(error.value) and "fashion_mnist" in str(error.value)


def test_a_folder_here_that_is_named_without_a_slash_is_asked_about(tmp_path, monkeypatch, no_tfds):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'mine', .* did you mean \./mine, the folder here\?$"):
        data.load("mine")
    with pytest.raises(UserError, match="TFDS was asked for yours"):
        data.load("yours")
    with pytest.raises(UserError, match=r"four\.$"):
        data.load("mine", str(tmp_path / "nowhere"))
    (tmp_path / "optdigits").mkdir()
    assert len(data.load("optdigits").train_labels) == 1437


@pytest.mark.parametrize("from_environment", [False, True], ids=["data_dir", "DIGITS_DATA_DIR"])
@pytest.mark.parametrize("subfolder", [False, True])
def test_other_sets_are_read_from_their_files(tmp_path, monkeypatch, no_tfds, subfolder, from_environment):
    arrays = small_sets()
    write_idx(tmp_path / "files" / ("fashion_mnist" if subfolder else ""), arrays)
    given = str(tmp_path / "files")
    if from_environment:
        monkeypatch.setenv("DIGITS_DATA_DIR", given)
        if not subfolder:  # Files without the set's name are MNIST's: the usual sources are asked.
            with pytest.raises(UserError, match="TFDS was asked for fashion_mnist"):
                data.load("fashion_mnist")
            assert not sources.is_quick("fashion_mnist") and sources.is_quick("mnist")
            return
    assert sources.is_quick("fashion_mnist", None if from_environment else given)
    dataset = data.load("fashion_mnist", None if from_environment else given)
    assert_same_arrays(dataset, arrays)
    assert dataset.name == "fashion_mnist" and dataset.class_names == tuple("0123456789")
    assert dataset.data_dir == given


@pytest.mark.mnist
def test_the_environment_s_mnist_locks_no_other_set_out(mnist_dir, monkeypatch, tmp_path, no_tfds):
    monkeypatch.setenv("DIGITS_DATA_DIR", mnist_dir)
    with pytest.raises(UserError, match="TFDS was asked for fashion_mnist"):
        data.load("fashion_mnist")
    assert len(data.load("optdigits").train_labels) == 1437


def test_data_dir_stays_the_same_folder_when_the_working_directory_changes(tmp_path, monkeypatch):
    write_idx(tmp_path / "files", small_sets())
    monkeypatch.chdir(tmp_path)
    assert data.load("fashion_mnist", "files").data_dir == str(tmp_path / "files")


def test_data_dir_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(write_idx(tmp_path / "environment", small_sets(seed=1))))
    dataset = data.load("fashion_mnist", str(write_idx(tmp_path / "given", small_sets(seed=2))))
    assert_same_arrays(dataset, small_sets(seed=2))


def test_other_sets_given_as_files_are_not_kept_under_their_name(tmp_path, no_tfds):
    data.load("fashion_mnist", str(write_idx(tmp_path / "files", small_sets())))
    with pytest.raises(UserError, match="TFDS was asked for fashion_mnist"):
        data.load("fashion_mnist")


@pytest.mark.parametrize("subfolder", [False, True])
def test_other_files_under_the_name_mnist_are_refused(tmp_path, subfolder):
    folder = write_idx(tmp_path / "files" / ("mnist" if subfolder else ""), small_sets())
    with pytest.raises(UserError) as error:
        data.load("mnist", str(tmp_path / "files"))
    assert str(folder) in str(error.value) and "digest differs" in str(error.value)
    assert not (tmp_path / "cache" / "mnist.npz").exists()


def test_data_dir_without_files_is_refused(tmp_path):
    with pytest.raises(UserError) as error:
        data.load("mnist", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in str(error.value) and "train-images-idx3-ubyte" in str(error.value)


def test_optdigits_is_the_same_every_time_and_kept(tmp_path, monkeypatch):
    first = data.load("optdigits")
    (tmp_path / "cache" / "optdigits.npz").unlink()
    again = data.load("optdigits")
    assert again.digest() == first.digest()
    monkeypatch.setattr(optdigits, "read_optdigits", lambda: pytest.fail("was not read from the cache"))
    kept = data.load("optdigits")
    assert_same_arrays(kept, first.arrays)
    assert kept.name == "optdigits" and kept.class_names == first.class_names


def test_optdigits_does_not_depend_on_data_dir(tmp_path, monkeypatch):
    folder = write_idx(tmp_path / "files", small_sets())
    monkeypatch.setenv("DIGITS_DATA_DIR", str(folder))
    assert len(data.load("optdigits").train_labels) == 1437
    assert len(data.load("optdigits", str(folder)).train_labels) == 1437


def change_array(path, key, value):
    with np.load(path) as file:
        arrays = dict(file)
    arrays[key] = value
    np.savez(path, **arrays)


CACHE_DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "one byte": lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\xaa\x55" + path.read_bytes()[5002:]),
    "other labels": lambda path: change_array(path, "train_labels", np.zeros(1437, np.uint8)),
    "other digest": lambda path: change_array(path, "digest", np.array("0" * 64)),
    "unknown compression": flip_method,
    "a single array": write_npy,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "huge": lambda path: os.truncate(path, 2**40),
}


@pytest.mark.parametrize("damage", slow_but(["one byte"], CACHE_DAMAGES))
def test_damaged_cache_is_ignored_and_replaced(tmp_path, monkeypatch, damage):
    digest = data.load("optdigits").digest()
    cache = tmp_path / "cache" / "optdigits.npz"
    CACHE_DAMAGES[damage](cache)
    assert data.load("optdigits").digest() == digest
    monkeypatch.setattr(optdigits, "read_optdigits", lambda: pytest.fail("the damaged cache was not replaced"))
    assert data.load("optdigits").digest() == digest


def test_cache_of_another_set_under_the_name_mnist_is_ignored(tmp_path, no_tfds):
    # Whole and with its own digest, but not MNIST.
    data.load("optdigits")
    (tmp_path / "cache" / "optdigits.npz").rename(tmp_path / "cache" / "mnist.npz")
    with pytest.raises(UserError, match="TFDS was asked for mnist"):
        data.load("mnist")


def test_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cached, "_told", set())
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("DIGITS_CACHE_DIR", str(place))
        assert len(data.load("optdigits").train_labels) == 1437
    assert capsys.readouterr().err.count("optdigits.npz cannot be written") == 2  # Places.


def test_writing_the_cache_leaves_nothing_else(tmp_path):
    data.load("optdigits")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["optdigits.npz"]
    with np.load(tmp_path / "cache" / "optdigits.npz") as file:  # Not where the set was read from.
        arrays = {"train_images", "train_labels", "test_images", "test_labels"}
        assert set(file) == {"digest", "class_names"} | arrays


@pytest.mark.parametrize("name", ["", "my digits", "mnist ", "mnist:3.0.1", "a-b", "set.zip", "MNIST?"])
def test_bad_name_is_refused_with_what_is_accepted(name, no_tfds):
    with pytest.raises(UserError) as error:
        data.load(name)
    message = str(error.value)
    assert "config.data.name" in message and repr(name) in message
    for accepted in ("mnist", "optdigits", "TFDS", ".npz", "folder"):
        assert accepted in message.split("must be", 1)[1]


def test_without_network_and_files_the_ways_out_are_named_soon():
    code = """
        import socket, sys, time
        from tensorflow_datasets.image_classification import MNIST
        from digits import data
        from digits.errors import UserError
        MNIST.url_infos = {{f"{host}/{{info.filename}}": info for info in MNIST.url_infos.values()}}
        if "slow-name" in {host!r}:
            socket.getaddrinfo = lambda *args, **kwargs: time.sleep(30)
        begin = time.monotonic()
        try:
            data.load("mnist")
        except UserError as error:
            print(error)
        print(time.monotonic() - begin)
        print("tensorflow" in sys.modules)
        """
    # No route; no such name; a host that accepts connections and never answers; a resolver that hangs.
    with socket.create_server(("127.0.0.1", 0)) as silent, concurrent.futures.ThreadPoolExecutor() as pool:
        hosts = ["https://10.255.255.1", "https://no-such-host.invalid", f"http://127.0.0.1:{silent.getsockname()[1]}"]
        hosts.append("https://slow-name.invalid")
        # At once, because each may wait for seconds.
        printed = list(pool.map(run_python, [code.format(host=host) for host in hosts]))
    for host, lines in zip(hosts, printed, strict=True):
        message, seconds, imported = lines.strip().split("\n")
        assert "mnist" in message and host in message and "cannot be reached" in message
        assert "(1) connect to the internet once" in message
        assert "(2) give the four IDX files" in message and "--data_dir" in message and "DIGITS_DATA_DIR" in message
        assert "(3) train on the embedded dataset" in message and "--config=quickstart" in message
        assert float(seconds) < 10, host
        assert imported == "False", host
