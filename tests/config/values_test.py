"""Configs: values from text, checks of sections, missing fields, JSON, names of folders, and the page of fields."""

import ast
import json
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st
import pytest

from configs import base, deep_cnn
from digits.config.values import (
    _LATER,
    check_fields,
    config_from_json,
    config_to_json,
    convert,
    fields_as_markdown,
    folder_name,
    missing_fields,
    portable_name,
    recorded_config,
    to_json,
    value_name,
    with_values,
)
from digits.errors import UserError
from tests.conftest import ROOT


def test_the_page_of_fields_is_what_the_command_prints():
    printed = "\n".join(fields_as_markdown(base.get_config(), "configs/base.py")) + "\n"
    assert (ROOT / "docs" / "fields.md").read_text() == printed, (
        "python -m digits.main --config=configs/base.py --fields"
    )


def test_the_library_imports_neither_configs_nor_experiments():
    for path in (ROOT / "digits").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("configs", "experiments", "benchmarks") for name in names), path


def test_a_section_is_checked_by_itself():
    check_fields(base.get_config().model, "model")
    changed = with_values(base.get_config(), {"model.padding": "full", "epochs": 0})
    with pytest.raises(UserError, match="config.model.padding is 'full', but it must be one of same, valid"):
        check_fields(changed.model, "model")


def test_missing_fields_and_sections_are_named():
    fields = base.get_config().to_dict()
    del fields["augment"], fields["model"]["pool"], fields["seed"]
    assert missing_fields(config_from_json(fields)) == ["augment", "model.pool", "seed"]


def test_a_recorded_config_may_lack_what_came_later_and_nothing_else():
    fields = config_to_json(base.get_config())
    assert recorded_config(fields, "config.json") == base.get_config()
    for name in _LATER:
        section, _, key = name.rpartition(".")
        del (fields[section] if section else fields)[key]
    del fields["population"]
    recorded = recorded_config(fields, "config.json")
    assert recorded == base.get_config() and recorded.is_locked
    fields["eval_batch_size"] = 0
    with pytest.raises(UserError, match="config.json is damaged: its config.eval_batch_size is 0, which must be a"):
        recorded_config(fields, "config.json")
    fields["eval_batch_size"] = {"a": 1, "b": "c" * 999}
    with pytest.raises(UserError, match="^config.json is damaged: its config.eval_batch_size is .{100}, which .*$"):
        recorded_config(fields, "config.json")
    zoom = fields["augment"].pop("zoom")
    with pytest.raises(UserError, match="config.json is damaged: it has no config.augment.zoom"):
        recorded_config(fields, "config.json")
    fields["augment"]["zoom"] = zoom
    for name in ("data", "normalization"):
        del (fields["data"] if name == "normalization" else fields)[name]
        with pytest.raises(UserError, match="config.json is damaged: it has no config.data"):
            recorded_config(fields, "config.json")
        fields["data"] = config_to_json(base.get_config())["data"]


def test_after_config_one_number_is_a_tuple():
    assert convert("model.hidden", "128", "config") == (128,)
    assert convert("model.hidden", "128,64", "config") == (128, 64)


def test_values_are_changed_in_a_copy():
    before = base.get_config()
    after = with_values(before, {"model.hidden": (8,), "seed": 3})
    assert (after.model.hidden, after.seed, before.model.hidden, before.seed) == ((8,), 3, (32, 32), 0)
    assert after.is_locked


def test_a_config_survives_json_with_its_tuples():
    before = deep_cnn.get_config()
    again = config_from_json(json.loads(json.dumps(config_to_json(before))))
    assert again.to_dict() == before.to_dict() and again.model.blocks == ((32, 32), (64, 64)) and again.is_locked
    assert to_json({"a": (1, (2,))}) == {"a": [1, [2]]}


@pytest.mark.parametrize(
    "field, given, value",
    [
        ("optimizer.learning_rate", "1e-3", 1e-3),
        ("optimizer.learning_rate", 1, 1.0),
        ("seed", "3", 3),
        ("optimizer.nesterov", "true", True),
        ("optimizer.name", "sgd", "sgd"),
        ("data.validation", "random(0.1, 0)", "random(0.1, 0)"),
        ("model.hidden", "(32, 16)", (32, 16)),
        ("model.blocks", "((8,),(16, 16))", ((8,), (16, 16))),
        ("model.kernel_size", "5", 5),
        ("model.kernel_size", "(3,5)", (3, 5)),
        ("model.hidden_dropout", 0.5, 0.5),
        ("model.hidden_dropout", [0.5, 0.1], (0.5, 0.1)),
        ("documented.test_loss", "0.02", 0.02),
        ("documented.test_loss", "None", None),
        ("epochs", "1e3", 1000),
    ],
)
def test_values_take_the_type_of_their_field(field, given, value):
    converted = convert(field, given)
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    "field, given, accepted",
    [
        ("optimizer.learning_rate", "fast", "a finite number above 0"),
        ("optimizer.learning_rate", "true", "a finite number above 0"),
        ("optimizer.momentum", 10**400, "a finite number from 0 to below 1"),
        ("seed", "1.5", "a whole number from 0"),
        ("seed", "1e400", "a whole number from 0"),
        ("optimizer.nesterov", "1", "true or false"),
        ("model.hidden", "32", "a tuple such as"),
        ("model.hidden", "(" * 1000, "a tuple such as"),
        ("model.kernel_size", "big", "a whole number from 1, or a tuple with one for each"),
        ("optimizer.name", 3, "one of adam, lion, muon, rmsprop, sgd"),
    ],
)
def test_values_of_another_type_are_refused(field, given, accepted):
    with pytest.raises(UserError) as error:
        convert(field, given)
    assert f"--sweep.{field} has the value {given!r}, but it must be {accepted}" in str(error.value)


