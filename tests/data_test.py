"""Tests of digits.data: splits, normalisation, every source of datasets, and the cache."""

import collections
import concurrent.futures
import gzip
import os
import pathlib
import socket
import struct
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn import datasets, model_selection

from configs import base
from digits import data, sources
from digits.errors import UserError

ROOT = pathlib.Path(data.__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def mnist_dir(monkeypatch, tmp_path):
    """Gives every test a cache, a home and a TFDS folder of its own; returns the folder with the real MNIST."""
    given = os.environ.get("DIGITS_DATA_DIR")
    monkeypatch.delenv("DIGITS_DATA_DIR", raising=False)
    monkeypatch.delenv("DIGITS_WRITERS_DIR", raising=False)
    monkeypatch.setenv("DIGITS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return given


@pytest.fixture
def no_tfds(monkeypatch):
    """Makes asking TFDS an error: what is loaded must come from elsewhere."""

    def refuse(name):
        raise UserError(f"TFDS was asked for {name}")

    monkeypatch.setattr(sources, "read_tfds", refuse)


def small_sets(seed=0, counts=(40, 15), classes=10):
    """Training images and labels, test images and labels: noise; every class occurs."""
    rng = np.random.default_rng(seed)
    return [
        array
        for n in counts
        for array in (
            rng.integers(0, 256, (n, 28, 28), np.uint8),
            rng.permutation(np.arange(n) % classes).astype(np.uint8),
        )
    ]


def write_idx(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(sources.IDX_FILES, arrays, strict=True):
        header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / stem).write_bytes(header + array.tobytes())
    return folder


def assert_same_arrays(dataset, arrays):
    for got, expected in zip(dataset.arrays, arrays, strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)


def run_python(code, **environment):
    """Runs code in an interpreter of its own, whose sys.modules show what it imported; returns what it printed."""
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    finished = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


# Splits.

COUNTS = (10, 11, 97, 1000, 1437, 60000)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "text, fraction, seed",
    [
        ("random(0.175, 0)", 0.175, 0),
        ("random(0.1, 42)", 0.1, 42),
        ("random(.5,seed=7)", 0.5, 7),
        ("random(0.25, seed 3)", 0.25, 3),
        ("random(0.9, 4294967295)", 0.9, 2**32 - 1),
    ],
)
def test_random_split_is_that_of_scikit_learn(text, fraction, seed, count):
    expected = model_selection.train_test_split(np.arange(count), test_size=fraction, random_state=seed)
    train, held = data.split_indices(text, 0, count)
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(held, expected[1])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_are_those_of_scikit_learn(folds, count):
    expected = model_selection.KFold(folds).split(np.zeros(count))
    for fold, (expected_train, expected_held) in enumerate(expected):
        train, held = data.split_indices(f"folds({folds})", fold, count)
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(held, expected_held)


@pytest.mark.parametrize("count, last", [(60000, 10000), (97, 1), (97, 96)])
def test_last_split_holds_out_the_last_examples(count, last):
    train, held = data.split_indices(f"last({last})", 0, count)
    np.testing.assert_array_equal(train, np.arange(count - last))
    np.testing.assert_array_equal(held, np.arange(count - last, count))


@pytest.mark.parametrize("text", ["none", "test"])
def test_none_and_test_hold_nothing_out(text):
    train, held = data.split_indices(text, 0, 97)
    np.testing.assert_array_equal(train, np.arange(97))
    assert held.shape == (0,)


@pytest.mark.parametrize(
    "text, folds", [("random(0.175, 0)", 1), ("random(0.3, 1)", 1), ("last(13)", 1), ("folds(5)", 5)]
)
@pytest.mark.parametrize("count", [40, 97])
def test_splits_are_disjoint_and_complete(text, folds, count):
    held_by_all = []
    for fold in range(folds):
        train, held = data.split_indices(text, fold, count)
        assert len(train) and len(held)
        np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(count))
        held_by_all += held.tolist()
    if folds > 1:
        assert sorted(held_by_all) == list(range(count))


def data_config(validation, fold=0):
    config = base.get_config().data
    config.validation = validation
    config.fold = fold
    return config


def test_every_documented_split_passes_the_check():
    for validation in ("none", "test", "last(10000)", "random(0.175, 0)", "folds(5)", "writer_folds(5)"):
        data.check(data_config(validation))
    data.check(data_config("folds(5)", fold=4))
    data.check(data_config("writer_folds(5)", fold=4))


