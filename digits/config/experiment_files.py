"""Finds and executes the files of experiments, and says where one of them is wrong. Needs no JAX.

An experiment is named, or given as a file, with an argument for its get_config() or without:

    load("simple_cnn")                  # configs/simple_cnn.py, here or in the checkout of this code
    load("somewhere/mine.py:wide")      # calls get_config("wide")
"""

import ast
from collections.abc import Iterator
import difflib
import functools
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import re
import sys
import textwrap
import traceback
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from digits.config.fields import FIELDS
from digits.config.suggestions import fields_called, nearest, question
from digits.config.values import folder_name, folder_name_before, missing_fields, portable_name, value_name
from digits.errors import UserError, reason

_CHECKOUT = pathlib.Path(__file__).resolve().parents[2]  # Has configs/, unless this code is an installed wheel.


class Given(NamedTuple):
    """An experiment as a command line gives it.

    Attributes:
      config: the config, locked, with its changes.
      module: the file that made it, executed.
      origin: for the run's record: {"config_file": "FILE.py" or "FILE.py:ARGUMENT", "overrides": values by field}.
      swept: the texts of `--sweep.FIELD=TEXT`, by field.
    """

    config: ConfigDict
    module: Any
    origin: dict[str, Any]
    swept: dict[str, str]


def default_workdir(origin: dict[str, Any], ending: str = "", more: dict[str, Any] | None = None) -> str:
    """The folder in which the same command finds its run again: runs/two_conv,epochs=3,model.kernel_size=5.

    If there is a folder with the name that an earlier version gave, the command goes on in that one.

    Args:
      origin: the experiment and its changes, see `Given`.
      ending: follows the experiment's name.
      more: other things that tell runs apart, by name, which come first; fields then have their short names, and the
        folder's name may be longer.
    """
    file, _, argument = origin["config_file"].partition(":")
    changed, more, longest = dict(sorted(origin["overrides"].items())), more or {}, 180 if more else 120

    def name(*parts: str) -> str:
        return ",".join(filter(None, [pathlib.Path(file).stem + ending, *parts]))

    before = name(re.sub(r"[^\w.+=-]", "_", argument), folder_name_before(changed | more, longest))
    now = name(argument and value_name(argument), folder_name(more | changed, longest, short=bool(more)))
    runs = pathlib.Path("runs")
    return str(next((runs / one for one in (before, now) if os.path.exists(runs / one)), runs / portable_name(now)))


def load(given: str) -> tuple[str, ConfigDict, ModuleType]:
    """Executes the file of an experiment, once, and calls its get_config().

        file, config, module = load("simple_cnn")

    Args:
      given: a name, FILE.py, or either with :ARGUMENT for get_config().

    Returns:
      The file (with :ARGUMENT), the config and the executed module.

    Raises:
      UserError: there is no such file, or it makes no config; with the line that fails.
    """
    name, colon, argument = given.partition(":")
    file = _find(name)
    loader = importlib.machinery.SourceFileLoader("experiment_file", str(file))  # Whatever its name ends with.
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # Dataclasses look their module up there.
    _make_configs_importable(file)
    try:
        loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"{file} has no function get_config(), which must return the config.")
        takes = bool(inspect.signature(module.get_config).parameters)
        if colon and not takes:
            raise UserError(
                f"--config is {given!r}, but get_config() of {file} takes no argument: write --config={name}."
            )
        config = module.get_config(argument) if colon else module.get_config()
    except UserError:
        raise
    except Exception as error:  # Whatever the file raises.
        raise UserError(_mistake(error, str(file))) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"get_config() of {file} must return a config, as base.get_config() of configs/ makes it.")
    if lacking := missing_fields(config):
        raise UserError(f"The config of {file} has no field {lacking[0]!r}: begin with base.get_config() of configs/.")
    return f"{file}{colon}{argument}", config, module


