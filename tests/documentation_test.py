"""README and docs: every command can be given, every link leads somewhere, every path and import exists."""

import ast
import functools
import importlib
import importlib.util
import inspect
import itertools
import re
import shlex
import subprocess
import sys
import typing
from unittest import mock

from absl import flags
from ml_collections import config_flags
import pytest

from digits.__main__ import COMMANDS
from digits.errors import UserError
from digits.runs import loading
from digits.sweeps import points
from digits.training import train
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections calls it.
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/RESULTS.md")]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))
OURS = ("digits", "configs", "experiments", "benchmarks", "tests")
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
LOADED = {"run": loading.Run, "ensemble": loading.Ensemble}  # By their names on the pages.
LISTED = re.compile(r"(?:\d+[.)]|[-+*]) ")  # How an item of a list begins.
# The reader puts a name of their own in its place: configs/NAME.py, --config.seed=SEED, --workdir=FOLDER.
PLACEHOLDER = re.compile(r"\b(FIELD|FILE|FOLDER|NAME|SEED|yours)\b")


def parts(text):
    """(lines of the code blocks, blocks of Python, spans of code) of a Markdown page."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    blocks = fence.findall(text)
    lines = [line.strip() for _, block in blocks for line in block.replace("\\\n", " ").splitlines()]
    python = [block for language, block in blocks if language == "python"]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", fence.sub("", text))]
    return lines, python, spans


def mistakes(page):
    """A sentence for each thing on the page that does not exist or is not accepted."""
    text = page.read_text()
    lines, python, spans = parts(text)
    for line in dict.fromkeys([*lines, *spans]):
        if re.match(r"!?(?:[\w./-]*python[\d.]*|make|pip|digits) ", line):
            for command in line.removeprefix("!").split(" && "):
                yield from (f"{line}: {mistake}" for mistake in in_command(shlex.split(command, comments=True)))
        elif line.startswith("--") and line in spans:
            yield from (f"{line}: {mistake}" for mistake in in_flags(shlex.split(line)))
    for span in spans:
        if span.startswith(tuple(f"{folder}/" for folder in (*OURS, "docs"))) and re.fullmatch(r"[\w./-]+", span):
            yield from missing_path(span)
    for block in python:
        yield from in_imports(ast.parse(block))
        loaded = {name: LOADED[name] for name in LOADED if re.search(rf"^{name} = digits\.(load|train)\(", block, re.M)}
        yield from in_calls(ast.parse(block), loaded)
    for span in spans:
        if re.match(rf"(digits|{'|'.join(LOADED)})\.\w", span):
            yield from in_calls(ast.parse(f"import digits; {span}"), LOADED)
    for line, after in itertools.pairwise(text.splitlines()):
        if re.match(r"[\w`(*]", line) and not re.match(LISTED, line) and re.match(LISTED, after):
            yield f"Markdown makes an item of a list of the line: {after}"
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        yield from in_link(page, target)


def in_command(words):
    program, *words = words
    if program == "make":
        yield from in_make(words)
    elif program == "pip" or words[:2] == ["-m", "pip"]:
        yield from (mistake for file in words if file.endswith(".txt") for mistake in missing_path(file))
    elif program == "digits":
        command, *arguments = words[1:] if words[0] == "help" else words
        if command in COMMANDS:
            yield from in_module(f"digits.{'main' if command == 'train' else command}", *arguments)
        else:
            yield f"there is no command digits {command}"
    elif words[:1] == ["-m"]:
        yield from in_module(*words[1:])
    else:
        yield "it runs no module"


def in_make(words):
    values = dict(word.split("=", 1) for word in words if "=" in word)
    targets = [word for word in words if "=" not in word]
    yield from (f"there is no target {target}" for target in targets if target not in TARGETS)
    arguments = shlex.split(values.get("ARGS", ""))
    if targets == ["train"]:
        yield from in_module("digits.main", f"--config={values.get('CONFIG', 'configs/quickstart.py')}", *arguments)
    elif targets == ["test"]:
        yield from in_module("pytest", *arguments)


def in_module(module, *arguments):
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(module) is None:
        yield f"there is no module {module}"
        return
    if package in OURS:
        given = [argument for argument in arguments if argument.startswith("--")]
        yield from in_config([flag for flag in given if re.match(r"--(config|sweep)\b", flag)])
        names = [flag[2:].partition("=")[0] for flag in given if not re.match(r"--(config|sweep)[.=]", flag)]
        yield from (f"{module} has no flag --{name}" for name in names if name not in flags_of(module))
    yield from (
        mistake
        for argument in arguments
        if argument.startswith(tuple(f"{folder}/" for folder in OURS)) and "=" not in argument
        for mistake in missing_path(argument)
    )


@functools.cache
def flags_of(module):
    """The names of a module's flags, from its --help."""
    command = [sys.executable, "-m", module, "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False).stdout
    listed = re.findall(r"^ *(?:-\w, )?--(?:\[no\])?(\w+)", text, re.MULTILINE)
    return {"help"} | {name for flag in listed for name in (flag, f"no{flag}")}


def in_config(given):
    """Mistakes in --config=FILE, --config.FIELD=VALUE and --sweep.FIELD=VALUES, read as the commands read them."""
    file = next((flag.removeprefix("--config=") for flag in given if flag.startswith("--config=")), None)
    if file is None or PLACEHOLDER.search(file):
        file = "configs/simple_cnn.py"
    if re.fullmatch(r"\w+", file):
        file = f"configs/{file}.py"
    if found := list(missing_path(file)):
        yield from found
        return
    known = [flag for flag in given if not PLACEHOLDER.search(flag) and not flag.startswith("--config=")]
    swept = [flag.removeprefix("--sweep.").split("=", 1) for flag in known if flag.startswith("--sweep.")]
    try:
        values = {field: points.parse(field, text) for field, text in swept}
        ends = {f: [v.low, v.high] if isinstance(v, points.Range) else v for f, v in values.items()}
        trained = [flag for flag in known if flag.startswith("--config.")]
        for index in range(max(map(len, ends.values()), default=1)):
            point = [f"--config.{field}={several[index % len(several)]}" for field, several in ends.items()]
            train.check(read(file, trained + point))
    except (UserError, AttributeError, flags.Error) as error:
        yield str(error)


def read(file, overrides):
    """The config of a file with overrides such as --config.epochs=3."""
    own = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=own)
    argv = ["documentation", f"--config={ROOT / file}", *overrides]
    with mock.patch.object(sys, "argv", argv):  # Where ml_collections looks for the overrides.
        own(argv)
    return own["config"].value


