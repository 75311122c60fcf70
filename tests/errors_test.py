"""The sentences for a user's mistakes."""

import pytest

from digits.errors import UserError, paths, require


def test_a_sentence_names_field_value_and_what_is_accepted():
    with pytest.raises(UserError, match=r"^config.epochs is 0, but it must be a whole number from 1\.$"):
        require(False, "epochs", 0, "a whole number from 1")
    require(True, "f", 1, "")


def test_a_path_that_the_system_refuses_is_a_mistake_and_a_missing_file_is_not(tmp_path):
    with pytest.raises(UserError, match=r"x cannot be used \(File name too long\)\.$"), paths():
        (tmp_path / ("x" * 300)).stat()
    with pytest.raises(FileNotFoundError), paths():
        (tmp_path / "gone").stat()
