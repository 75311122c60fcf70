"""Exports of every format, loaded in fresh processes without this project, and one sentence for mistakes."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

from flax import nnx
import jax
import numpy as np
import pytest

import digits
from digits import data, errors
from digits import export as digits_export
from digits.config.values import config_from_json, with_values
from digits.models import families, layers
from digits.runs import loading
from digits.serving import drawing_page, export_formats, exporting
from digits.training import train
from tests import made_runs
from tests.conftest import ROOT, tiny_config

# Runs the lines that the metadata of exports give, with one image and with several; then those that were printed.
STRANGER = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Missing())
import numpy as np

images, results = np.load("images.npy"), {}
for name, path, usage, printed in json.load(open("exports.json")):
    for count in (1, len(images)):
        scope = {"path": path, "images": images[:count]}
        exec(usage, scope)
        results[f"{name} {count}"] = np.asarray(scope["probabilities"])
    exec(printed, {})
np.savez("results.npz", **results)
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A dense network after an epoch."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("runs") / "dense"
    config.epochs, config.augment.rotation = 1, 0.0  # Augmentation takes longest to compile.
    train.train_and_evaluate(config, folder)
    return folder


@pytest.fixture(scope="module")
def runs(workdir):
    """The dense network; and two CNNs with weights and statistics that let no layer go unnoticed."""
    trained = digits.load(workdir)
    values = {"family": "cnn", "blocks": ((4,), (6, 8)), "kernel_size": (3, 4), "padding": "same", "batch_norm": "conv"}
    values |= {"pool": (2, 3), "block_dropout": 0.25, "hidden": (), "hidden_batch_norm": False}
    values["convolution"] = "dot"  # Other than an export has, and nothing must be compiled for it.
    small = values | {"pool": (0, 2), "stride": (3, 2), "separable": (False, True), "conv_bias": False}
    small |= {"batch_norm": "none", "global_pool": "average"}

    def made(values):
        config = with_values(trained.config, {f"model.{field}": value for field, value in values.items()})
        return dataclasses.replace(trained, config=config, model=made_runs.model(config.model))

    return {
        "dense": dataclasses.replace(trained, config=with_values(trained.config, {"data.normalization": "column_l2"})),
        "cnn": made(values),
        "small": made(small),
    }


@pytest.fixture(scope="module")
def exports(runs, tmp_path_factory):
    """Gives the paths of all networks in a format, exported when they are first asked for."""
    folder, made = tmp_path_factory.mktemp("exports"), {}

    def paths(format):
        for name, run in runs.items():
            if (format, name) not in made:
                made[format, name] = exporting.export(run, format, folder / f"{name}.{format}")
        return {name: made[format, name].path for name in runs}

    return paths


def read_metadata(format, path):
    """By nothing of this project."""
    if format == "savedmodel":
        return json.loads((path / "assets.extra" / "metadata.json").read_text())
    if format == "html":
        about = re.search(r'id="about">(.*)</script>', path.read_text())[1]
        return json.loads(about)["metadata"]
    if format == "onnx":
        import onnxruntime

        properties = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        return {key: json.loads(value) for key, value in properties.items()}
    return json.loads(zipfile.ZipFile(path).read("metadata.json"))


def check_as_a_stranger(exports, runs, formats, missing, folder):
    """Exports predict what their runs do where `missing` cannot be imported, and the printed lines run there."""
    images, expected = data.load("optdigits").test_images[:7], {}
    for name, run in runs.items():
        expected[name] = run.predict(images)
        assert np.ptp(expected[name], axis=0).max() > 0.05  # Otherwise nothing could be told from it.
    paths = {(format, name): path for format in formats for name, path in exports(format).items()}
    usages = [
        (" ".join(key), str(path), read_metadata(key[0], path)["usage"], exporting.usage(path, key[0]))
        for key, path in paths.items()
    ]
    (folder / "exports.json").write_text(json.dumps(usages))
    np.save(folder / "images.npy", images)
    env = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    command = [sys.executable, "-I", "-c", STRANGER, ",".join(missing)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    results = np.load(folder / "results.npz")
    for format, name in paths:
        for count in (1, 7):
            found = results[f"{format} {name} {count}"]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[name][:count], atol=1e-5)
    blank = np.zeros((1, 28, 28), np.uint8)
    printed = [f"[{runs[name].predict(blank).argmax()}]" for _, name in paths]
    assert len(set(printed)) > 1  # All networks would not give the same by chance.
    assert done.stdout.splitlines() == printed


def test_jax_needs_only_jax(exports, runs, tmp_path):
    check_as_a_stranger(exports, runs, ["jax"], ["digits", "flax", "orbax", "ml_collections", "tensorflow"], tmp_path)


def test_savedmodel_and_tflite_need_only_tensorflow(exports, runs, tmp_path):
    pytest.importorskip("tensorflow")
    check_as_a_stranger(exports, runs, ["savedmodel", "tflite"], ["digits", "flax", "jax", "jaxlib"], tmp_path)


def test_onnx_needs_only_its_runtime(exports, runs, tmp_path, monkeypatch):
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    check_as_a_stranger(exports, runs, ["onnx"], ["digits", "flax", "jax", "tensorflow", "onnx"], tmp_path)
    for path in exports("onnx").values():
        onnx.checker.check_model(path, full_check=True)
    monkeypatch.setattr(layers, "Flatten", nnx.Dropout)  # So that no rule is for the layers that are there.
    with pytest.raises(errors.UserError, match="--format is 'onnx', which has no rule for the layer flatten_1: name"):
        exporting.export(runs["cnn"], "onnx", tmp_path / "model.onnx")


def test_jax_holds_standard_operations_in_float32_for_every_device(exports):
    for name, path in exports("jax").items():
        content = zipfile.ZipFile(path).read("model.jaxexport")
        assert os.fsencode(ROOT) not in content  # Where this machine keeps its files is nobody's.
        exported = jax.export.deserialize(bytearray(content))
        assert exported.platforms == ("cpu", "cuda", "tpu")
        text = exported.mlir_module()
        assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}
        assert ("stablehlo.convolution" in text) == (name != "dense")
        assert "HIGHEST" in text and "DEFAULT" not in text


@pytest.mark.parametrize("format", export_formats.FORMATS)
def test_an_export_says_what_it_is_and_holds_its_weights_once(format, exports, runs):
    for package in export_formats.FORMATS[format].packages:
        pytest.importorskip(package)
    for name, path in exports(format).items():
        found, run = read_metadata(format, path), runs[name]
        assert found == export_formats.FORMATS[format].metadata(path)
        assert config_from_json(found["config"]) == run.config
        assert found["class_names"] == list("0123456789")
        assert (found["format"], found["epoch"]) == (format, 1)
        assert found["test_accuracy"] == run.result["test_accuracy"]
        assert found["normalization"] == ("column_l2" if name == "dense" else "unit")
        assert (found["input"]["shape"], found["input"]["type"]) == (["n", 28, 28], "uint8")
        assert (found["output"]["shape"], found["output"]["type"]) == (["n", 10], "float32")
        assert found["versions"]["digits"] == digits.__version__
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(families.parts(runs["dense"].model)[1:]))
    scripts = len(drawing_page.render({})[0]) if format == "html" else 0
    assert weights / 2 < exporting.size(exports(format)["dense"]) - scripts < 1.5 * weights


def test_an_unfinished_run_has_no_test_accuracy(runs):
    assert exporting.metadata(dataclasses.replace(runs["dense"], result=None), "jax")["test_accuracy"] is None


def test_an_export_that_predicts_otherwise_is_refused_and_the_earlier_one_stays(exports, runs, tmp_path, monkeypatch):
    before = shutil.copy(exports("jax")["dense"], tmp_path / "before.zip")
    content, right = before.read_bytes(), export_formats.probabilities

    def off_by(offset):
        return lambda run: lambda images: right(run)(images) + np.float32(offset)

    for offset, difference in ((2e-4, "2.0e-04"), (np.nan, "nan")):
        monkeypatch.setattr(export_formats, "probabilities", off_by(offset))
        for output in (before, tmp_path / "new.zip"):
            with pytest.raises(errors.UserError, match=f"256 images .* by up to {difference}, more than 1e-04"):
                exporting.export(runs["dense"], "jax", output)
    assert [entry.name for entry in tmp_path.iterdir()] == ["before.zip"] and before.read_bytes() == content


def test_earlier_exports_are_replaced(exports, runs, tmp_path):
    path = shutil.copy(exports("jax")["dense"], tmp_path / "model")
    assert exporting.export(runs["cnn"], "jax", path).path == path
    assert read_metadata("jax", path)["normalization"] == "unit"
    assert list(tmp_path.iterdir()) == [path]
    pytest.importorskip("tensorflow")
    folder = tmp_path / "folder"
    shutil.copytree(exports("savedmodel")["dense"], folder)
    (folder / "variables" / "of_before").touch()
    exporting.export(runs["cnn"], "savedmodel", folder)
    assert read_metadata("savedmodel", folder)["normalization"] == "unit"
    assert not (folder / "variables" / "of_before").exists()
    assert sorted(tmp_path.iterdir()) == [folder, path]


@pytest.mark.parametrize("kind", ["text", "zip", "folder", "savedmodel"])
def test_a_file_that_is_no_earlier_export_is_not_replaced(kind, exports, runs, tmp_path):
    path = tmp_path / "mine"
    if kind == "text":
        path.write_text("my notes")
    elif kind == "zip":
        zipfile.ZipFile(path, "w").writestr("metadata.json", '{"format": "other"}')
    elif kind == "savedmodel":
        pytest.importorskip("tensorflow")
        shutil.copytree(exports("savedmodel")["dense"], path)
    else:
        path.mkdir()
        (path / "notes").write_text("my notes")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for format in {"jax", *(["savedmodel"] if kind == "folder" else [])}:
        for package in export_formats.FORMATS[format].packages:
            pytest.importorskip(package)
        with pytest.raises(errors.UserError, match=f"--output is .*mine, which exists and is no earlier .* {format}"):
            exporting.export(runs["dense"], format, path)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("format, package", [("savedmodel", "tensorflow"), ("tflite", "tensorflow"), ("onnx", "onnx")])
def test_a_library_that_is_missing_is_named(format, package, runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        errors.UserError, match=f"--format is '{format}', which needs {package}.*: pip install {package}"
    ):
        exporting.export(runs["dense"], format, tmp_path / "model")


def test_mistakes_give_a_sentence(runs, workdir, tmp_path):
    dense = runs["dense"]
    with pytest.raises(errors.UserError, match="--format is 'pickle', but .* savedmodel, tflite, onnx, html"):
        exporting.export(workdir, "pickle")
    with pytest.raises(errors.UserError, match="nowhere is no run"):
        exporting.export(tmp_path / "nowhere", "jax")
    (tmp_path / "sweep.json").touch()
    with pytest.raises(errors.UserError, match="is a sweep, but one run is exported at a time"):
        exporting.export(tmp_path, "jax")
    with pytest.raises(errors.UserError, match="An ensemble of 2 runs"):
        exporting.export(loading.Ensemble((dense, dense)), "jax", tmp_path / "model")
    with pytest.raises(errors.UserError, match="output is missing"):
        exporting.export(dense, "jax")
    with pytest.raises(errors.UserError, match="--output is .*model, which cannot be written .File exists.: name"):
        exporting.export(dense, "jax", tmp_path / "sweep.json" / "model")
    elsewhere = with_values(dense.config, {"data.name": str(tmp_path / "mine.npz")})
    with pytest.raises(errors.UserError, match="gone|mine.npz"):
        exporting.export(dataclasses.replace(dense, config=elsewhere), "jax", tmp_path / "model", tmp_path / "gone")
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.json"]


def test_without_its_dataset_an_export_is_checked_on_made_images(exports, runs, tmp_path, monkeypatch):
    away = {
        name: dataclasses.replace(run, config=with_values(run.config, {"data.name": str(tmp_path / "mine.npz")}))
        for name, run in runs.items()
    }
    images, made = exporting._images(away["cnn"], None)
    assert made and images.shape == (256, 28, 28) and images.dtype == np.uint8
    assert not images[0].any() and np.ptp(images[1:].mean(axis=(1, 2))) > 60  # From little ink to much.
    np.testing.assert_array_equal(images, exporting._images(away["dense"], None)[0])
    assert len(set(away["cnn"].predict(images).argmax(-1))) > 2  # They tell networks apart.
    exported = exporting.export(away["cnn"], "jax", tmp_path / "model")
    assert exported.made and exported.images == 256 and exported.difference < 1e-5
    right = exporting.export_formats.FORMATS["jax"]
    wrong = right._replace(load=lambda path: lambda images: right.load(path)(images)[:, ::-1])
    monkeypatch.setitem(exporting.export_formats.FORMATS, "jax", wrong)
    with pytest.raises(errors.UserError, match="was not kept: on 256 images"):
        exporting.export(away["cnn"], "jax", tmp_path / "other")


def test_the_command_writes_beside_the_run(workdir, run_module):
    done = run_module("digits.export", f"--workdir={workdir}", "--format=jax")
    assert done.returncode == 0 and done.stderr == ""
    path = workdir / "model.jax.zip"
    assert f"{path}: 0.0" in done.stdout and "of the run's on 256 test images" in " ".join(done.stdout.split())
    assert done.stdout.endswith(f"\n\n{exporting.usage(path, 'jax')}\n")
    assert read_metadata("jax", path)["usage"] in done.stdout
    assert read_metadata("jax", path)["format"] == "jax"


def test_the_command_says_which_opset_a_runtime_must_have(workdir, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    command = ["digits.export", f"--workdir={workdir}", "--format=onnx", f"--output={tmp_path / 'model'}"]
    assert digits_export.main(command) == 0
    assert "MB, opset 13, probabilities within" in " ".join(capsys.readouterr().out.split())