def in_flags(words):
    """Mistakes in flags that stand without their command; one without a value is only named."""
    for flag in (word for word in words if word.startswith("--")):
        name, _, value = flag[2:].partition("=")
        section, _, field = name.partition(".")
        if PLACEHOLDER.search(name) or (section == "config" and not field):
            continue
        if section in ("config", "sweep"):
            node = read("configs/base.py", [])
            try:
                functools.reduce(getattr, field.split("."), node)
            except AttributeError:
                yield f"there is no field {field}"
                continue
            if section == "config" and value and not PLACEHOLDER.search(value):
                try:
                    read("configs/base.py", [flag])
                except flags.Error as error:
                    yield str(error)
        elif not any(name in flags_of(module) for module in MODULES):
            yield f"no command has a flag --{name}"


def in_imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in OURS:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                module = importlib.import_module(node.module)
                if not hasattr(module, alias.name) and importlib.util.find_spec(whole) is None:
                    yield f"there is no {whole} to import"


def in_calls(tree, known):
    """Attributes of our modules and of loaded runs that do not exist, and calls that their signatures refuse."""
    known = dict(known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname or a.name: importlib.import_module(a.name) for a in node.names if a.name in OURS}
        elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in OURS:
            module = importlib.import_module(node.module)
            known |= {a.asname or a.name: getattr(module, a.name) for a in node.names if hasattr(module, a.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (owner := meant(node.value, known)) is not None:
            if not has(owner, node.attr):
                yield f"{ast.unparse(node.value)} has no {node.attr}"
        elif isinstance(node, ast.Call) and callable(function := meant(node.func, known)):
            owner = meant(node.func.value, known) if isinstance(node.func, ast.Attribute) else None
            itself = [None] if inspect.isclass(owner) else []
            try:
                keywords = {key.arg: key.value for key in node.keywords}
                inspect.signature(function).bind(*itself, *node.args, **keywords)
            except TypeError as error:
                yield f"{ast.unparse(node.func)}: {error}"


def meant(node, known):
    """What an expression is of ours: a module, a function or, for a value, its class; None if that is not known."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = meant(node.value, known)
        found = getattr(owner, node.attr, None)
        return found if inspect.ismodule(found) or callable(found) else class_of(getattr(found, "fget", None))
    return class_of(meant(node.func, known)) if isinstance(node, ast.Call) else None


def class_of(function):
    """The class of ours that a function returns, by its annotation."""
    found = typing.get_type_hints(function).get("return") if inspect.isfunction(function) else function
    return found if inspect.isclass(found) and found.__module__.startswith(OURS) else None


def has(owner, name):
    """Whether a module or class has the attribute, or a package the module."""
    if inspect.ismodule(owner) and hasattr(owner, "__path__") and importlib.util.find_spec(f"{owner.__name__}.{name}"):
        return True
    return hasattr(owner, name) or name in getattr(owner, "__annotations__", {})


def missing_path(path):
    if not PLACEHOLDER.search(path) and ".venv" not in path and not (ROOT / path).exists():
        yield f"there is no {path}"


def in_link(page, target):
    """The file must be there, and have the heading or the anchor. Links to the web are not followed."""
    if re.match(r"https?://|mailto:", target):
        return
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        yield f"the link {target} leads to no file"
    elif anchor and anchor not in anchors(file.read_text()):
        yield f"the link {target} leads to no heading"


def anchors(text):
    """The places of a page to which links can lead: its headings, as GitHub names them, and `<a id="...">`."""
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    named = [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
    return {*named, *re.findall(r'<a id="([^"]+)">', text)}


# The commands of the pages, those of digits first.
MODULES = sorted(
    {
        module
        for page in PAGES
        for module in re.findall(r"python -m ([\w.]+)", page.read_text())
        if module.startswith(("digits.", "experiments."))
    }
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    assert list(mistakes(page)) == []


def test_the_pages_have_commands_calls_flags_and_links():
    text = "\n".join(page.read_text() for page in PAGES)
    lines, python, spans = parts(text)
    assert sum("python -m digits." in line for line in lines) >= 20 and len(python) >= 4
    assert sum(span.startswith("--") for span in spans) >= 50
    assert len(re.findall(r"\]\(", text)) >= 50


def test_the_readme_is_short_and_its_picture_light():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    (picture,) = re.findall(r"\]\((docs/images/\S+)\)", text)
    assert (ROOT / picture).stat().st_size < 300_000


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("```\npython -m digits.mian\n```", "there is no module digits.mian"),
        ("`python -m digits.predict --workdr=x`", "digits.predict has no flag --workdr"),
        ("`python -m digits.main --config=configs/none.py`", "there is no configs/none.py"),
        ("`python -m digits.main --config=none`", "there is no configs/none.py"),
        ("`python -m digits.main --config=configs/deep_cnn.py --config.epoch=3`", "epoch"),
        ("`python -m digits.main --config=configs/deep_cnn.py --config.epochs=-3`", "epochs"),
        ("`python -m digits.main --config=configs/deep_cnn.py --config.epochs=x`", "epochs"),
        ("```\npython -m digits.sweep --config=configs/deep_cnn.py \\\n  --sweep.epochs=3,x\n```", "epochs"),
        ('`make train ARGS="--config.epoch=3"`', "epoch"),
        ("`digits tain --config=simple_cnn`", "there is no command digits tain"),
        ("`digits train --config=simple_cnn --config.epoch=3`", "epoch"),
        ("`make tests`", "there is no target tests"),
        ("`python -m pytest tests/none_test.py`", "there is no tests/none_test.py"),
        ("`pip install -r none.txt`", "there is no none.txt"),
        ("`--config.model.kernel=3`", "there is no field model.kernel"),
        ("`--nothing`", "no command has a flag --nothing"),
        ("`digits/nothing.py`", "there is no digits/nothing.py"),
        ("```python\nfrom digits import nothing\n```", "there is no digits.nothing to import"),
        ("```python\nimport digits\ndigits.lode('runs/x')\n```", "digits has no lode"),
        ("```python\nimport digits\ndigits.load()\n```", "digits.load: missing a required argument"),
        ("```python\nrun = digits.load('x')\nrun.predikt(images)\n```", "run has no predikt"),
        ("```python\nrun = digits.load('x')\nrun.plot(3)\n```", "run.plot: too many positional arguments"),
        ("```python\nrun = digits.load('x')\nrun.evaluate().mistake()\n```", "run.evaluate() has no mistake"),
        ("```python\nensemble = digits.load('x')\nensemble.logits(images)\n```", "ensemble has no logits"),
        ("`digits.lode`", "digits has no lode"),
        ("`run.plot(3)`", "run.plot: too many positional arguments"),
        ("```\nnext:\n  python -m digits.mian\n```", "there is no module digits.mian"),
        ("The exit code is\n1. The next", "Markdown makes an item of a list of the line: 1. The next"),
        ("```python\nfrom digits import data\ndata.load(nam='mnist')\n```", "data.load: missing a required"),
        ("[a](nothing.md)", "the link nothing.md leads to no file"),
        ('# One, two\n<a id="x"></a> [a](#one-two) [b](#x) [c](#two)', "the link #two leads to no heading"),
    ],
)
def test_a_mistake_is_found(text, mistake, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    [found] = mistakes(page)
    assert mistake in found