@pytest.mark.parametrize(
    "text",
    ["", "None", "nonetheless", "last", "last()", "last(-1)", "last(0.1)", "last(10", "random(0.1)", "random(1.5, 0)"]
    + ["random(1.0, 0)", "random(0, 0)", "random(1, 0)", "random(0.1, -1)", "random(0.1, 0.5)", "random(0.1; 0)"]
    + ["random(nan, 0)", "folds", "folds(-5)", "folds(2.5)", "fold(5)", "train[:80%]", "random(0.1, 0) last(3)"]
    + ["writer_folds", "writer_folds(-5)", "writer_folds(2.5)", "writer folds(5)"],
)
def test_bad_split_is_refused_with_what_is_accepted(text):
    with pytest.raises(UserError) as error:
        data.check(data_config(text))
    message = str(error.value)
    assert "config.data.validation" in message and repr(text) in message
    for accepted in ("none", "test", "last(10000)", "random(0.175, 0)", " folds(5)", "writer_folds(5)"):
        assert accepted in message.split("must be", 1)[1]


@pytest.mark.parametrize("text", ["folds(0)", "folds(1)", "writer_folds(0)", "writer_folds(1)"])
def test_too_few_folds_are_refused(text):
    with pytest.raises(UserError) as error:
        data.check(data_config(text))
    assert "config.data.validation" in str(error.value) and repr(text) in str(error.value)
    assert "n from 2" in str(error.value)


def test_seed_that_numpy_does_not_take_is_refused():
    with pytest.raises(UserError) as error:
        data.check(data_config("random(0.1, 4294967296)"))
    assert "config.data.validation" in str(error.value) and "4294967296" in str(error.value)


@pytest.mark.parametrize("text", ["folds(5)", "writer_folds(5)"])
@pytest.mark.parametrize("fold", [-1, 5, 100])
def test_fold_out_of_range_is_refused(fold, text):
    with pytest.raises(UserError) as error:
        data.check(data_config(text, fold))
    message = str(error.value)
    assert "config.data.fold" in message and repr(fold) in message and "from 0 to 4" in message


@pytest.mark.parametrize("text", ["none", "test", "last(10)", "random(0.1, 0)"])
def test_fold_without_folds_is_refused(text):
    with pytest.raises(UserError, match=r"config.data.fold is 1, .* folds\(n\)"):
        data.check(data_config(text, fold=1))


@pytest.mark.parametrize("text, fold", [("last(0)", 0), ("last(20)", 0), ("last(21)", 0), ("random(0.96, 0)", 0)])
def test_split_with_an_empty_side_is_refused(text, fold):
    with pytest.raises(UserError) as error:
        data.split_indices(text, fold, 20)
    assert "config.data.validation" in str(error.value) and repr(text) in str(error.value)
    assert "20 examples" in str(error.value)


@pytest.mark.parametrize("fold", [0, 19, 20])
def test_more_folds_than_examples_are_refused(fold):
    # As scikit-learn does: else only the empty last folds would be noticed.
    with pytest.raises(UserError, match=r"config.data.validation is 'folds\(21\)'"):
        data.split_indices("folds(21)", fold, 20)


def dataset_of(arrays):
    return data.Dataset("noise", *arrays, tuple(map(str, range(10))))


@pytest.mark.parametrize("validation, fold", [("random(0.175, 0)", 0), ("last(7)", 0), ("folds(5)", 3)])
def test_split_gives_images_with_their_labels(validation, fold):
    arrays = small_sets()
    train, held = data.split_indices(validation, fold, 40)
    splits = data.split(dataset_of(arrays), data_config(validation, fold))
    for (images, labels), indices in ((splits.train, train), (splits.validation, held)):
        np.testing.assert_array_equal(images, arrays[0][indices])
        np.testing.assert_array_equal(labels, arrays[1][indices])
    np.testing.assert_array_equal(splits.test[0], arrays[2])
    np.testing.assert_array_equal(splits.test[1], arrays[3])


@pytest.mark.parametrize("validation, copied", [("none", False), ("last(7)", False), ("random(0.175, 0)", True)])
def test_split_copies_images_only_where_it_must(validation, copied):
    arrays = small_sets()
    splits = data.split(dataset_of(arrays), data_config(validation))
    assert np.shares_memory(splits.train[0], arrays[0]) != copied


def test_split_none_has_no_validation_and_split_test_validates_on_the_test_set():
    arrays = small_sets()
    for validation in ("none", "test"):
        splits = data.split(dataset_of(arrays), data_config(validation))
        np.testing.assert_array_equal(splits.train[0], arrays[0])
        np.testing.assert_array_equal(splits.train[1], arrays[1])
        if validation == "none":
            assert splits.validation is None
        else:
            np.testing.assert_array_equal(splits.validation[0], arrays[2])
            np.testing.assert_array_equal(splits.validation[1], arrays[3])


# Folds of writers.