@pytest.mark.parametrize(
    "field, hint",
    [
        ("optimizer.learning_rat", "did you mean --sweep.optimizer.learning_rate?"),
        ("optimiser.learning_rate", "did you mean --sweep.optimizer.learning_rate?"),
        ("sead", "did you mean --sweep.seed?"),
        ("optimizer", "is a section"),
        ("seed.x", "there is no field"),
    ],
)
def test_unknown_fields_name_the_nearest(field, hint):
    with pytest.raises(UserError) as error:
        convert(field, "1")
    assert hint in str(error.value)


@pytest.mark.parametrize(
    "value, name",
    [
        ("last(10000)", "last-10000"),
        ("random(0.1666666, 3)", "random-0.1666666-3"),
        ("log(1e-4,1e-1)", "log-1e-4-1e-1"),
        ("0:10", "0..10"),
        ("1e-3,3e-3", "1e-3,3e-3"),
        ("(8,),(16,)", "8,16"),
        ((8, 4), "8-4"),
        ((8,), "8"),
        (1e-05, "1e-05"),
        (-2, "-2"),
        (True, "True"),
        ("./mydata", "mydata~*"),
        ("/home/me/mydata/", "mydata~*"),
        (((32,), (64,)), "32-64~*"),
        ("a b$(c)", "ab-c~*"),
    ],
)
def test_a_value_in_a_name_is_short(value, name):
    digest = f"{zlib.crc32(str(value).replace(' ', '').encode()):08x}"
    assert value_name(value, "model.hidden") == name.replace("*", digest)


TEXTS = st.one_of(
    st.text("()[]{}<>,:;.-+=_~/\\|*?!$&%#@^`\"' 01eax\n", max_size=8),
    st.sampled_from(["last(1)", "last-1", "1:2", "1..2", "(1,2)", "1-2", "(1,)", "1", "f(1,-2)", "f(1--2)", "LAST(1)"]),
    st.text(max_size=4),
)


@given(TEXTS, TEXTS)
def test_values_that_differ_have_names_that_differ_and_need_no_quotes(one, other):
    names = [folder_name({"data.name": text, "seed": 0}) for text in (one, other)]
    assert all(re.fullmatch(r"data\.name=[A-Za-z0-9_.,+~-]*,seed=0", name) for name in names)
    if one.replace(" ", "") != other.replace(" ", ""):
        assert names[0] != names[1]
    if one.lower() == other.lower() and one != other and one.lower() not in ("none", "true", "false"):
        assert names[0].lower() != names[1].lower()


@given(*[st.tuples(st.floats(), st.lists(st.integers(0, 40), max_size=3).map(tuple), st.integers())] * 2)
def test_points_that_differ_have_names_that_differ(one, other):
    fields = "optimizer.learning_rate", "model.hidden", "seed"
    names = [folder_name(dict(zip(fields, values)), short=True) for values in (one, other)]
    assert (names[0] == names[1]) == (str(one) == str(other))


def test_short_names_are_the_last_part_where_no_field_ends_alike():
    values = {"optimizer.learning_rate": 1e-3, "data.name": "mnist", "seed": 0}
    assert folder_name(values, short=True) == "learning_rate=0.001,data.name=mnist,seed=0"


def test_names_can_be_folders_whatever_their_length():
    assert folder_name({"data.validation": "last(37)", "epochs": 3}) == "data.validation=last-37,epochs=3"
    long = [folder_name({f"field_{i}": i for i in range(60)} | {"seed": seed}) for seed in (0, 1)]
    assert long[0] != long[1] and len(long[0]) <= 120


@pytest.mark.parametrize(
    "name, expected",
    [
        ("simple_cnn,epochs=3", None),
        ("größe 三,seed=0..3", None),
        ("control", None),
        ("console.log", None),
        ("con", "con~*"),
        ("NUL.txt", "NUL~*.txt"),
        ("com1", "com1~*"),
        ("a.", "a~*"),
        ("a ", "a~*"),
        ('what?:<"a|b">', "what----a-b--~*"),
        ("a\x00\n", "a--~*"),
        ("x" * 300, "x" * 246 + "~*"),
        ("三" * 100, "三" * 82 + "~*"),
    ],
)
def test_folders_have_names_that_every_system_can_hold(name, expected):
    made = portable_name(name)
    digest = f"{zlib.crc32(name.encode()):08x}"
    assert made == (expected or name).replace("*", digest)
    assert len(made.encode()) <= 255 and portable_name(made) == made


def test_names_differ_that_only_one_system_tells_apart():
    names = ["a:b", "a?b", "a-b", "con", "con~", "nul", "x" * 300, "x" * 301, "a.", "a..", "a"]
    assert len({portable_name(name).lower() for name in names}) == len(names)
