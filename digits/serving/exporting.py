"""Exports a trained run: one file, or folder, that predicts without this project."""

import contextlib
import importlib.util
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

import digits
from digits import data
from digits.config.values import config_to_json
from digits.errors import UserError, writing_to
from digits.runs import found, loading
from digits.runtime import atomic, environment, paths
from digits.serving import export_formats

_IMAGES = 256


class Exported(NamedTuple):
    """A written export.

    Attributes:
      path: the file or folder.
      difference: the largest difference of a probability from the run's.
      images: the number of images that were compared.
      made: whether these were made for it, because the run's dataset is not here, and not test images.
      about: words about the file, such as "opset 13" or "weights in float16"; "" for most formats.
    """

    path: pathlib.Path
    difference: float
    images: int
    made: bool = False
    about: str = ""


def export(
    run: loading.Run | str | os.PathLike,
    format: str,
    output: str | os.PathLike | None = None,
    data_dir: str | None = None,
) -> Exported:
    """Writes a run in another format, whole or not at all; an earlier export of that format is replaced.

        export("runs/simple_cnn", "onnx").path

    Args:
      run: a run, as `digits.load` returns it, or its folder, for the weights it was tested with.
      format: "jax", "savedmodel", "tflite", "onnx" or "html".
      output: the file, or the folder of a SavedModel. Default: a file in the run's folder.
      data_dir: where the run's dataset lies, see `data.load`: export and run are compared on its test images; without
        it and where there is no such dataset, on made images.

    Raises:
      UserError: there is no such format, or no library for it; no run; no dataset in `data_dir`; `output` is no earlier
        export or cannot be written; or the predictions of the export differ from the run's.
    """
    if format not in export_formats.FORMATS:
        raise UserError(f"--format is {format!r}, but it must be one of {', '.join(export_formats.FORMATS)}.")
    kind = export_formats.FORMATS[format]
    missing = [name for name in kind.packages if importlib.util.find_spec(name) is None]
    if missing:
        needs = f"needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        raise UserError(f"--format is {format!r}, which {needs}.")
    run, folder = _open(run)
    if output is None and folder is None:
        raise UserError("output is missing: a run that is already loaded does not say where its folder is.")
    path = paths.local(output or folder / kind.file, "--output").absolute()
    if path.exists() and not _is_export(path, format):
        raise UserError(f"--output is {path}, which exists and is no earlier export to {format}: name another.")
    images, made = _images(run, data_dir)
    # Accelerators round to TF32 or bfloat16 by default. In float32 the file gives the same numbers everywhere.
    precise = jax.default_matmul_precision("highest")
    with writing_to(path, "--output"), atomic.scratch(path) as scratch, environment.settings(), precise:
        written = scratch / path.name
        for weights, tolerance in kind.weights.items():
            with _without_paths():
                about = kind.write(run, written, metadata(run, format) | {"weights": weights}) or ""
            difference = _difference(kind.load(written), run, images)
            if difference <= tolerance:
                break
        else:  # NaN is refused too.
            raise UserError(
                f"The export to {format} was not kept: on {len(images)} images its probabilities differ from the "
                f"run's by up to {difference:.1e}, more than {tolerance:.0e}."
            )
        if path.is_dir():  # A folder cannot replace one that is not empty.
            os.rename(path, scratch / "before")
        os.replace(written, path)
    return Exported(path, difference, len(images), made, about)


def usage(path: str | os.PathLike, format: str) -> str:
    """Writes the lines of Python that load an export and predict with it; they run as they are, without this project.

    Before the lines that the export itself holds, they name the file and make an image. A page is opened instead.
    """
    lines = export_formats.FORMATS[format].usage
    if "images" not in lines:
        return f"path = {os.fspath(path)!r}\n{lines}"
    return (
        "import numpy as np\n"
        f"path = {os.fspath(path)!r}\n"
        f"images = np.zeros((1, {data.SIDE}, {data.SIDE}), np.uint8)  # Yours: 0 to 255, white on black.\n"
        f"{lines}\n"
        "print(np.argmax(probabilities, axis=1))"
    )


def _open(run: loading.Run | str | os.PathLike) -> tuple[loading.Run, pathlib.Path | None]:
    """Returns the run, and its folder where that is known; UserError for several at once."""
    if isinstance(run, (str, os.PathLike)):
        folder = paths.local(run, "--workdir").absolute()
        if found.is_sweep(folder):
            raise UserError(f"{folder} is a sweep, but one run is exported at a time: name one of the folders in it.")
        loaded = loading.load(folder)
    else:
        loaded, folder = run, None
    if isinstance(loaded, loading.Ensemble):
        raise UserError(f"An ensemble of {len(loaded.runs)} runs was given, but one run is exported at a time.")
    return loaded, folder


def metadata(run: loading.Run, format: str) -> dict[str, Any]:
    """Describes an export for JSON: usage, input and output, classes, config, versions."""
    return {
        "format": format,
        "usage": export_formats.FORMATS[format].usage,
        "input": {
            "name": "images", "type": "uint8", "shape": ["n", data.SIDE, data.SIDE],
            "meaning": "pixels of 0 to 255, white on black; they are normalised inside",
        },
        "output": {
            "name": "probabilities", "type": "float32", "shape": ["n", len(run.class_names)],
            "meaning": "the probability of each of class_names",
        },
        "class_names": list(run.class_names),
        "normalization": run.config.data.normalization,
        "epoch": run.epoch,
        "test_accuracy": run.result and run.result["test_accuracy"],
        "config": config_to_json(run.config),
        "versions": {"digits": digits.__version__, "jax": jax.__version__},
    }  # fmt: skip


def _is_export(path: pathlib.Path, format: str) -> bool:
    try:
        return export_formats.FORMATS[format].metadata(path)["format"] == format
    except Exception:  # Each library has errors of its own for files that are something else.
        return False


def _images(run: loading.Run, data_dir: str | None) -> tuple[np.ndarray, bool]:
    """The images to compare on, and whether they are made: strokes of a random walk, from none to a full image."""
    try:
        return data.load(run.config.data.name, data_dir).test_images[:_IMAGES], False
    except UserError:
        if data_dir:
            raise
    rng = np.random.default_rng(0)
    images = np.zeros((_IMAGES, data.SIDE, data.SIDE), np.uint8)
    for index, image in enumerate(images):
        places = rng.integers(0, data.SIDE, 2) + rng.integers(-1, 2, (index * 4, 2)).cumsum(axis=0)
        image[tuple(places.T % data.SIDE)] = rng.integers(64, 256, len(places))
    return images, True


@contextlib.contextmanager
def _without_paths():
    """Keeps JAX from writing the paths of this machine's source files into an export."""
    before = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", before)


def _difference(predict: export_formats.Predict, run: loading.Run, images: np.ndarray) -> float:
    """Computes the largest difference of a probability from the run's, with batches of two sizes."""
    found = np.concatenate([predict(batch) for batch in (images[:1], images[1:]) if len(batch)])
    return float(np.abs(found - run.predict(images)).max())


def size(path: pathlib.Path) -> int:
    """Counts the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