def some_writers(count=200, people=23, seed=0):
    """A number of NIST's for each example; some wrote many, others as few as each other."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, people + 1) // 3 + 1.0
    ids = rng.choice(2600, people, replace=False)
    return np.concatenate([ids, rng.choice(ids, count - people, p=shares / shares.sum())]).astype(np.int32)


def write_writers(path, labels, people):
    """An IDX file as QMNIST's, gzipped if its name says so."""
    table = np.arange(8 * len(labels), dtype=">i4").reshape(-1, 8)
    table[:, 0], table[:, 2] = labels, people
    raw = bytes((0, 0, 12, 2)) + struct.pack(">2I", *table.shape) + table.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


TRAIN_WRITERS, TEST_WRITERS = sources.WRITER_FILES["train"], sources.WRITER_FILES["test"]


@pytest.fixture
def mnist_noise(tmp_path):
    """Noise of 200 training and 90 test examples under the name of MNIST, from the folder `files/given`."""
    arrays = small_sets(counts=(200, 90))
    return data.Dataset("mnist", *arrays, tuple("0123456789"), str(tmp_path / "files" / "given"))


@pytest.mark.parametrize("folds", [2, 5, 7, 23])
def test_writer_folds_are_those_of_scikit_learn(folds):
    people = some_writers()
    # Again without scikit-learn: from the largest writer on, each goes to the fold with the fewest examples so far.
    counts, sizes, places = collections.Counter(people.tolist()), [0] * folds, {}
    for writer in sorted(counts, key=lambda writer: (counts[writer], writer), reverse=True):
        places[writer] = sizes.index(min(sizes))
        sizes[places[writer]] += counts[writer]
    expected = model_selection.GroupKFold(folds).split(np.zeros(200), groups=people)
    for fold, (expected_train, expected_held) in enumerate(expected):
        train, held = data.split_indices(f"writer_folds({folds})", fold, 200, people)
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(held, expected_held)
        assert held.tolist() == [index for index, writer in enumerate(people.tolist()) if places[writer] == fold]


def test_writer_folds_hold_out_every_example_once_and_no_writer_is_on_both_sides(tmp_path, mnist_noise):
    people = some_writers()
    write_writers(tmp_path / "files" / "given" / f"{TRAIN_WRITERS}.gz", mnist_noise.train_labels, people)
    # Noise: an image tells which example it is.
    index = {image.tobytes(): number for number, image in enumerate(mnist_noise.train_images)}
    held_by_all = []
    for fold in range(5):
        splits = data.split(mnist_noise, data_config("writer_folds(5)", fold))
        train, held = ([index[image.tobytes()] for image in images] for images, _ in (splits.train, splits.validation))
        assert not set(people[train]) & set(people[held])
        assert sorted(train + held) == list(range(200))
        np.testing.assert_array_equal(splits.train[1], mnist_noise.train_labels[train])
        np.testing.assert_array_equal(splits.validation[1], mnist_noise.train_labels[held])
        np.testing.assert_array_equal(splits.test[0], mnist_noise.test_images)
        held_by_all += held
    assert sorted(held_by_all) == list(range(200))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "place", ["files/given", "files/given/mnist", "files/given/qmnist", "files/qmnist", "cache", "named"]
)
def test_writers_are_found_in_every_documented_place(tmp_path, monkeypatch, mnist_noise, place, suffix):
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    train, test = some_writers(), some_writers(150, seed=1)
    write_writers(tmp_path / place / (TRAIN_WRITERS + suffix), mnist_noise.train_labels, train)
    # The test file goes on after MNIST's test set.
    labels = np.concatenate([mnist_noise.test_labels, np.zeros(60, np.uint8)])
    write_writers(tmp_path / place / (TEST_WRITERS + suffix), labels, test)
    for part, expected in (("train", train), ("test", test[:90])):
        got = data.writers(mnist_noise, part)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, expected)


def test_writers_come_from_the_folder_that_the_environment_names_first(tmp_path, monkeypatch, mnist_noise):
    for place, seed in (("named", 1), ("files/given", 2), ("files/qmnist", 3), ("cache", 4)):
        write_writers(tmp_path / place / TRAIN_WRITERS, mnist_noise.train_labels, some_writers(seed=seed))
    np.testing.assert_array_equal(data.writers(mnist_noise, "train"), some_writers(seed=2))
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    np.testing.assert_array_equal(data.writers(mnist_noise, "train"), some_writers(seed=1))


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_writers_are_named_with_where_they_come_from_and_go(tmp_path, monkeypatch, mnist_noise, part):
    monkeypatch.setenv("DIGITS_WRITERS_DIR", str(tmp_path / "named"))
    with pytest.raises(UserError) as error:
        data.writers(mnist_noise, part)
    message = str(error.value)
    assert f"{sources.WRITER_FILES[part]}.gz" in message and "github.com/facebookresearch/qmnist" in message
    assert "DIGITS_WRITERS_DIR" in message
    for place in ("named", "files/given", "files/given/qmnist", "files/qmnist", "cache"):
        assert f"{tmp_path / place}," in message or f"{tmp_path / place}:" in message


