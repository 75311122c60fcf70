"""Loading a run elsewhere: the recorded accuracy again, in a fresh process without TensorFlow and without the config."""

import asyncio
import concurrent.futures
import gc
import json
import logging
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import digits
from digits import data, errors
from digits.data import transforms
from digits.runs.checkpoints import Checkpoints, Damaged
from digits.training import train
from tests import main_test


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    from configs import quickstart

    config = quickstart.get_config()
    config.epochs, config.tensorboard = 2, False
    path = tmp_path_factory.mktemp("runs") / "quick"
    train.train_and_evaluate(config, path)
    return path


def test_load_reproduces_the_recorded_test_accuracy(workdir):
    run = digits.load(workdir)
    dataset = data.load("optdigits")
    probabilities = run.predict(dataset.test_images)
    assert np.mean(probabilities.argmax(-1) == dataset.test_labels) == run.result["test_accuracy"]
    assert run.config.model.blocks == ((32,), (64,)) and run.config.is_locked
    assert run.history.index.tolist() == [1, 2] and run.history.accuracy[2] == run.records[1]["accuracy"]
    assert run.class_names == tuple("0123456789")


def test_saving_is_of_a_copy_and_what_goes_wrong_in_its_thread_is_raised(tmp_path):
    """The training overwrites its buffers while the thread writes, as a donating program does."""
    saved = Checkpoints(tmp_path / "checkpoints")
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    state = {"x": jnp.arange(1000.0)}
    for step in (1, 2):
        saved.save(step, state, {"epoch": step}, best=1)
        state = {"x": double(state["x"])}
    restored, about = saved.restore(2, state)
    np.testing.assert_array_equal(restored["x"], 2 * np.arange(1000.0))
    assert about == {"epoch": 2} and saved.steps() == [2, 1]
    saved.save(3, state, {"epoch": object()})  # No JSON.
    with pytest.raises(TypeError):
        saved.steps()
    saved.close()


def test_predict_takes_one_image_or_many_bytes_or_floats(workdir):
    run = digits.load(workdir)
    images = data.load("optdigits").test_images[:7]
    expected = run.predict(images)
    assert expected.shape == (7, 10) and expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-6)
    for same in (images[..., None], images / 255.0, (images / 255.0).astype(np.float32)[..., None], images.astype(int)):
        np.testing.assert_allclose(run.predict(same), expected, atol=1e-6)
    np.testing.assert_allclose(run.predict(images, batch_size=3), expected, atol=1e-6)
    np.testing.assert_allclose(run.predict(images[2]), expected[2], atol=1e-6)
    with pytest.raises(errors.UserError, match="shape"):
        run.predict(np.zeros((5, 27, 28)))


def test_the_module_gives_logits(workdir):
    run = digits.load(workdir)
    images = data.load("optdigits").test_images[:5]
    logits = run.model(transforms.normalize(images.astype(np.float32), run.config.data.normalization))
    np.testing.assert_allclose(jax.nn.softmax(logits), run.predict(images), atol=1e-6)


