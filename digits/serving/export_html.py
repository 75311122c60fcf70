"""Writes a run as a page to draw on, one HTML file, and has a headless browser compute its probabilities.

The page's runtime is network.js, 200 lines and 9 kB. ONNX Runtime Web 1.30 would add 14 MB to every file and
TensorFlow.js 4.22 1.5 MB, and each would be one more thing to keep up; the networks here have eight kinds of layers.
"""

import base64
from collections.abc import Callable
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
from typing import Any

import jax
import numpy as np

from digits.config.values import config_from_json, with_values
from digits.errors import UserError
from digits.models import families, inference
from digits.runs import loading
from digits.serving import drawing_page

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome", "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)  # fmt: skip
_ARGUMENTS = (
    "--headless --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-extensions --no-sandbox"  # The sandbox fails in containers; the page is our own.
).split()
_MOST_SECONDS = 1800  # The widest networks of the families take seconds for an image.
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_CHECK = """<script>{
  const bytes = Uint8Array.from(atob("IMAGES"), (c) => c.charCodeAt(0)), found = [];
  for (let i = 0; i < bytes.length; i += 784) found.push(inside.network.probabilities(bytes.subarray(i, i + 784)));
  document.body.textContent = JSON.stringify(found);
}</script>"""


def write(run: loading.Run, path: pathlib.Path, metadata: dict[str, Any]) -> str:
    """Writes the page; metadata["weights"] is "float16" or "float32". Returns words about it."""
    network, weights = drawing_page.network(run, metadata["weights"])
    about = {
        "facts": drawing_page.facts(run, run.name), "classNames": run.class_names, "server": False,
        "network": network, "metadata": metadata,
    }  # fmt: skip
    page, _ = drawing_page.render(about, weights)
    path.write_text(page, encoding="utf-8", newline="\n")
    return f"weights in {metadata['weights']}"


def read_metadata(path: pathlib.Path) -> dict[str, Any]:
    """Reads the metadata of an exported page."""
    return drawing_page.read_about(path.read_text(encoding="utf-8"))["metadata"]


def browser() -> str | None:
    """The browser that can compute a page's probabilities here, if one is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def note() -> str:
    """Says that no browser has checked an export; "" where one did."""
    if browser():
        return ""
    return "No browser (Chromium, Chrome or Edge) was found to check the page with: its weights were checked in Python."


def load(path: pathlib.Path) -> Callable[[np.ndarray], np.ndarray]:
    """Makes a page a function again: a headless browser runs it, or JAX its weights where there is no browser."""
    page, program = path.read_text(encoding="utf-8"), browser()
    if not program:
        return lambda images: _in_python(page, images)
    # Beside the page: a browser from a Snap package sees nothing in the system's folder for temporary files.
    return lambda images: _in_browser(program, page, images, path.parent)


def _in_browser(program: str, page: str, images: np.ndarray, beside: pathlib.Path) -> np.ndarray:
    images_Nx28x28 = np.ascontiguousarray(images, np.uint8)
    check = _CHECK.replace("IMAGES", base64.b64encode(images_Nx28x28.tobytes()).decode())
    with tempfile.TemporaryDirectory(dir=beside, ignore_cleanup_errors=True) as folder:
        file = pathlib.Path(folder) / "check.html"
        # The page's own policy would not let another script run.
        file.write_text(_POLICY.sub("", page, count=1).replace("</body>", f"{check}</body>"), encoding="utf-8")
        command = [program, *_ARGUMENTS, f"--user-data-dir={folder}/profile", "--dump-dom", file.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"--format is 'html', but {program}, which checks the page, did not: {error}.") from error
    if not (found := re.search(r"<body>(\[\[.*\]\])", done.stdout)):
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UserError(f"--format is 'html', but {program}, which checks the page, failed ({last:.200}).")
    return np.array(json.loads(found[1].replace("null", "NaN")), np.float32)


def _in_python(page: str, images: np.ndarray) -> np.ndarray:
    about = drawing_page.read_about(page)
    config = with_values(config_from_json(about["metadata"]["config"]), {"model.convolution": "stock"})
    network = families.for_evaluation(families.outline(config.model, len(about["classNames"])))
    graphdef, params, stats = families.parts(network)
    read = zip(about["network"]["layers"], drawing_page.read_weights(page, about["network"]), strict=True)
    for layer, arrays in read:
        name = layer["name"]
        if layer["kind"] == "batch_norm":  # Its statistics are folded into two arrays.
            params[name] = {"scale": arrays["factor"], "bias": arrays["offset"]}
            epsilon = getattr(network, name).epsilon
            stats[name] = {"mean": 0 * arrays["offset"], "var": 0 * arrays["factor"] + np.float32(1 - epsilon)}
        elif arrays:
            params[name] = arrays
    predict = inference.make_predict(graphdef, about["network"]["normalization"])
    return np.asarray(jax.nn.softmax(predict(params, stats, images)))
