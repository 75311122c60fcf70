"""Tests of how digits.data splits a dataset: by index, at random, in folds, and in folds of writers."""

import collections
import pathlib

import numpy as np
import pytest
from sklearn import model_selection

from configs import base
from digits import data
from digits.data import splits, writers
from digits.errors import UserError
from tests.made_datasets import small_sets, some_writers, write_writers

pytestmark = pytest.mark.usefixtures("mnist_dir")

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
    train, held = splits.split_indices(text, 0, count)
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(held, expected[1])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_are_those_of_scikit_learn(folds, count):
    expected = model_selection.KFold(folds).split(np.zeros(count))
    for fold, (expected_train, expected_held) in enumerate(expected):
        train, held = splits.split_indices(f"folds({folds})", fold, count)
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(held, expected_held)


@pytest.mark.parametrize("count", COUNTS[2:])
def test_stratified_splits_are_those_of_scikit_learn(count):
    labels = np.random.default_rng(count).integers(0, 10, count).astype(np.uint8)
    everything = np.arange(count)
    expected = model_selection.train_test_split(everything, test_size=0.175, random_state=7, stratify=labels)
    for found, of_scikit_learn in zip(splits.split_indices("stratified(0.175, 7)", 0, count, labels=labels), expected):
        np.testing.assert_array_equal(found, of_scikit_learn)
    for fold, expected in enumerate(model_selection.StratifiedKFold(3).split(labels, labels)):
        found = splits.split_indices("stratified_folds(3)", fold, count, labels=labels)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    "text, labels, words",
    [
        ("stratified(0.2, 0)", [0] * 19 + [1], "a class has only one example"),
        ("stratified(0.05, 0)", [0, 1] * 10, "2 classes do not fit into 1 examples"),
        ("stratified(0.95, 0)", [0, 1] * 10, "2 classes do not fit into 1 examples"),
        ("stratified_folds(11)", [0, 1] * 10, "no class has 11 examples"),
    ],
)
def test_stratified_split_that_the_classes_do_not_allow_is_refused(text, labels, words):
    with pytest.raises(UserError) as error:
        splits.split_indices(text, 0, 20, labels=np.array(labels))
    assert f"config.data.validation is {text!r}" in str(error.value) and words in str(error.value)
    with pytest.raises(UserError, match="the classes are not known"):
        splits.split_indices(text, 0, 20)


@pytest.mark.parametrize("count, last", [(60000, 10000), (97, 1), (97, 96)])
def test_last_split_holds_out_the_last_examples(count, last):
    train, held = splits.split_indices(f"last({last})", 0, count)
    np.testing.assert_array_equal(train, np.arange(count - last))
    np.testing.assert_array_equal(held, np.arange(count - last, count))


@pytest.mark.parametrize("text", ["none", "test"])
def test_none_and_test_hold_nothing_out(text):
    train, held = splits.split_indices(text, 0, 97)
    np.testing.assert_array_equal(train, np.arange(97))
    assert held.shape == (0,)


@pytest.mark.parametrize(
    "text, folds", [("random(0.175, 0)", 1), ("random(0.3, 1)", 1), ("last(13)", 1), ("folds(5)", 5)]
)
@pytest.mark.parametrize("count", [40, 97])
def test_splits_are_disjoint_and_complete(text, folds, count):
    held_by_all = []
    for fold in range(folds):
        train, held = splits.split_indices(text, fold, count)
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
    for validation in ("none", "test", "last(10000)", "random(0.175, 0)", "stratified(0.1, 7)"):
        splits.check(data_config(validation))
    splits.check(data_config("folds(5)", fold=4))
    splits.check(data_config("stratified_folds(5)", fold=4))
    splits.check(data_config("writer_folds(5)", fold=4))


@pytest.mark.parametrize(
    "text",
    ["", "None", "nonetheless", "last", "last()", "last(-1)", "last(0.1)", "last(10", "random(0.1)", "random(1.5, 0)"]
    + ["random(1.0, 0)", "random(0, 0)", "random(1, 0)", "random(0.1, -1)", "random(0.1, 0.5)", "random(0.1; 0)"]
    + ["random(nan, 0)", "folds", "folds(-5)", "folds(2.5)", "fold(5)", "train[:80%]", "random(0.1, 0) last(3)"]
    + ["stratified", "stratified(0.1)", "stratified(1.5, 0)", "stratified(0.1, 4294967296)", "stratified folds(5)"]
    + ["writer_folds", "writer_folds(-5)", "writer_folds(2.5)", "writer folds(5)"]
    + [" test", "none ", "folds(5)\n"],  # What is recorded must be what is compared.
)
def test_bad_split_is_refused_with_what_is_accepted(text):
    with pytest.raises(UserError) as error:
        splits.check(data_config(text))
    message = str(error.value)
    assert "config.data.validation" in message and repr(text) in message
    accepts = ("none", "test", "last(10000)", "random(0.175, 0)", "stratified(0.175, 0)")
    for accepted in (*accepts, " folds(5)", "stratified_folds(5)", "writer_folds(5)"):
        assert accepted in message.split("must be", 1)[1]


