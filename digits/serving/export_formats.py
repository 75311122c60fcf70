"""The formats of an export: how a run is written, loaded again and described in each.

All but onnx begin with `probabilities`, one function of JAX with the weights as constants. Its convolutions are XLA's
own, because those of digits/models/ops/native.py exist only on the machine that compiled them.
"""

from collections.abc import Callable, Mapping
import json
import os
import pathlib
import tempfile
from types import MappingProxyType
from typing import Any, NamedTuple
import warnings
import zipfile

import jax
from jax import export
import numpy as np

from digits import models
from digits.config.values import with_values
from digits.data import SIDE
from digits.models import families, inference
from digits.runs import loading
from digits.runtime.tensorflow_extra import import_tensorflow
from digits.serving import export_html

Predict = Callable[[np.ndarray], np.ndarray]  # Images, uint8 Nx28x28, to probabilities, float32 NxK.

TOLERANCE = 1e-4  # Of a probability. Runtimes round differently: some 1e-6 for these networks.
_METADATA = "metadata.json"
_EXTRA = "assets.extra"  # The place in a SavedModel for its owner's files; TensorFlow ignores it.


def probabilities(run: loading.Run) -> Callable[[jax.Array], jax.Array]:
    """Makes a run a function of images, uint8 Nx28x28, to probabilities, float32 NxK; N may be symbolic."""
    config = with_values(run.config, {"model.convolution": "stock"})
    network = models.outline(config.model, len(run.class_names))
    graphdef, _, _ = families.parts(families.for_evaluation(network))
    params, stats = jax.device_get(families.parts(families.for_evaluation(run.model))[1:])
    logits = inference.make_predict(graphdef, config.data.normalization)

    def predict(images):
        return jax.nn.softmax(logits(params, stats, images))

    return predict


def _write_jax(run: loading.Run, path: pathlib.Path, metadata: dict[str, Any]) -> None:
    shape = *export.symbolic_shape("n"), SIDE, SIDE
    exported = export.export(jax.jit(probabilities(run)), platforms=("cpu", "cuda", "tpu"))(
        jax.ShapeDtypeStruct(shape, jax.numpy.uint8)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.jaxexport", bytes(exported.serialize()))
        file.writestr(_METADATA, json.dumps(metadata, indent=2))


def _load_jax(path: pathlib.Path) -> Predict:
    with zipfile.ZipFile(path) as file:
        exported = export.deserialize(bytearray(file.read("model.jaxexport")))
    return lambda images: np.asarray(exported.call(images))


def _zipped_metadata(path: pathlib.Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read(_METADATA))


def _write_savedmodel(run: loading.Run, path: pathlib.Path, metadata: dict[str, Any]) -> None:
    tf = import_tensorflow()
    from jax.experimental import jax2tf

    convert = jax2tf.convert(
        probabilities(run), polymorphic_shapes=[f"(n, {SIDE}, {SIDE})"], with_gradient=False,
        native_serialization_platforms=("cpu", "cuda", "tpu"),
    )  # fmt: skip
    images = tf.TensorSpec((None, SIDE, SIDE), tf.uint8, name="images")
    predict = tf.function(lambda images: {"probabilities": convert(images)}, [images], autograph=False)
    tf.saved_model.save(tf.Module(), str(path), signatures=predict)
    (path / _EXTRA).mkdir()
    (path / _EXTRA / _METADATA).write_text(json.dumps(metadata, indent=2))


def _load_savedmodel(path: pathlib.Path) -> Predict:
    tf = import_tensorflow()
    model = tf.saved_model.load(str(path))
    predict = model.signatures["serving_default"]
    return lambda images: predict(images=tf.constant(images))["probabilities"].numpy()


def _savedmodel_metadata(path: pathlib.Path) -> dict[str, Any]:
    return json.loads((path / _EXTRA / _METADATA).read_text())


def _write_tflite(run: loading.Run, path: pathlib.Path, metadata: dict[str, Any]) -> None:
    """Converts the SavedModel to built-in operations alone, and appends a zip file with the metadata.

    TensorFlow Lite's own tools append files to a model in this way; `unzip` and Python's zipfile open it.
    """
    tf = import_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        _write_savedmodel(run, pathlib.Path(folder) / "model", metadata)
        model = tf.lite.TFLiteConverter.from_saved_model(os.path.join(folder, "model")).convert()
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_METADATA, json.dumps(metadata, indent=2))


