"""Runs a fuzzer from a corpus of seeds, and asserts the behaviour of readers that all fuzzers share."""

from collections.abc import Callable, Iterable
import pathlib
import sys
import tempfile

import atheris
import numpy as np

from digits import data
from digits.errors import UserError


def allowed(read: Callable, *arguments):
    """The result of a reader, or None where it refused the input in a sentence; anything else is a finding."""
    try:
        return read(*arguments)
    except UserError as error:
        assert str(error), "an empty refusal"
        assert "\n" not in str(error), "a refusal of several lines"
        return None


def check_source(source) -> None:
    """Asserts that a source is as digits/data/source.py promises."""
    assert len(source.arrays) in (2, 4)
    for images, labels in zip(source.arrays[::2], source.arrays[1::2], strict=True):
        assert images.dtype.kind in "biuf" and images.shape[1:] == (28, 28)
        assert labels.dtype.kind in "iu" and labels.shape == (len(images),) and len(images)
        assert 0 <= labels.min() and labels.max() <= 255


def check_path(path: pathlib.Path) -> None:
    """Loads a path; asserts that it is refused in a sentence or gives a dataset as it is trained on."""
    with np.errstate(invalid="raise", divide="raise"):
        dataset = allowed(data.load, str(path))
    if not dataset:
        return
    for images, labels in (dataset.arrays[:2], dataset.arrays[2:]):
        assert images.dtype == labels.dtype == "uint8" and images.shape[1:] == (28, 28)
        assert labels.shape == (len(images),) and len(images)
        assert labels.max() < len(dataset.class_names) <= 256
    assert all(name.isprintable() for name in (*dataset.class_names, *dataset.notes))


def fuzz(target: Callable[[bytes], None], seeds: Iterable[bytes], mutate: Callable[[bytes, int, int], bytes]) -> None:
    """Fuzzes `target` with libFuzzer's arguments of the command line, from `seeds` and folders named there.

    `mutate` has the arguments of atheris's custom mutators: an input, the largest size and a random seed.
    """
    with tempfile.TemporaryDirectory(prefix="digits-fuzz-") as corpus:
        for number, seed in enumerate(seeds):
            target(seed)  # What is imported at the first use is not to be timed later.
            (pathlib.Path(corpus) / f"{number:03}").write_bytes(seed)

        # libFuzzer stops at a longer one, and a mutator that adds to an input cannot always know how much.
        def bounded(data, max_size, seed):
            return mutate(data, max_size, seed)[:max_size]

        limits = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=20000"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], corpus], target, custom_mutator=bounded)
        atheris.Fuzz()