def listing(columns: int | None = None) -> str:
    """Lists the experiments that have names, with the first sentence and the figures of each, and how one is trained.

    An experiment has a line, or where one of them would be longer than `columns`, several: print(listing(79)).
    """
    about = {name: " ".join((ast.get_docstring(tree) or "").split()) for name, tree in _experiments()}
    width = max(map(len, about), default=0)
    heads = [f"  {name:{width}}  {_figures(text):16}  " for name, text in about.items()]
    sentences = list(map(_first_sentence, about.values()))
    lines = list(map("".join, zip(heads, sentences)))
    if columns and columns < max(map(len, lines), default=0):
        fill = functools.partial(textwrap.fill, width=columns, initial_indent="      ", subsequent_indent="      ")
        lines = [f"{head.rstrip()}\n{fill(sentence)}" for head, sentence in zip(heads, sentences)]
    found = "The experiments of configs/, with mean test accuracy and seconds on two cores:"
    return "\n".join(
        [
            found if lines else "There is no folder configs/ with experiments here.",
            *lines,
            "",
            "python -m digits.main --config=NAME                      trains one",
            "python -m digits.main --config=NAME --config.epochs=3    changes a field of it",
            "python -m digits.main --config=NAME --fields             lists its fields",
            "python -m digits.main --help                             lists the flags",
        ]
    )


def _experiments() -> Iterator[tuple[str, ast.Module]]:
    """The names and the parsed files of the experiments, which are not executed, sorted."""
    files = {path.stem: path for folder in reversed(_folders()) for path in folder.glob("*.py")}
    for name, path in sorted(files.items()):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        if name != "base" and "get_config" in functions:
            yield name, tree


def _folders() -> list[pathlib.Path]:
    """The folders in which an experiment's name is looked for, first to last."""
    return [pathlib.Path("configs"), _CHECKOUT / "configs"]


def _first_sentence(text: str) -> str:
    match = re.match(r".*?\.(?=\s|$)", text)
    return match[0] if match else text


def _figures(text: str) -> str:
    """The reproduced test accuracy in a docstring, and the seconds of a run: "0.9372    8 s"; "" if it has none."""
    match = re.search(r"Reproduced: test accuracy (\d\.\d{4}) .*?, ([\d,]+) s each", text)
    return f"{match[1]}  {match[2]:>6} s" if match else ""


def _find(name: str) -> pathlib.Path:
    """The file of an experiment's name or path; UserError, with the nearest names, if there is none."""
    path = pathlib.Path(name).expanduser()
    for there in (path, path.with_name(f"{path.name}.py")):
        if there.is_file() and path.name:
            return there
    is_name = re.fullmatch(r"\w+", name)
    if is_name:
        for folder in _folders():
            if (folder / f"{name}.py").is_file():
                return folder / f"{name}.py"
    near = difflib.get_close_matches(path.stem, [known for known, _ in _experiments()], 3)
    hint = question(near, "; digits.main without arguments lists the experiments.")
    what = "experiment of that name" if is_name else "such file"
    raise UserError(f"--config is {name!r}, but there is no {what}{hint}")


def _make_configs_importable(file: pathlib.Path) -> None:
    """Lets the file import `configs.base` also where the command runs outside of the checkout.

    A folder configs/ in the current folder comes first, except for the checkout's own experiments.
    """
    if (_CHECKOUT / "configs" / "base.py").is_file():
        place = 0 if file.is_absolute() and file.is_relative_to(_CHECKOUT) else len(sys.path)
        if str(_CHECKOUT) not in sys.path[: place + 1]:
            sys.path.insert(place, str(_CHECKOUT))


def _mistake(error: Exception, file: str) -> str:
    """A sentence for an error that a config file raised, with the line of it, or of a config that it uses."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno or 1}: {error.msg}."
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.name == "get_config" or "/configs/" in f.filename or f.filename == file]
    where = f"{own[-1].filename}, line {own[-1].lineno}" if own else file
    if own and isinstance(error, AttributeError) and (unknown := _unknown_field(own[-1].line or "")):
        near = [f"config.{field}" for field in fields_called(unknown)] or map(repr, nearest(unknown, _parts())[:3])
        return f"{where}: there is no field {unknown!r}{question(near, '; configs/base.py lists them all.')}"
    return f"{where}: {reason(error, with_type=True)}."


def _unknown_field(line: str) -> str | None:
    """The first attribute in a line of Python that is no field, no called method and no attribute of every config."""
    for name in re.findall(r"\.(\w+)\b(?!\()", line):
        if name not in _parts() and not hasattr(ConfigDict, name):
            return name
    return None


def _parts() -> list[str]:
    """The names of fields and sections, without dots."""
    return sorted({part for name in FIELDS for part in name.split(".")})