def test_writers_are_asked_for_by_folds_of_writers_alone(mnist_noise):
    for validation in ("none", "test", "last(7)", "random(0.175, 0)", "folds(5)"):
        data.split(mnist_noise, data_config(validation))
    with pytest.raises(UserError, match=TRAIN_WRITERS):
        data.split(mnist_noise, data_config("writer_folds(5)"))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", ["a label", "a row less"])
def test_writers_of_other_examples_are_refused(tmp_path, mnist_noise, part, change):
    labels = (mnist_noise.train_labels if part == "train" else mnist_noise.test_labels).copy()
    if change == "a label":
        labels[17] += 1
    else:
        labels = labels[:-1]
    path = tmp_path / "files" / "qmnist" / f"{sources.WRITER_FILES[part]}.gz"
    write_writers(path, labels, np.zeros(len(labels)))
    with pytest.raises(UserError) as error:
        data.writers(mnist_noise, part)
    message = str(error.value)
    assert str(path) in message and f"{part} examples" in message
    assert (f"row 17 says {labels[17]}" if change == "a label" else f"has {len(labels)} rows") in message


def test_longer_writers_file_is_not_that_of_the_training_set(tmp_path, mnist_noise):
    labels = np.append(mnist_noise.train_labels, 0)
    write_writers(tmp_path / "cache" / TRAIN_WRITERS, labels, np.zeros(201))
    with pytest.raises(UserError, match="201 rows, but MNIST has 200 train examples"):
        data.writers(mnist_noise, "train")


def test_truncated_writers_file_is_refused(tmp_path, mnist_noise):
    path = tmp_path / "files" / "given" / TRAIN_WRITERS
    write_writers(path, mnist_noise.train_labels, some_writers())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as error:
        data.split(mnist_noise, data_config("writer_folds(5)"))
    assert str(path) in str(error.value) and "truncated" in str(error.value)


def test_folds_of_writers_of_another_set_are_refused():
    config = data_config("writer_folds(5)")
    config.name = "optdigits"
    dataset = data.load("optdigits")
    for refused in (
        lambda: data.check(config),
        lambda: data.split(dataset, config),
        lambda: data.writers(dataset, "test"),
    ):
        with pytest.raises(UserError, match=r"config.data.name is 'optdigits', .* mnist .* writer_folds\(n\)"):
            refused()


@pytest.mark.parametrize("folds", [0, 1, 24, 10**20])
def test_folds_that_the_writers_do_not_fill_are_refused(folds):
    with pytest.raises(UserError) as error:
        data.split_indices(f"writer_folds({folds})", 0, 200, some_writers())
    message = str(error.value)
    assert f"config.data.validation is 'writer_folds({folds})'" in message and "from 2 to the 23 writers" in message


def test_folds_of_writers_without_the_writers_are_refused():
    with pytest.raises(UserError, match=r"config.data.validation is 'writer_folds\(5\)', .* writers are not known"):
        data.split_indices("writer_folds(5)", 0, 200)


@pytest.mark.mnist
def test_writers_of_mnist(mnist_dir):
    files = [pathlib.Path(mnist_dir).parent / "qmnist" / f"{stem}.gz" for stem in sources.WRITER_FILES.values()]
    if not all(path.exists() for path in files):
        pytest.skip("there is no folder qmnist with QMNIST's label files beside DIGITS_DATA_DIR")
    dataset = data.load("mnist", mnist_dir)
    train, test = (data.writers(dataset, part) for part in ("train", "test"))
    assert train.shape == (60000,) and test.shape == (10000,)
    # As QMNIST's page says: NIST's employees have numbers up to 610, the students from 2100 to 2599.
    for people in (train, test):
        assert np.all(((people >= 0) & (people <= 610)) | ((people >= 2100) & (people <= 2599)))
    assert len(np.unique(train)) == 539 and not set(train) & set(test)
    expected = list(model_selection.GroupKFold(5).split(train, groups=train))
    for fold, (expected_train, expected_held) in enumerate(expected):
        indices = data.split_indices("writer_folds(5)", fold, 60000, train)
        np.testing.assert_array_equal(indices[0], expected_train)
        np.testing.assert_array_equal(indices[1], expected_held)
    splits = data.split(dataset, data_config("writer_folds(5)", 4))
    np.testing.assert_array_equal(splits.train[0], dataset.train_images[expected[4][0]])
    np.testing.assert_array_equal(splits.validation[1], dataset.train_labels[expected[4][1]])


# Normalisation.


def column_l2(images):
    """Keras's normalize(x, axis=1), in float64."""
    x = images.astype(np.float64)
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    norm[norm == 0] = 1
    return x / norm


