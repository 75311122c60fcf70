"""Runs a fuzzer from a corpus of seeds, and asserts the behaviour of readers that all fuzzers share."""

from collections.abc import Callable, Iterable
import pathlib
import sys
import tempfile

import atheris

from digits.errors import UserError


def allowed(read: Callable, *arguments):
    """The result of a reader, or None where it refused the input in a sentence; anything else is a finding."""
    try:
        return read(*arguments)
    except UserError as error:
        assert str(error), "an empty refusal"
        return None


def check_source(source) -> None:
    """Asserts that a dataset is as digits/data/idx.py promises."""
    arrays, class_names = source
    assert len(arrays) in (2, 4)
    for images, labels in zip(arrays[::2], arrays[1::2], strict=True):
        assert images.dtype == labels.dtype == "uint8" and images.shape[1:] == (28, 28)
        assert labels.shape == (len(images),) and len(images)
        assert labels.max() < len(class_names) <= 256


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
