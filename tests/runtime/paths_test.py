"""Paths as people write them: with ~, also behind = and in environment variables, and addresses, which are refused."""

import pathlib
import shutil

import pytest

import digits
from digits import data, evaluate, export, main, report, sweep
from digits.data import tfds, writers
from digits.errors import UserError
from digits.runs.workdir import Workdir
from digits.runtime import machine, paths
from tests.main_test import write_idx

HOME = pathlib.Path("/home/me")
ADDRESSES = ["gs://bucket/runs", "s3://bucket/runs", "hdfs://host/runs", "https://example.org/runs", "file:///runs"]
WAYS = ["gcsfuse, or copy it here", "s3fs, or copy it", "mount it as a folder", "mount it as", "leave out file://"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of the test, which is not the working folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize(
    "given, expected",
    [
        ("~/runs", HOME / "runs"),
        ("~", HOME),
        (pathlib.Path("~") / "a", HOME / "a"),
        ("a/~/b", pathlib.Path("a/~/b")),
        ("C:/Users/me", pathlib.Path("C:/Users/me")),
        ("runs/lr=1e-3,a:b/c", pathlib.Path("runs/lr=1e-3,a:b/c")),
    ],
)
def test_a_path_is_local_and_may_begin_at_home(given, expected, monkeypatch):
    monkeypatch.setenv("HOME", str(HOME))
    assert paths.local(given, "--workdir") == expected
    monkeypatch.setenv("SOME_DIR", str(given))
    assert paths.folder_of("SOME_DIR") == str(expected)
    monkeypatch.setenv("SOME_DIR", "")
    assert paths.folder_of("SOME_DIR") is None


@pytest.mark.parametrize("address, way", zip(ADDRESSES, WAYS))
def test_an_address_is_refused_with_what_works(address, way):
    for given in (address, pathlib.Path(address)):  # pathlib makes one / of two.
        with pytest.raises(
            UserError, match="--workdir is '.*', but it must be a path on this machine: .*[.]$"
        ) as error:
            Workdir(given)
        assert way in str(error.value)


@pytest.mark.parametrize("address", ADDRESSES[:3])
@pytest.mark.parametrize(
    "command, arguments",
    [
        (main, ["--config=quickstart", "--workdir={}"]),
        (main, ["--config=quickstart", "--workdir=/tmp/digits-none", "--data_dir={}"]),
        (main, ["--config=quickstart", "--workdir=/tmp/digits-none", "--config.data.name={}"]),
        (sweep, ["--config=quickstart", "--sweep.seed=0:2", "--workdir={}"]),
        (evaluate, ["{}"]),
        (report, ["{}"]),
        (export, ["--workdir={}", "--format=jax"]),
    ],
)
def test_every_command_refuses_an_address_and_makes_no_folder_of_it(command, arguments, address, run_command):
    done = run_command(command.main, *(argument.format(address) for argument in arguments))
    assert done.returncode == 2 and "must be a path on this machine" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(pathlib.Path.cwd().glob("*:"))


def test_home_stands_behind_flags_and_in_variables(home, monkeypatch, no_tfds):
    write_idx(home / "files")
    dataset = data.load("letters", "~/files")
    assert len(dataset.train_labels) == 20
    monkeypatch.setenv("DIGITS_DATA_DIR", "~/all")
    (home / "all").mkdir()
    shutil.move(home / "files", home / "all" / "letters")
    assert data.load("letters").digest() == dataset.digest()
    monkeypatch.setenv("DIGITS_CACHE_DIR", "~/cache")
    assert machine.cache_dir() == home / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/xdg")
    monkeypatch.delenv("DIGITS_CACHE_DIR")
    assert machine.cache_dir() == home / "xdg" / "digits"
    assert Workdir("~/runs/a").path == home / "runs" / "a"
    with pytest.raises(UserError, match=f"{home}/runs/gone is no run"):
        digits.load("~/runs/gone")


def test_the_writers_and_the_downloads_lie_at_home(home, monkeypatch):
    asked = []
    monkeypatch.setenv("DIGITS_WRITERS_DIR", "~/writers")
    monkeypatch.setattr(writers, "read_writers", lambda part, labels, folders: asked.append(folders[0]))
    optdigits = data.load("optdigits")
    writers.writers_of(data.Dataset("mnist", *optdigits.arrays, class_names=optdigits.class_names), "test")
    assert asked == [home / "writers"]
    tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

    def builder(name, data_dir):
        asked.append(data_dir)
        raise OSError("enough")

    monkeypatch.setattr(tensorflow_datasets, "builder", builder)
    monkeypatch.setenv("TFDS_DATA_DIR", "~/tfds")
    with pytest.raises(UserError, match="enough"):
        tfds.read_tfds("kmnist")
    assert asked[1] == home / "tfds"