EXPECTED = {"unit": lambda images: images.astype(np.float64) / 255, "column_l2": column_l2}


@pytest.mark.parametrize("channel", [False, True], ids=["NxHxW", "NxHxWx1"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("kind", data.NORMALIZATIONS)
def test_normalize_equals_numpy(kind, dtype, channel):
    images = small_sets()[0]
    images[0] = 0
    images[1, :, 5:20] = 0
    images[2] = 255
    given = images.astype(dtype).reshape(-1, 28, 28, *[1] * channel)
    result = data.normalize(jnp.asarray(given), kind)
    assert result.shape == (40, 28, 28, 1) and result.dtype == jnp.float32
    np.testing.assert_allclose(result[..., 0], EXPECTED[kind](images), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", data.NORMALIZATIONS)
def test_normalize_keeps_float64(kind):
    images = small_sets()[0]
    with jax.enable_x64(True):
        result = data.normalize(jnp.asarray(images, jnp.float64), kind)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result[..., 0], EXPECTED[kind](images), rtol=1e-14, atol=0)


def test_column_l2_keeps_zero_columns_and_gives_the_others_norm_one():
    images = small_sets()[0]
    images[:, :, ::3] = 0
    result = np.asarray(data.normalize(jnp.asarray(images), "column_l2"))[..., 0]
    assert np.all(result[:, :, ::3] == 0)
    norms = np.sqrt((result**2).sum(axis=1))
    np.testing.assert_allclose(np.delete(norms, np.s_[::3], axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["", "minmax", "Unit"])
def test_unknown_normalization_is_refused(kind):
    config = data_config("none")
    config.normalization = kind
    with pytest.raises(UserError) as error:
        data.check(config)
    message = str(error.value)
    assert "config.data.normalization" in message and repr(kind) in message and "column_l2, unit" in message


# MNIST from its files.


def assert_is_mnist(dataset):
    assert dataset.name == "mnist"
    assert [array.shape for array in dataset.arrays] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert all(array.dtype == np.uint8 for array in dataset.arrays)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert dataset.class_names == tuple("0123456789")
    assert dataset.digest() == data.MNIST_DIGEST


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
    assert printed.split("\n")[:2] == [data.MNIST_DIGEST, "[]"]

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


# Other sets from IDX files.


@pytest.mark.parametrize("from_environment", [False, True], ids=["data_dir", "DIGITS_DATA_DIR"])
@pytest.mark.parametrize("subfolder", [False, True])
def test_other_sets_are_read_from_their_files(tmp_path, monkeypatch, no_tfds, subfolder, from_environment):
    arrays = small_sets()
    write_idx(tmp_path / "files" / ("fashion_mnist" if subfolder else ""), arrays)
    given = str(tmp_path / "files")
    if from_environment:
        monkeypatch.setenv("DIGITS_DATA_DIR", given)
    dataset = data.load("fashion_mnist", None if from_environment else given)
    assert_same_arrays(dataset, arrays)
    assert dataset.name == "fashion_mnist" and dataset.class_names == tuple("0123456789")
    assert dataset.data_dir == given


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


# The cache.


def bicubic_matrix(size, larger):
    """Keys's cubic convolution (a = -1/2) from `size` to `larger` pixels, normalised at the borders."""
    place = (np.arange(larger) + 0.5) * size / larger - 0.5
    d = np.abs(place[:, None] - np.arange(size))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def test_optdigits_is_scikit_learns_set_enlarged():
    dataset = data.load("optdigits")
    assert [array.shape for array in dataset.arrays] == [(1437, 28, 28), (1437,), (360, 28, 28), (360,)]
    assert all(array.dtype == np.uint8 for array in dataset.arrays)
    assert dataset.class_names == tuple("0123456789")
    digits = datasets.load_digits()
    # Pillow resizes rows, then columns, and rounds and clips after each.
    matrix = bicubic_matrix(8, 28)
    rows = np.clip(np.round(digits.images * 255 / 16) @ matrix.T, 0, 255)
    enlarged = np.clip(matrix @ rows, 0, 255)
    train, test = model_selection.train_test_split(np.arange(1797), test_size=0.2, random_state=0)
    for images, labels, indices in ((*dataset.arrays[:2], train), (*dataset.arrays[2:], test)):
        np.testing.assert_array_equal(labels, digits.target[indices])
        np.testing.assert_allclose(images, enlarged[indices], rtol=0, atol=1.5)


def test_optdigits_is_the_same_every_time_and_kept(tmp_path, monkeypatch):
    first = data.load("optdigits")
    (tmp_path / "cache" / "optdigits.npz").unlink()
    again = data.load("optdigits")
    assert again.digest() == first.digest()
    monkeypatch.setattr(sources, "read_optdigits", lambda: pytest.fail("was not read from the cache"))
    cached = data.load("optdigits")
    assert_same_arrays(cached, first.arrays)
    assert cached.name == "optdigits" and cached.class_names == first.class_names


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


def flip_method(path):
    """Marks the archive's members as compressed by a method that does not exist."""
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\1\2")
    raw[entry + 10] = 99
    path.write_bytes(raw)


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


CACHE_DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "one byte": lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\xaa\x55" + path.read_bytes()[5002:]),
    "other labels": lambda path: change_array(path, "train_labels", np.zeros(1437, np.uint8)),
    "other digest": lambda path: change_array(path, "digest", np.array("0" * 64)),
    "unknown compression": flip_method,
    "a single array": write_npy,
}


@pytest.mark.parametrize("damage", CACHE_DAMAGES)
def test_damaged_cache_is_ignored_and_replaced(tmp_path, monkeypatch, damage):
    digest = data.load("optdigits").digest()
    cache = tmp_path / "cache" / "optdigits.npz"
    CACHE_DAMAGES[damage](cache)
    assert data.load("optdigits").digest() == digest
    monkeypatch.setattr(sources, "read_optdigits", lambda: pytest.fail("the damaged cache was not replaced"))
    assert data.load("optdigits").digest() == digest


def test_cache_of_another_set_under_the_name_mnist_is_ignored(tmp_path, no_tfds):
    # Whole and with its own digest, but not MNIST.
    data.load("optdigits")
    (tmp_path / "cache" / "optdigits.npz").rename(tmp_path / "cache" / "mnist.npz")
    with pytest.raises(UserError, match="TFDS was asked for mnist"):
        data.load("mnist")


def test_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("DIGITS_CACHE_DIR", str(place))
        assert len(data.load("optdigits").train_labels) == 1437


def test_writing_the_cache_leaves_nothing_else(tmp_path):
    data.load("optdigits")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["optdigits.npz"]
    with np.load(tmp_path / "cache" / "optdigits.npz") as file:  # Not where the set was read from.
        arrays = {"train_images", "train_labels", "test_images", "test_labels"}
        assert set(file) == {"digest", "class_names"} | arrays


@pytest.mark.parametrize("xdg", [False, True])
def test_cache_is_in_the_users_cache_folder_by_default(tmp_path, monkeypatch, xdg):
    monkeypatch.delenv("DIGITS_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data.cache_dir() == (tmp_path / "xdg" if xdg else tmp_path / "home" / ".cache") / "digits"


# .npz files.


def save_npz(path, arrays, save=np.savez, **changes):
    named = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays)) | changes
    save(path, **{key: value for key, value in named.items() if value is not None})
    return str(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("channel", [False, True], ids=["NxHxW", "NxHxWx1"])
def test_npz_with_a_test_set(tmp_path, channel, save):
    arrays = small_sets(classes=7)
    shape = (-1, 28, 28, *[1] * channel)
    given = [arrays[0].reshape(shape), arrays[1].astype(np.int64), arrays[2].reshape(shape), arrays[3]]
    dataset = data.load(save_npz(tmp_path / "set.npz", given, save))
    assert_same_arrays(dataset, arrays)
    assert dataset.class_names == tuple("0123456")


def test_npz_without_a_test_set_gives_a_fifth_to_it(tmp_path):
    images, labels = small_sets(counts=(43,))
    dataset = data.load(save_npz(tmp_path / "set.npz", [images, labels]))
    expected = model_selection.train_test_split(images, labels, test_size=0.2, random_state=0)
    assert_same_arrays(dataset, [expected[0], expected[2], expected[1], expected[3]])
    assert len(dataset.test_labels) == 9


def test_npz_may_hold_other_arrays_which_are_not_read(tmp_path):
    arrays = small_sets()
    path = save_npz(tmp_path / "set.npz", arrays, about=np.array([{"pickled": True}], object))
    assert_same_arrays(data.load(path), arrays)


NPZ_MISTAKES = {
    "float images": ({"x_train": np.zeros((40, 28, 28))}, "x_train is float64"),
    "other side": ({"x_train": np.zeros((40, 32, 32), np.uint8)}, "x_train is uint8 (40, 32, 32)"),
    "colour": ({"x_test": np.zeros((15, 28, 28, 3), np.uint8)}, "x_test is uint8 (15, 28, 28, 3)"),
    "flat images": ({"x_train": np.zeros((40, 784), np.uint8)}, "x_train is uint8 (40, 784)"),
    "one image": ({"x_train": np.zeros((28, 28), np.uint8)}, "x_train is uint8 (28, 28)"),
    "no training images": ({"x_train": np.zeros((0, 28, 28), np.uint8), "y_train": np.zeros(0, int)}, "x_train"),
    "no test images": ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, "x_test"),
    "x_train missing": ({"x_train": None}, "no array x_train"),
    "y_train missing": ({"y_train": None}, "no array y_train"),
    "y_test missing": ({"y_test": None}, "y_test"),
    "x_test missing": ({"x_test": None}, "x_test"),
    "float labels": ({"y_train": np.zeros(40)}, "y_train must be 40 whole numbers"),
    "one-hot labels": ({"y_train": np.eye(40, dtype=int)}, "y_train must be 40 whole numbers"),
    "label 256": ({"y_train": np.full(40, 256)}, "y_train must be 40 whole numbers from 0 to 255"),
    "negative label": ({"y_test": np.full(15, -1)}, "y_test must be 15 whole numbers from 0 to 255"),
    "too few labels": ({"y_train": np.zeros(39, int)}, "y_train must be 40 whole numbers"),
    "too many test labels": ({"y_test": np.zeros(16, int)}, "y_test must be 15 whole numbers"),
    "pickled images": ({"x_train": np.array([{}] * 40, object)}, "cannot be read"),
    "pickled labels": ({"y_test": np.array([{}] * 15, object)}, "cannot be read"),
}


@pytest.mark.parametrize("mistake", NPZ_MISTAKES)
def test_npz_with_a_mistake_is_refused(tmp_path, mistake):
    changes, words = NPZ_MISTAKES[mistake]
    path = save_npz(tmp_path / "set.npz", small_sets(), **changes)
    with pytest.raises(UserError) as error:
        data.load(path)
    assert path in str(error.value) and words in str(error.value)


def break_deflate(path):
    """Overwrites compressed data of the first member."""
    np.savez_compressed(path, **dict(np.load(path)))
    raw = bytearray(path.read_bytes())
    raw[2000:2100] = b"\xff" * 100
    path.write_bytes(raw)


NPZ_DAMAGES = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "one byte": lambda path: path.write_bytes(path.read_bytes()[:5000] + b"\xaa\x55" + path.read_bytes()[5002:]),
    "broken compression": break_deflate,
    "unknown compression": flip_method,
    "a single array": write_npy,
}