TRAIN_ON_EIGHT = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
from digits.sweeps import population
from tests.conftest import tiny_config
config = tiny_config()
config.epochs, config.augment.rotation, config.population.sharing = 1, 0.0, "batched"
population.train(config, [{"seed": seed} for seed in range(8)], FOLDER)
"""
LOAD = """
import importlib.util, json, numpy as np, digits
run = digits.load(FOLDER)
from digits import data
d = data.load("optdigits")
found = [name for name in ("tensorflow", "tensorflow_datasets", "clu", "configs") if importlib.util.find_spec(name)]
print(json.dumps([float(np.mean(run.predict(d.test_images).argmax(-1) == d.test_labels)), found]))
"""


def test_a_run_of_eight_devices_loads_elsewhere_without_tensorflow_tfds_clu_and_configs(tmp_path, run_module):
    hide = main_test.HIDE.replace('"tensorboard"', '"tensorboard", "configs"').replace(', "sklearn"', "")
    for name, content, folder in (
        ("train_it", TRAIN_ON_EIGHT, tmp_path / "here"),
        ("use_it", LOAD, tmp_path / "elsewhere"),
        ("sitecustomize", hide, None),
    ):
        (tmp_path / f"{name}_modules").mkdir()
        path = tmp_path / f"{name}_modules" / f"{name}.py"
        path.write_text(content.replace("FOLDER", repr(str(folder))))
    trained = run_module("train_it", env={"PYTHONPATH": f"{tmp_path}/train_it_modules:."})
    assert trained.returncode == 0, trained.stderr
    shutil.copytree(tmp_path / "here" / "seed=3", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "here")
    modules = f"{tmp_path}/use_it_modules:{tmp_path}/sitecustomize_modules:."
    done = run_module("use_it", env={"PYTHONPATH": modules})
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "elsewhere" / "result.json").read_text())
    assert json.loads(done.stdout) == [result["test_accuracy"], []] and result["seed"] == 3


def test_it_loads_onto_a_machine_with_another_number_of_devices(workdir, tmp_path, run_module):
    (tmp_path / "eight.py").write_text(
        "import jax\njax.config.update('jax_num_cpu_devices', 8)\nimport digits, numpy as np\n"
        f"run = digits.load({str(workdir)!r})\n"
        "print(jax.device_count(), run.predict(np.zeros((28, 28), np.uint8)).shape)\n"
    )
    done = run_module("eight", env={"PYTHONPATH": f"{tmp_path}:."})
    assert done.stdout.split() == ["8", "(10,)"], done.stderr


def test_what_is_no_run_says_what_it_is_and_names_the_runs_below(workdir, tmp_path):
    for name, words in (
        ("nowhere", "nowhere is no run with checkpoints: there is nothing of that name; it must be the --workdir"),
        ("a_file", "a_file is no run with checkpoints: it is a file;"),
        ("empty", "empty is no run with checkpoints: it is empty;"),
        ("mixed", "mixed is no run with checkpoints: it holds 0, 1, 2, 3, 4/ and 1 more; it must be"),
    ):
        if name == "a_file":
            (tmp_path / name).touch()
        elif name != "nowhere":
            (tmp_path / name).mkdir()
        if name == "mixed":
            (tmp_path / name / "4").mkdir()
            for number in "01235":
                (tmp_path / name / number).touch()
        with pytest.raises(errors.UserError, match=words):
            digits.load(tmp_path / name)
    with pytest.raises(errors.UserError, match="it holds quick/; runs below it: quick"):
        digits.load(workdir.parent)
    with pytest.raises(errors.UserError, match="'best' or 'latest'"):
        digits.load(workdir, "newest")


def test_half_a_run_is_one_sentence_or_loads_whole(workdir, tmp_path, capfd):
    """Each file in turn is cut in half, then gone: what Orbax still reads gives the same predictions."""
    images = data.load("optdigits").test_images[:3]
    whole, refused = digits.load(workdir).predict(images), 0
    copy = tmp_path / "copy"
    capfd.readouterr()
    for file in sorted(path for path in workdir.rglob("*") if path.is_file()):
        for content in (file.read_bytes()[: file.stat().st_size // 2], None):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(workdir, copy)
            damaged = copy / file.relative_to(workdir)
            damaged.unlink() if content is None else damaged.write_bytes(content)
            try:
                np.testing.assert_array_equal(digits.load(copy).predict(images), whole)
            except errors.UserError as error:
                refused += 1
                assert re.search(
                    r"(copied .*: copy the run's whole folder again|cannot be read as JSON.*)\.$", str(error)
                )
    assert refused >= 6 and "Traceback" not in capfd.readouterr().err


def test_a_failed_read_leaves_the_process_as_it_was_and_prints_nothing(tmp_path, capfd):
    """Orbax reads arrays at once. The reads beside the one that fails end too, also in a notebook's event loop."""
    saved = Checkpoints(tmp_path / "checkpoints")
    rng = np.random.default_rng(0)
    saved.save(1, {f"array_{i}": rng.random((300, 300)) for i in range(30)}, {"epoch": 1})
    saved.steps()
    before = sys.unraisablehook, asyncio.new_event_loop, logging.getLogger("asyncio").level

    def damage_each_file():
        refused = 0
        for path in sorted((tmp_path / "checkpoints" / "1" / "state").rglob("d/*")):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            try:
                saved.restore(1)
            except Damaged:
                refused += 1
            path.write_bytes(content)
        return refused

    async def in_a_loop():
        return damage_each_file()

    assert damage_each_file() and asyncio.run(in_a_loop())
    assert (sys.unraisablehook, asyncio.new_event_loop, logging.getLogger("asyncio").level) == before
    assert saved.restore(1)[1] == {"epoch": 1}
    saved.close()
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_reads_in_several_threads_leave_the_process_as_it_was(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(1, {"array": np.arange(1000)}, {"epoch": 1})
    saved.close()
    before = asyncio.new_event_loop
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [Checkpoints(tmp_path / "checkpoints", read_only=True) for _ in range(8)]
        for state, about in pool.map(lambda reader: reader.restore(1), readers):
            assert state["array"].sum() == 499500 and about == {"epoch": 1}
    assert asyncio.new_event_loop is before
