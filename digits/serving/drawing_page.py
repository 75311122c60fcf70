"""Makes the page to draw digits on: one HTML file with the network inside, for `digits.demo` and `digits.export`.

The page's parts lie in page/: page.html has places for the others. arrays.js, ink.js and mnist_form.js bring a drawing
into MNIST's form as `digits.data.pictures` does, network.js computes what `digits.models` does, and layers.js shows it.
paper.js is drawn on, asking.js has the paper read, and answer.js shows the answer, also of a broken network.
"""

import base64
from collections.abc import Iterator
import hashlib
import json
import pathlib
import re
from typing import Any

from flax import nnx
import jax
import jinja2
import numpy as np

from digits.analysis import statistics
from digits.errors import UserError
from digits.models import layers, summary
from digits.runs import loading
from digits.serving import reading

MOST_PARAMETERS = 2**25  # A file of 180 MB in float32; browsers take twice as much.
_FOLDER = pathlib.Path(__file__).parent / "page"
_SCRIPTS = [f"{name}.js" for name in ("arrays", "ink", "mnist_form", "network", "layers", "paper", "asking", "answer")]
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)  # fmt: skip
_templates.policies["json.dumps_kwargs"] = {"sort_keys": False}  # The order of the arrays is that of the weights.
_ABOUT = re.compile(r'<script type="application/json" id="about">(.*)</script>')
_WEIGHTS = re.compile(r'<script type="text/plain" id="weights">(.*)</script>')


def render(about: dict[str, Any], weights: str = "", **directives: str) -> tuple[str, str]:
    """Makes the page.

        page, policy = render(about, weights, connect_src="'self'")

    Args:
      about: everything that the page's scripts know about the run, for JSON; any text in it is shown as text.
      weights: those of about["network"], as `pack` writes them.
      directives: directives of the page's policy, in place of its own: connect_src="'self'".

    Returns:
      The HTML, and its Content-Security-Policy: the page runs and shows nothing but its own parts, and asks nobody.
    """
    scripts = [(_FOLDER / name).read_text() for name in _SCRIPTS]
    script, style = '"use strict";\n' + "\n".join(scripts), (_FOLDER / "style.css").read_text()
    allowed = {
        "default_src": "'none'", "script_src": _hash(script), "style_src": _hash(style), "img_src": "data: blob:",
        "base_uri": "'none'", "form_action": "'none'",
    } | directives  # fmt: skip
    policy = "; ".join(f"{name.replace('_', '-')} {sources}" for name, sources in allowed.items())
    page = _templates.get_template("page.html").render(
        about=about, weights=weights, script=script, style=style, policy=policy
    )
    return page, policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def facts(run: loading.Run | loading.Ensemble, name: str = "") -> list[str]:
    """Lists the run's name, test accuracy and seed; of an ensemble those of its members."""
    runs = reading.members(run)
    results = [one.result or {} for one in runs]
    names = {pathlib.PurePath(result["config_file"]).stem for result in results if result.get("config_file")}
    accuracies = [result["test_accuracy"] for result in results if result]
    seeds = sorted({one.config.seed for one in runs})
    found = [name or (names.pop() if len(names) == 1 else "a network")]
    if len(runs) > 1:
        return [*found, f"{len(runs)} runs together", f"each alone: test accuracy {statistics.summarize(accuracies)}"]
    if accuracies:
        found.append(f"test accuracy {accuracies[0]:.4f}")
    else:
        found.append(f"not finished: epoch {runs[0].epoch} of {runs[0].config.epochs}")
    return [*found, f"seed {seeds[0]}"]


def network(run: loading.Run, precision: str) -> tuple[dict[str, Any], str]:
    """Describes a run's network for network.js, with its weights as base64 text.

    Args:
      run: a run.
      precision: "float32", or "float16" for half the size.

    Raises:
      UserError: it is too large for a page, or has a layer that has no rule here.
    """
    if run.parameters > MOST_PARAMETERS:
        raise UserError(f"The page holds networks of up to {MOST_PARAMETERS:,} parameters, not of {run.parameters:,}.")
    described, arrays = [], []
    operations = (one for name in run.model.names for one in _operations(name, getattr(run.model, name)))
    for row, (kind, fields, own) in zip(summary.describe(run.model), operations, strict=True):
        shapes = {name: array.shape for name, array in own.items()}
        parameters = row.trainable + row.rest
        described.append(
            {"name": row.name, "kind": kind, "output": row.output, "parameters": parameters, "arrays": shapes} | fields
        )
        arrays += own.values()
    with np.errstate(over="ignore"):  # Then the page's probabilities say so.
        flat = np.concatenate([array.ravel() for array in arrays]).astype(f"<f{2 if precision == 'float16' else 4}")
    about = {"layers": described, "normalization": run.config.data.normalization, "precision": precision}
    return about, base64.b64encode(flat.tobytes()).decode()


def _operations(name: str, layer: nnx.Module) -> Iterator[tuple[str, dict[str, Any], dict[str, np.ndarray]]]:
    """Yields kind, fields and arrays of a layer's operations; a block's pooling is one of its own."""
    if isinstance(layer, (layers.ConvBlock, layers.Depthwise)):
        fields = {"size": layer.kernel.shape[0], "stride": layer.stride, "padding": layer.padding}
        if isinstance(layer, layers.Depthwise):
            yield "depthwise", fields, _arrays(kernel=layer.kernel)
            return
        yield "conv", fields | {"activation": layer.activation}, _arrays(kernel=layer.kernel, bias=layer.bias)
        if layer.window:
            yield _pooling(layer.window)
    elif isinstance(layer, layers.MaxPool):
        yield _pooling(layer.window)
    elif isinstance(layer, layers.Linear):
        yield "dense", {"activation": layer.activation}, _arrays(kernel=layer.kernel, bias=layer.bias)
    elif isinstance(layer, layers.BatchNorm):
        of = _arrays(scale=layer.scale, bias=layer.bias, mean=layer.mean, var=layer.var)
        factor = of["scale"] / np.sqrt(of["var"] + layer.epsilon)
        yield "batch_norm", {}, {"factor": factor, "offset": of["bias"] - of["mean"] * factor}
    elif isinstance(layer, layers.GlobalPool):
        yield "global_pool", {"pool": layer.kind}, {}
    elif isinstance(layer, layers.Flatten):
        yield "flatten", {}, {}
    elif isinstance(layer, layers.Dropout):
        yield "dropout", {"rate": layer.rate}, {}
    else:
        raise UserError(f"The page has no rule for the layer {name}.")


def _pooling(window: int) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    return "max_pool", {"size": window, "stride": window, "padding": "valid"}, {}


def _arrays(**variables: nnx.Variable | None) -> dict[str, np.ndarray]:
    found = {name: variable[...] for name, variable in variables.items() if variable is not None}
    return {name: np.asarray(jax.device_get(array), np.float32) for name, array in found.items()}


def read_about(page: str) -> dict[str, Any]:
    """Reads what `render` was told about the run back from a page; ValueError for other texts."""
    if not (found := _ABOUT.search(page)):
        raise ValueError("it is no page to draw on")
    return json.loads(found[1])


def read_weights(page: str, network: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the arrays of every layer of a page's network by name."""
    content = base64.b64decode(_WEIGHTS.search(page)[1])
    numbers, place = np.frombuffer(content, f"<f{2 if network['precision'] == 'float16' else 4}"), 0
    for layer in network["layers"]:
        found = {}
        for name, shape in layer["arrays"].items():
            size = int(np.prod(shape))
            found[name] = numbers[place : place + size].reshape(shape).astype(np.float32)
            place += size
        yield found