@pytest.mark.parametrize("damage", NPZ_DAMAGES)
def test_damaged_npz_is_refused(tmp_path, damage):
    path = tmp_path / "set.npz"
    save_npz(path, small_sets())
    NPZ_DAMAGES[damage](path)
    with pytest.raises(UserError) as error:
        data.load(str(path))
    assert str(path) in str(error.value) and "cannot be read" in str(error.value)


def test_npz_with_one_image_and_no_test_set_is_refused(tmp_path):
    images, labels = small_sets(counts=(1,))
    path = save_npz(tmp_path / "set.npz", [images, labels])
    with pytest.raises(UserError) as error:
        data.load(path)
    # The file is at fault, not config.data.validation.
    assert path in str(error.value)


# Folders of images.


def save_folder(path, images, labels, names, size=28):
    """One folder a class, one PNG an image, named so that their sorted order is that of the array."""
    for name in names:
        (path / name).mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(images, labels)):
        picture = Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
        picture.save(path / names[label] / f"{number:04}.png")


def in_folder_order(images, labels):
    """Images and labels as a folder gives them: class by class."""
    order = np.argsort(labels, kind="stable")
    return [images[order], labels[order]]


NAMES = ("ant", "bee", "cat")


def test_folder_with_train_and_test(tmp_path):
    arrays = small_sets(classes=3)
    save_folder(tmp_path / "set" / "train", *arrays[:2], NAMES)
    save_folder(tmp_path / "set" / "test", *arrays[2:], NAMES)
    dataset = data.load(str(tmp_path / "set"))
    assert_same_arrays(dataset, in_folder_order(*arrays[:2]) + in_folder_order(*arrays[2:]))
    assert dataset.class_names == NAMES


