"""The sentences for a user's mistakes."""

import os
import pathlib

import pytest

from digits.errors import OutOfMemory, UserError, of_memory, reason, refusals, require, writing_to


def test_a_sentence_names_field_value_and_what_is_accepted():
    with pytest.raises(UserError, match=r"^config.epochs is 0, but it must be a whole number from 1\.$"):
        require(False, "epochs", 0, "a whole number from 1")
    require(True, "f", 1, "")


def test_a_path_that_the_system_refuses_is_a_mistake_and_a_missing_file_is_not(tmp_path):
    with pytest.raises(UserError, match=r"x cannot be used \(File name too long\)\.$"), refusals():
        (tmp_path / ("x" * 300)).stat()
    with pytest.raises(FileNotFoundError), refusals():
        (tmp_path / "gone").stat()
    with pytest.raises(UserError, match=r"^A file cannot be used \(Too many open files\)\.$"), refusals():
        raise OSError(24, "Too many open files")  # Of a socket or a loop: it names no file.


@pytest.mark.parametrize("error, why", [(OSError(28, "No space left"), "No space left"), (OSError("odd"), "odd")])
def test_what_cannot_be_written_is_named_with_its_flag(error, why):
    for flag, sentence in (("", f"a.md cannot be written ({why})."), (
        "--output", f"--output is a.md, which cannot be written ({why}): name another."
    )):  # fmt: skip
        with pytest.raises(UserError) as raised, writing_to(pathlib.Path("a.md"), flag):
            raise error
        assert str(raised.value) == sentence


def test_a_home_that_nobody_knows_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match=r"begins with ~, but .* or set HOME\.$"), refusals():
        (pathlib.Path("~no-such-user") / "runs").expanduser()


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 47040000 bytes.",
        "INTERNAL: failed call to cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "INTERNAL: RET_CHECK failure: cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED",
        "FAILED_PRECONDITION: DNN library initialization failed. Look at the errors above for more details.",
    ],
)
def test_a_full_gpu_is_a_mistake_with_ways_out_and_another_error_of_it_is_not(message):
    with pytest.raises(OutOfMemory, match=r"nvidia-smi .* CUDA_VISIBLE_DEVICES, .* JAX_PLATFORMS=cpu\.$"), refusals():
        raise RuntimeError(message)
    with pytest.raises(OutOfMemory), refusals():
        raise MemoryError
    with pytest.raises(RuntimeError, match="INTERNAL: something else"), refusals():
        raise RuntimeError("INTERNAL: something else")
    assert of_memory(MemoryError()) and not of_memory(ValueError("no"))


@pytest.mark.parametrize(
    "error, words, typed",
    [
        (ValueError("  no.\nSecond line."), "no", "ValueError: no"),
        (KeyError(), "KeyError", "KeyError"),
        (FileNotFoundError(2, "None", "x.npz"), "None", "FileNotFoundError: [Errno 2] None: 'x.npz'"),
        (OSError("it is no file"), "it is no file", "OSError: it is no file"),
        (ValueError("X: no [os_error_code='28' a]"), os.strerror(28), "ValueError: X: no [os_error_code='28' a]"),
        (RuntimeError("x" * 400), "x" * 300, "RuntimeError: " + "x" * 300),
    ],
)
def test_the_reason_is_the_first_line_of_another_librarys_error(error, words, typed):
    assert reason(error) == words and reason(error, with_type=True) == typed
