"""Tables of the page on one run that a usual run does not show. The page is tested in report_test.py."""

import types

import pytest

from digits.reports import run_page
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    "validation, shown",
    [
        ("test", "the 360 test images themselves"),
        ("none", "none"),
        ("last(700)", "1,700 images, last(700)"),
        ("folds(3)", "1,700 images, folds(3), fold 2"),
    ],
)
def test_the_table_of_the_data_says_how_it_was_split(validation, shown):
    config = tiny_config()
    config.data.validation, config.data.fold = validation, 2
    counts = {"digest": "0123456789abcdef", "train": 1000, "validation": 1700, "test": 360}
    run = types.SimpleNamespace(config=config, about={"data": counts}, validated_on_test=validation == "test")
    table = run_page._data(run)
    assert table["validation"] == shown and table["training"] == "1,000 images"
    assert table["dataset"] == "optdigits (SHA-256 0123456789ab…)"


def test_what_an_older_run_did_not_record_is_empty():
    table = run_page._environment({"device": "cpu", "seconds": 1234.56, "peak_memory_bytes": 3 * 2**20})
    assert table["training"] == "1,234.6 s" and table["peak memory of the process"] == "3 MiB"
    assert {name for name, value in table.items() if value} == {"device", "training", "peak memory of the process"}


@pytest.mark.parametrize(
    "errors, sentence",
    [
        ({}, "No test image is read wrongly."),
        ({(0, 1): 1}, "One test image is read wrongly: zero read as one."),
        ({(0, 1): 1, (1, 0): 1}, "2 test images are read wrongly, no two of them alike."),
        ({(2, 3): 8, (0, 1): 2}, "The most frequent error is two read as three: 8 of 10."),
        ({(2, 3): 2, (0, 1): 2}, "The most frequent errors are zero read as one and two read as three: 2 of 4 each."),
        (
            {(0, 1): 2, (0, 2): 2, (0, 3): 2, (1, 0): 2, (1, 2): 1},
            "The most frequent errors are zero read as one, zero read as two, zero read as three and 1 more: "
            "2 of 9 each.",
        ),
    ],
)
def test_the_most_frequent_errors_are_said(errors, sentence):
    confusion = [[5000 if i == j else errors.get((i, j), 0) for j in range(4)] for i in range(4)]
    assert run_page._worst(confusion, ("zero", "one", "two", "three")) == sentence