@pytest.mark.parametrize("text", ["folds(0)", "folds(1)", "stratified_folds(1)", "writer_folds(0)", "writer_folds(1)"])
def test_too_few_folds_are_refused(text):
    with pytest.raises(UserError) as error:
        splits.check(data_config(text))
    assert "config.data.validation" in str(error.value) and repr(text) in str(error.value)
    assert "n from 2" in str(error.value)


def test_seed_that_numpy_does_not_take_is_refused():
    with pytest.raises(UserError) as error:
        splits.check(data_config("random(0.1, 4294967296)"))
    assert "config.data.validation" in str(error.value) and "4294967296" in str(error.value)


@pytest.mark.parametrize("text", ["folds(5)", "stratified_folds(5)", "writer_folds(5)"])
@pytest.mark.parametrize("fold", [-1, 5, 100])
def test_fold_out_of_range_is_refused(fold, text):
    with pytest.raises(UserError) as error:
        splits.check(data_config(text, fold))
    message = str(error.value)
    assert "config.data.fold" in message and repr(fold) in message and "from 0 to 4" in message


@pytest.mark.parametrize("text", ["none", "test", "last(10)", "random(0.1, 0)"])
def test_fold_without_folds_is_refused(text):
    with pytest.raises(UserError, match=r"config.data.fold is 1, .* folds\(n\)"):
        splits.check(data_config(text, fold=1))


@pytest.mark.parametrize("text, fold", [("last(0)", 0), ("last(20)", 0), ("last(21)", 0), ("random(0.96, 0)", 0)])
def test_split_with_an_empty_side_is_refused(text, fold):
    with pytest.raises(UserError) as error:
        splits.split_indices(text, fold, 20)
    assert "config.data.validation" in str(error.value) and repr(text) in str(error.value)
    assert "20 examples" in str(error.value)


@pytest.mark.parametrize("fold", [0, 19, 20])
def test_more_folds_than_examples_are_refused(fold):
    # As scikit-learn does: else only the empty last folds would be noticed.
    with pytest.raises(UserError, match=r"config.data.validation is 'folds\(21\)'"):
        splits.split_indices("folds(21)", fold, 20)


def dataset_of(arrays):
    return data.Dataset("noise", *arrays, tuple(map(str, range(10))))


@pytest.mark.parametrize(
    "validation, fold",
    [("random(0.175, 0)", 0), ("stratified(0.25, 0)", 0), ("last(7)", 0), ("folds(5)", 3), ("stratified_folds(4)", 3)],
)
def test_split_gives_images_with_their_labels(validation, fold):
    arrays = small_sets()
    train, held = splits.split_indices(validation, fold, 40, labels=arrays[1])
    parts = data.split(dataset_of(arrays), data_config(validation, fold))
    for (images, labels), indices in ((parts.train, train), (parts.validation, held)):
        np.testing.assert_array_equal(images, arrays[0][indices])
        np.testing.assert_array_equal(labels, arrays[1][indices])
    np.testing.assert_array_equal(parts.test[0], arrays[2])
    np.testing.assert_array_equal(parts.test[1], arrays[3])


@pytest.mark.parametrize("validation, copied", [("none", False), ("last(7)", False), ("random(0.175, 0)", True)])
def test_split_copies_images_only_where_it_must(validation, copied):
    arrays = small_sets()
    parts = data.split(dataset_of(arrays), data_config(validation))
    assert np.shares_memory(parts.train[0], arrays[0]) != copied


def test_split_none_has_no_validation_and_split_test_validates_on_the_test_set():
    arrays = small_sets()
    for validation in ("none", "test"):
        parts = data.split(dataset_of(arrays), data_config(validation))
        np.testing.assert_array_equal(parts.train[0], arrays[0])
        np.testing.assert_array_equal(parts.train[1], arrays[1])
        if validation == "none":
            assert parts.validation is None
        else:
            np.testing.assert_array_equal(parts.validation[0], arrays[2])
            np.testing.assert_array_equal(parts.validation[1], arrays[3])


# Data in class order.


def in_class_order(name="./mine", order=range(10), each=30, **about):
    labels = np.repeat(np.array(order, np.uint8), each)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    return data.Dataset(name, images, labels, images[:20], labels[:20], tuple(map(str, range(10))), **about)


@pytest.mark.parametrize("order", [range(10), (3, 1, 4, 0, 5, 9, 2, 6, 8, 7), [*range(10), *range(10)]])
@pytest.mark.parametrize(
    "text, instead", [("last(100)", "'stratified(0.1, 0)'"), ("folds(5)", "'stratified_folds(5)'")]
)
def test_data_in_class_order_are_not_split_by_index(text, instead, order):
    with pytest.raises(UserError) as error:
        data.split(in_class_order(order=order), data_config(text))
    message = str(error.value)
    assert (
        repr(text) in message
        and "./mine lie class by class" in message
        and message.endswith(f"write --config.data.validation={instead}.")
    )
    data.split(in_class_order(order=order), data_config(instead.strip("'")))
    for other in ("none", "test", "random(0.1, 0)"):
        data.split(in_class_order(order=order), data_config(other))