def test_folder_without_a_test_set_gives_a_fifth_to_it(tmp_path):
    images, labels = small_sets(counts=(43,), classes=3)
    save_folder(tmp_path / "set", images, labels, NAMES)
    dataset = data.load(str(tmp_path / "set"))
    images, labels = in_folder_order(images, labels)
    expected = model_selection.train_test_split(images, labels, test_size=0.2, random_state=0)
    assert_same_arrays(dataset, [expected[0], expected[2], expected[1], expected[3]])
    assert dataset.class_names == NAMES


def test_folder_can_be_given_relative_to_the_working_directory(tmp_path, monkeypatch):
    arrays = small_sets(counts=(12,), classes=3)
    save_folder(tmp_path / "set", *arrays, NAMES)
    monkeypatch.chdir(tmp_path)
    for name in ("./set", "set/"):
        assert data.load(name).class_names == NAMES


def test_folder_images_are_made_grey_and_resized_and_hidden_files_left_out(tmp_path):
    for name, value in (("dark", 40), ("light", 200)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            colour = Image.new("RGB", (50, 31), (value, value, value))
            colour.save(tmp_path / "set" / name / f"{number}.png")
        (tmp_path / "set" / name / ".hidden").write_text("not an image")
    (tmp_path / "set" / ".hidden").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("not a class")
    dataset = data.load(f"{tmp_path}/set")
    assert dataset.class_names == ("dark", "light")
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    assert images.shape == (12, 28, 28)
    np.testing.assert_array_equal(images, np.where(labels == 0, 40, 200)[:, None, None] * np.ones((28, 28)))


def test_folder_with_differing_classes_is_refused(tmp_path):
    arrays = small_sets(classes=3)
    save_folder(tmp_path / "set" / "train", *arrays[:2], NAMES)
    save_folder(tmp_path / "set" / "test", *arrays[2:], ("ant", "bee", "dog"))
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set"))
    message = str(error.value)
    assert str(tmp_path / "set") in message and "'cat'" in message and "'dog'" in message


def test_folder_with_too_few_classes_or_images_is_refused(tmp_path):
    arrays = small_sets(counts=(40, 9), classes=3)
    save_folder(tmp_path / "one", arrays[0], np.zeros(40, int), ("only",))
    save_folder(tmp_path / "few", *arrays[2:], NAMES)
    (tmp_path / "empty").mkdir()
    for name, words in (("one", "1 class folders"), ("few", "9 images"), ("empty", "0 class folders")):
        with pytest.raises(UserError) as error:
            data.load(str(tmp_path / name))
        assert str(tmp_path / name) in str(error.value) and words in str(error.value)


def test_folder_with_too_many_classes_is_refused(tmp_path):
    for number in range(257):
        (tmp_path / "set" / f"{number:03}").mkdir(parents=True)
    for number in range(10):
        Image.new("L", (28, 28)).save(tmp_path / "set" / "000" / f"{number}.png")
    with pytest.raises(UserError, match="257 class folders"):
        data.load(str(tmp_path / "set"))


def break_chunk(path):
    """Changes the length of the chunk after a PNG's header: for this Pillow raises SyntaxError, not OSError."""
    raw = bytearray(path.read_bytes())
    raw[36] = 3
    path.write_bytes(raw)


def break_palette(path):
    """A BMP that declares more colours than there can be: for this Pillow raises ValueError."""
    Image.new("L", (28, 28)).save(path, "bmp")
    raw = bytearray(path.read_bytes())
    raw[46:50] = struct.pack("<I", 300)
    path.write_bytes(raw)


IMAGE_DAMAGES = {
    "text": lambda path: path.write_text("not an image"),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "broken chunk": break_chunk,
    "broken palette": break_palette,
}


@pytest.mark.parametrize("damage", IMAGE_DAMAGES)
def test_broken_image_in_a_folder_is_named(tmp_path, damage):
    save_folder(tmp_path / "set", *small_sets(counts=(12,), classes=3), NAMES)
    path = sorted((tmp_path / "set" / "bee").iterdir())[1]
    IMAGE_DAMAGES[damage](path)
    with pytest.raises(UserError) as error:
        data.load(str(tmp_path / "set"))
    assert str(path) in str(error.value) and "cannot be read as an image" in str(error.value)


@pytest.mark.parametrize("name", ["./nothing", "nothing/", "/no/such/folder", "../no/such"])
def test_folder_that_does_not_exist_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        data.load(name)
    assert pathlib.Path(name).name in str(error.value) and "no such folder" in str(error.value)


@pytest.mark.parametrize("name", ["", "my digits", "mnist ", "mnist:3.0.1", "a-b", "set.zip", "MNIST?"])
def test_bad_name_is_refused_with_what_is_accepted(name, no_tfds):
    with pytest.raises(UserError) as error:
        data.load(name)
    message = str(error.value)
    assert "config.data.name" in message and repr(name) in message
    for accepted in ("mnist", "optdigits", "TFDS", ".npz", "folder"):
        assert accepted in message.split("must be", 1)[1]


# Without network and files.


def test_without_network_and_files_the_ways_out_are_named_soon():
    code = """
        import socket, sys, time
        from digits import data, sources
        from digits.errors import UserError
        sources._TFDS_HOST = {host!r}
        if "slow-name" in sources._TFDS_HOST:
            socket.getaddrinfo = lambda *args, **kwargs: time.sleep(30)
        begin = time.monotonic()
        try:
            data.load("mnist")
        except UserError as error:
            print(error)
        print(time.monotonic() - begin)
        print([name for name in ("tensorflow", "tensorflow_datasets") if name in sys.modules])
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
        assert "(3) train on the embedded dataset" in message and "--config=configs/quickstart.py" in message
        assert float(seconds) < 10, host
        assert imported == "[]", host
