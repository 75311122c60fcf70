"""The sentences for a user's mistakes."""

import pytest

from digits.errors import UserError, require, require_choice, require_number


def test_sentences_name_field_value_and_what_is_accepted():
    with pytest.raises(UserError, match=r"^config.epochs is 0, but it must be a whole number from 1\.$"):
        require(False, "epochs", 0, "a whole number from 1")
    with pytest.raises(UserError, match=r"config.a.b is 'x', but it must be one of p, q\."):
        require_choice("a.b", "x", ("q", "p"))
    for value in (-0.1, 1.0, float("nan"), "0.5", None, True):
        with pytest.raises(UserError, match="from 0 to below 1"):
            require_number("f", value, 0, 1)
    with pytest.raises(UserError, match="finite number from 0"):
        require_number("f", float("inf"))


def test_what_is_accepted_passes():
    require(True, "f", 1, "")
    require_choice("f", "p", {"p": 1})
    for value in (0, 0.999, 0.5):
        require_number("f", value, 0, 1)
