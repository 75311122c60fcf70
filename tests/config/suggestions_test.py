"""Suggestions: a field is found by its last name alone, by a typo of it, and by what other libraries call it."""

import string

import pytest

from configs import base
from digits.config.fields import FIELDS
from digits.config.suggestions import _ALSO_CALLED, _VALUES, fields_called, fields_like, instead, nearest, question
from digits.config.values import check_fields, convert, with_values
from digits.errors import UserError
from tests.conftest import slow_but

LAST = {field: field.rpartition(".")[2] for field in FIELDS}


def typos(word):
    """Words that differ from `word` by a letter that is missing, doubled, swapped with the next, or another."""
    for place in {0, len(word) // 2, len(word) - 1}:
        before, letter, after = word[:place], word[place], word[place + 1 :]
        yield before + after
        yield before + letter + letter + after
        yield before + after[:1] + letter + after[1:]
        yield before + string.ascii_lowercase[(ord(letter) + 5) % 26] + after


@pytest.mark.parametrize("field", slow_but(list(FIELDS)[::5], FIELDS))
def test_a_field_is_found_by_its_last_name_and_by_a_typo_of_that(field):
    namesakes = [other for other in FIELDS if LAST[other] == LAST[field]]
    assert fields_like(LAST[field]) == fields_called(LAST[field]) == namesakes
    for typo in typos(LAST[field]):
        found = fields_like(typo)
        assert field in found and len(found) <= 3, (typo, found)
    section = field.rpartition(".")[0]
    for typo in typos(LAST[field]) if section else ():
        assert field in fields_like(f"{section}.{typo}")
    with pytest.raises(UserError) as error:
        convert(f"x{field}", "1", "config")
    assert f"there is no field {f'x{field}'!r}; did you mean " in str(error.value)
    assert f"--config.{field}" in str(error.value)


def test_fields_are_found_by_what_others_call_them():
    for field, names in _ALSO_CALLED.items():
        assert field in FIELDS
        for name in names.split():
            assert field in fields_like(name) and field in fields_called(name.upper())
            assert name not in FIELDS
    assert fields_like("optimizer.lr") == fields_like("schedule.lr") == ["optimizer.learning_rate"]
    assert fields_like("optimiser.learning_rate") == ["optimizer.learning_rate"]
    assert fields_like("batchsize") == fields_like("Batch-Size") == ["batch_size"]
    assert fields_like("dropout") == ["model.input_dropout", "model.block_dropout", "model.hidden_dropout"]
    assert fields_like("kernel_size") == ["model.kernel_size"]
    assert fields_like("nothing_of_this_kind") == []


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("optimizer.name", "adamw", "(adamw is adam with optimizer.weight_decay above 0)"),
        ("optimizer.name", "Adam", "(did you mean adam?)"),
        ("optimizer.name", "adam,sgd", "(digits.sweep takes several: --sweep.optimizer.name=adam,sgd)"),
        ("monitor", "accurcy", "(did you mean accuracy?)"),
        ("model.activation", "swish", "(swish is silu)"),
    ],
)
def test_a_value_that_stands_for_another_is_pointed_at_it(field, value, words):
    changed = with_values(base.get_config(), {field: value})
    with pytest.raises(UserError) as error:
        check_fields(changed)
    assert str(error.value) == f"config.{field} is {value!r}, but it must be {FIELDS[field].accepted.text} {words}."


def test_what_others_call_a_value_is_accepted_by_the_field_that_is_named():
    fields = [field for field in FIELDS.values() if not field.accepted.accepts("no such word")]
    for value, known in _VALUES.items():
        accept = [field for field in fields if field.accepted.accepts(known.split()[0])]
        assert accept or known.startswith("any schedule")
        assert not any(field.accepted.accepts(value) for field in accept)


@pytest.mark.parametrize(
    "field, text, sweep",
    [
        ("seed", "0:3", "--sweep.seed=0:3"),
        ("seed", "[1, 2]", "--sweep.seed=1,2"),
        ("epochs", "3,5", "--sweep.epochs=3,5"),
        ("optimizer.learning_rate", "log(1e-4,1e-1)", "'--sweep.optimizer.learning_rate=log(1e-4,1e-1)'"),
        ("tensorboard", "true,false", "--sweep.tensorboard=true,false"),
    ],
)
def test_several_values_given_to_a_field_are_pointed_at_a_sweep(field, text, sweep):
    with pytest.raises(UserError) as error:
        convert(field, text, "config")
    assert str(error.value).endswith(f" (digits.sweep takes several: {sweep}).")
    assert instead(field, "3;5") == instead("model.hidden", "(8,),(16,)") == ""


def test_nearest_words_and_the_question():
    assert nearest("trian", ["train", "sweep"]) == ["train"] and nearest("zzz", ["train"]) == []
    assert nearest("cnn", ["cnn_a", "b_cnn"]) == [] and nearest("dense", ["narrow_dense", "b"]) == ["narrow_dense"]
    assert question(["a", "b", "c"]) == "; did you mean a, b or c?" and question([], "; no.") == "; no."