def _load_tflite(path: pathlib.Path) -> Predict:
    tf = import_tensorflow()
    with warnings.catch_warnings(action="ignore"):  # The interpreter will move to a package of its own.
        predict = tf.lite.Interpreter(model_content=path.read_bytes()).get_signature_runner()
    return lambda images: predict(images=images)["probabilities"]


def _write_onnx(run: loading.Run, path: pathlib.Path, metadata: dict[str, Any]) -> str:
    from digits.serving import export_onnx  # Imports onnx.

    model = export_onnx.model(run)
    export_onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    path.write_bytes(model.SerializeToString())
    return f"opset {model.opset_import[0].version}"


def _load_onnx(path: pathlib.Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _onnx_metadata(path: pathlib.Path) -> dict[str, Any]:
    import onnx

    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


class Format(NamedTuple):
    """How a run is written, loaded and recognised in one format.

    Attributes:
      file: the default name.
      packages: the packages that must be installed.
      usage: lines of Python that turn `path` and `images` into `probabilities`, for the metadata.
      write: writes a run and its metadata to a path; may return words about the file, such as "opset 13".
      load: makes a written file a function again, by the format's own runtime.
      metadata: reads the metadata of a written file; for any other file it raises some error of the format's library.
      weights: the types of weights that are tried, one after another, and how far probabilities may be from the run's.
      opens: the words before the printed lines.
      note: a sentence about the check, if something is to be said.
    """

    file: str
    packages: tuple[str, ...]
    usage: str
    write: Callable[[loading.Run, pathlib.Path, dict[str, Any]], str | None]
    load: Callable[[pathlib.Path], Predict]
    metadata: Callable[[pathlib.Path], dict[str, Any]]
    weights: Mapping[str, float] = MappingProxyType({"float32": TOLERANCE})
    opens: str = "To predict with it in Python"
    note: Callable[[], str] = str


FORMATS = {
    "jax": Format(
        "model.jax.zip",
        (),
        "import zipfile\n"
        "from jax import export\n"
        "content = zipfile.ZipFile(path).read('model.jaxexport')\n"
        "model = export.deserialize(bytearray(content))\n"
        "probabilities = model.call(images)",
        _write_jax,
        _load_jax,
        _zipped_metadata,
    ),
    "savedmodel": Format(
        "savedmodel",
        ("tensorflow",),
        "import tensorflow as tf\n"
        "model = tf.saved_model.load(path)\n"
        "predict = model.signatures['serving_default']\n"
        "probabilities = predict(images=tf.constant(images))['probabilities']",
        _write_savedmodel,
        _load_savedmodel,
        _savedmodel_metadata,
    ),
    "tflite": Format(
        "model.tflite",
        ("tensorflow",),
        "import tensorflow as tf\n"
        "model = tf.lite.Interpreter(path)\n"
        "probabilities = model.get_signature_runner()(images=images)['probabilities']",
        _write_tflite,
        _load_tflite,
        _zipped_metadata,
    ),
    "onnx": Format(
        "model.onnx",
        ("onnx", "onnxruntime"),
        "import onnxruntime\n"
        "model = onnxruntime.InferenceSession(path)\n"
        "probabilities, = model.run(['probabilities'], {'images': images})",
        _write_onnx,
        _load_onnx,
        _onnx_metadata,
    ),
    "html": Format(
        "model.html",
        (),
        "import pathlib, webbrowser\nwebbrowser.open(pathlib.Path(path).as_uri())",
        export_html.write,
        export_html.load,
        export_html.read_metadata,
        {"float16": 1e-3, "float32": TOLERANCE},
        "To open it in a browser (any static host can serve it)",
        export_html.note,
    ),
}
