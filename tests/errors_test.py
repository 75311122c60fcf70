"""The sentences for a user's mistakes."""

import pytest

from digits.errors import UserError, paths, reason, require


def test_a_sentence_names_field_value_and_what_is_accepted():
    with pytest.raises(UserError, match=r"^config.epochs is 0, but it must be a whole number from 1\.$"):
        require(False, "epochs", 0, "a whole number from 1")
    require(True, "f", 1, "")


def test_a_path_that_the_system_refuses_is_a_mistake_and_a_missing_file_is_not(tmp_path):
    with pytest.raises(UserError, match=r"x cannot be used \(File name too long\)\.$"), paths():
        (tmp_path / ("x" * 300)).stat()
    with pytest.raises(FileNotFoundError), paths():
        (tmp_path / "gone").stat()


@pytest.mark.parametrize(
    "error, words, typed",
    [
        (ValueError("  no.\nSecond line."), "no", "ValueError: no"),
        (KeyError(), "KeyError", "KeyError"),
        (FileNotFoundError(2, "None", "x.npz"), "None", "FileNotFoundError: [Errno 2] None: 'x.npz'"),
        (OSError("it is no file"), "it is no file", "OSError: it is no file"),
        (RuntimeError("x" * 400), "x" * 300, "RuntimeError: " + "x" * 300),
    ],
)
def test_the_reason_is_the_first_line_of_another_librarys_error(error, words, typed):
    assert reason(error) == words and reason(error, with_type=True) == typed
