"""The examples in docstrings: they parse, what they call exists and takes their arguments, and comparisons are true."""

import ast
import builtins
import importlib
import inspect
import re
from typing import NamedTuple

import numpy as np
import pytest

import digits
from tests.conftest import ROOT

LONG = 20  # A public function whose body has as many lines needs an example.


class Public(NamedTuple):
    """A public function, method or class: its module, its dotted name there, its docstring, the lines of its body."""

    module: str
    name: str
    doc: str
    lines: int


def public():
    """Every public function of digits, and every public method of its public classes."""
    for path in sorted((ROOT / "digits").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield from below(ast.parse(path.read_text()), module, ())


def below(node, module, parents):
    for child in node.body:
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef)) or child.name.startswith("_"):
            continue
        name = (*parents, child.name)
        if isinstance(child, ast.ClassDef):
            yield Public(module, ".".join(name), ast.get_docstring(child) or "", 0)
            yield from below(child, module, name)
        else:
            doc = ast.get_docstring(child)
            body = child.body[bool(doc) :]
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            yield Public(module, ".".join(name), doc or "", lines)


def examples(function):
    """The pieces of Python in a docstring: paragraphs of code, and calls of the function itself within a sentence."""
    for paragraph in re.split(r"\n\s*\n", function.doc):
        code = inspect.cleandoc(paragraph)
        if (tree := parsed(code)) and calls(tree):
            yield code
    own = function.name.rpartition(".")[2]
    for match in re.finditer(rf"(?<![\w.]){own}\(" if own else "(?!)", function.doc):
        text = function.doc[match.start() :]
        pieces = (text[: place.end()] for place in re.finditer(r"\)", text))
        if call := next(filter(parsed, pieces), None):
            value = re.match(r" is (.+?)\.?$", re.split(r"\.\s", text[len(call) :])[0])
            yield f"{call} == {value[1]}" if value and parsed(value[1]) else call


def parsed(code):
    try:
        return ast.parse(code)
    except SyntaxError:
        return None


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def documented():
    """Every module, public class and public function of digits that has a docstring."""
    for path in sorted((ROOT / "digits").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield Public(module, "", ast.get_docstring(ast.parse(path.read_text())) or "", 0)
    yield from public()


def mistakes(function, code):
    """A sentence for each call that does not exist or does not take its arguments, and for a comparison that is false.

    A name that the module does not have, such as `run` or `images`, is of a value that the reader has.
    """
    tree = ast.parse(code)
    known = vars(builtins) | {"np": np, "digits": digits} | vars(importlib.import_module(function.module))
    for name in {node.func.id for node in calls(tree) if isinstance(node.func, ast.Name)} - set(known):
        if found := next((other for other in public() if other.name == name), None):
            known[name] = getattr(importlib.import_module(found.module), name)
    given = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for call in calls(tree):
        text = ast.unparse(call.func)
        called, problem = resolved(call.func, {name: value for name, value in known.items() if name not in given})
        if problem or (called is None and isinstance(call.func, ast.Name) and text not in given):
            yield f"there is no {text}"
        elif called is not None and not takes(called, call):
            yield f"{text} does not take these arguments"
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    (statement, *others) = tree.body
    comparison = not others and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Compare)
    if comparison and names <= set(known) and "Path(" not in code and not eval(code, dict(known)):
        yield "it is false"


def resolved(node, known):
    """(the object that a dotted name means, whether it lacks a part); None where its first part is not known."""
    if isinstance(node, ast.Name):
        return known.get(node.id), False
    if isinstance(node, ast.Attribute):
        owner, problem = resolved(node.value, known)
        if owner is None or problem:
            return None, problem
        return getattr(owner, node.attr, None), not hasattr(owner, node.attr)
    return None, False


def takes(called, call):
    """Whether a call's arguments fit the signature; yes where there is no signature, or an argument is `*many`."""
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return True
    if any(isinstance(argument, ast.Starred) for argument in call.args) or None in [k.arg for k in call.keywords]:
        return True
    try:
        signature.bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})
    except TypeError:
        return False
    return True


EXAMPLES = [(function, code) for function in documented() for code in dict.fromkeys(examples(function))]


@pytest.mark.parametrize("function, code", EXAMPLES, ids=[f"{f.module}.{f.name}" for f, _ in EXAMPLES])
def test_an_example_calls_what_exists_and_is_true(function, code):
    assert not list(mistakes(function, code)), code


def test_every_public_function_of_any_size_has_an_example():
    lacking = []
    for function in public():
        own = function.name
        shown = any(re.search(rf"\b{own}\(", code) for code in examples(function))
        if function.lines >= LONG and "." not in own and not shown:  # The use of a method is shown by its class.
            lacking.append(f"{function.module}.{own}")
    assert not lacking


@pytest.mark.parametrize(
    "code, mistake",
    [
        ("summarise([0.98, 0.99])", ["there is no summarise"]),
        ("statistics.summarise(values)", []),  # `statistics` may be the reader's.
        ("digits.lode('runs/simple_cnn').predict(images)", ["there is no digits.lode"]),
        ("summarize([0.98], digits=2)", ["summarize does not take these arguments"]),
        ("wilson(correct)", ["wilson does not take these arguments"]),
        ("str(summarize([0.98, 0.99])) == '0.9850 ± 0.0070'", ["it is false"]),
        ("str(summarize([0.98, 0.99])) == '0.9850 ± 0.0071'", []),
        ("found = summarize(values)\nprint(found.interval(), run.logits(images))", []),
    ],
)
def test_a_wrong_example_is_found(code, mistake):
    assert list(mistakes(Public("digits.analysis.statistics", "summarize", "", 0), code)) == mistake


def test_examples_are_found_in_paragraphs_and_in_sentences():
    doc = """Adds: add(1, (2)) is 3. Mentions `add()` and others.

        total = add(1, 2)

    Args:
      one: a number (the first).
    """
    found = [*examples(Public("m", "add", inspect.cleandoc(doc), 0))]
    assert found == ["total = add(1, 2)", "add(1, (2)) == 3", "add()", "add(1, 2)"]
    assert len(EXAMPLES) > 60