def test_benchmarks_and_a_sources_own_validation_set_are_split_by_index_in_any_order():
    for name in ("mnist", "optdigits", "fashion_mnist", "kmnist", "emnist", "emnist/letters"):
        data.split(in_class_order(name), data_config("last(100)"))
        data.split(in_class_order(name), data_config("folds(5)"))
    own = in_class_order(order=[*range(10), *range(10)], each=5, validation=50)
    assert len(data.split(own, data_config("last(50)")).validation[1]) == 50
    with pytest.raises(UserError, match="class by class"):
        data.split(own, data_config("last(49)"))


@pytest.mark.parametrize("labels", [np.arange(300) % 10, np.random.default_rng(0).integers(0, 10, 300)])
def test_data_in_another_order_are_split_by_index(labels):
    images = np.zeros((300, 28, 28), np.uint8)
    labels = labels.astype(np.uint8)
    dataset = data.Dataset("./mine", images, labels, images, labels, tuple("0123456789"))
    data.split(dataset, data_config("last(100)"))
    data.split(dataset, data_config("folds(3)", 2))


# Folds of writers.


TRAIN_WRITERS = writers.WRITER_FILES["train"]


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
        train, held = splits.split_indices(f"writer_folds({folds})", fold, 200, people)
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
        parts = data.split(mnist_noise, data_config("writer_folds(5)", fold))
        train, held = ([index[image.tobytes()] for image in images] for images, _ in (parts.train, parts.validation))
        assert not set(people[train]) & set(people[held])
        assert sorted(train + held) == list(range(200))
        np.testing.assert_array_equal(parts.train[1], mnist_noise.train_labels[train])
        np.testing.assert_array_equal(parts.validation[1], mnist_noise.train_labels[held])
        np.testing.assert_array_equal(parts.test[0], mnist_noise.test_images)
        held_by_all += held
    assert sorted(held_by_all) == list(range(200))


def test_writers_are_asked_for_by_folds_of_writers_alone(mnist_noise):
    for validation in ("none", "test", "last(7)", "random(0.175, 0)", "folds(5)"):
        data.split(mnist_noise, data_config(validation))
    with pytest.raises(UserError, match=TRAIN_WRITERS):
        data.split(mnist_noise, data_config("writer_folds(5)"))


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
        lambda: splits.check(config),
        lambda: data.split(dataset, config),
        lambda: data.writers_of(dataset, "test"),
    ):
        with pytest.raises(UserError, match=r"config.data.name is 'optdigits', .* mnist .* writer_folds\(n\)"):
            refused()


@pytest.mark.parametrize("folds", [0, 1, 24, 10**20])
def test_folds_that_the_writers_do_not_fill_are_refused(folds):
    with pytest.raises(UserError) as error:
        splits.split_indices(f"writer_folds({folds})", 0, 200, some_writers())
    message = str(error.value)
    assert f"config.data.validation is 'writer_folds({folds})'" in message and "from 2 to the 23 writers" in message


def test_folds_of_writers_without_the_writers_are_refused():
    with pytest.raises(UserError, match=r"config.data.validation is 'writer_folds\(5\)', .* writers are not known"):
        splits.split_indices("writer_folds(5)", 0, 200)


@pytest.mark.mnist
def test_writers_of_mnist(mnist_dir):
    files = [pathlib.Path(mnist_dir).parent / "qmnist" / f"{stem}.gz" for stem in writers.WRITER_FILES.values()]
    if not all(path.exists() for path in files):
        pytest.skip("there is no folder qmnist with QMNIST's label files beside DIGITS_DATA_DIR")
    dataset = data.load("mnist", mnist_dir)
    train, test = (data.writers_of(dataset, part) for part in ("train", "test"))
    assert train.shape == (60000,) and test.shape == (10000,)
    # As QMNIST's page says: NIST's employees have numbers up to 610, the students from 2100 to 2599.
    for people in (train, test):
        assert np.all(((people >= 0) & (people <= 610)) | ((people >= 2100) & (people <= 2599)))
    assert len(np.unique(train)) == 539 and not set(train) & set(test)
    expected = list(model_selection.GroupKFold(5).split(train, groups=train))
    for fold, (expected_train, expected_held) in enumerate(expected):
        indices = splits.split_indices("writer_folds(5)", fold, 60000, train)
        np.testing.assert_array_equal(indices[0], expected_train)
        np.testing.assert_array_equal(indices[1], expected_held)
    parts = data.split(dataset, data_config("writer_folds(5)", 4))
    np.testing.assert_array_equal(parts.train[0], dataset.train_images[expected[4][0]])
    np.testing.assert_array_equal(parts.validation[1], dataset.train_labels[expected[4][1]])
