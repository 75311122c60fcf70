"""The table of fields: it agrees with configs/base.py and with the code that reads it, and refuses senseless values."""

import re

import pytest

from configs import base
from digits.config.fields import FIELDS
from digits.config.values import check_fields, field_type, missing_fields, with_values
from digits.data import transforms
from digits.errors import UserError
from digits.models import layers
from digits.models.ops import convolution
from tests.conftest import ROOT

BASE = (ROOT / "configs" / "base.py").read_text()


def declared() -> dict[str, str]:
    """The fields that configs/base.py assigns, in their order, each with the comment above it."""
    sections, fields, comment = {"config": ""}, {}, []
    for line in BASE[BASE.index("def get_config") :].splitlines():
        if match := re.match(r"    (\w+) = config\.(\w+) = ", line):
            sections[match[1]] = f"{match[2]}."
        elif match := re.match(r"    (\w+)\.(\w+) = ", line):
            fields[sections[match[1]] + match[2]] = " ".join(comment)
        comment = [*comment, line.strip(" #")] if line.strip().startswith("#") else []
    return fields


def test_the_table_has_the_fields_of_the_base_config_and_accepts_its_defaults():
    assert list(declared()) == list(FIELDS)
    check_fields(base.get_config())
    assert missing_fields(base.get_config()) == []


@pytest.mark.parametrize("name", FIELDS)
def test_the_comment_above_a_field_is_what_the_table_says_of_it(name):
    field = FIELDS[name]
    assert declared()[name] == f"{field.meaning} Accepted: {field.accepted.text}."


def test_types_are_those_of_the_base_config():
    defaults = base.get_config()
    for name in FIELDS:
        section, _, key = name.rpartition(".")
        assert field_type(name) is (defaults[section] if section else defaults).get_type(key), name


def test_choices_are_those_of_the_networks():
    def words(name: str) -> list[str]:
        return FIELDS[name].accepted.text.removeprefix("one of ").split(", ")

    assert sorted(layers.ACTIVATIONS) == words("model.activation")
    assert sorted(layers.INITIALIZERS) == words("model.kernel_init") == words("model.output_init")
    assert sorted(convolution.IMPLEMENTATIONS) == words("model.convolution")
    assert sorted(transforms.NORMALIZATIONS) == words("data.normalization")
    assert all(map(FIELDS["model.activation"].accepted.accepts, layers.ACTIVATIONS))


@pytest.mark.parametrize(
    "name, value",
    [("epochs", 0), ("epochs", True), ("seed", 2**31), ("model.hidden", (3.5,))]
    + [("model.blocks", ((),)), ("model.pool", (2, -1)), ("model.hidden_dropout", (0.1, 0.9999)), ("data.name", None)]
    + [("optimizer.beta_1", 0.9999999), ("optimizer.epsilon", 0.0), ("augment.zoom", float("nan")), ("tensorboard", 1)]
    + [("schedule.peak_fraction", 0.0), ("documented.test_loss", "low"), ("monitor", "best")],
)
def test_a_value_that_makes_no_sense_by_itself_is_refused_with_what_is_accepted(name, value):
    changed = with_values(base.get_config(), {name: value})
    with pytest.raises(UserError) as error:
        check_fields(changed)
    assert str(error.value) == f"config.{name} is {value!r}, but it must be {FIELDS[name].accepted.text}."
