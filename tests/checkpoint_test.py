"""Loading a run elsewhere: the recorded accuracy again, in a fresh process without TensorFlow and without the config."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import digits
from digits import checkpoint, data, errors, train


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
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    state = {"x": jnp.arange(1000.0)}
    for step in (1, 2):
        checkpoints.save(step, state, {"epoch": step}, rank=step)
        state = {"x": double(state["x"])}
    restored, about = checkpoints.restore(2, state)
    np.testing.assert_array_equal(restored["x"], 2 * np.arange(1000.0))
    assert about == {"epoch": 2} and checkpoints.latest_step() == checkpoints.best_step() == 2
    checkpoints.save(3, state, {"epoch": object()}, rank=0)  # No JSON.
    with pytest.raises(TypeError):
        checkpoints.latest_step()
    checkpoints.close()


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
    logits = run.model(data.normalize(images.astype(np.float32), run.config.data.normalization))
    np.testing.assert_allclose(jax.nn.softmax(logits), run.predict(images), atol=1e-6)


def test_a_moved_run_loads_in_a_fresh_process_without_tensorflow_and_config_file(workdir, tmp_path, run_module):
    moved = tmp_path / "elsewhere"
    shutil.copytree(workdir, moved)
    (tmp_path / "use_it.py").write_text(
        "import json, sys, numpy as np, digits\n"
        f"run = digits.load({str(moved)!r})\n"
        "from digits import data\n"
        "d = data.load('optdigits')\n"
        "accuracy = float(np.mean(run.predict(d.test_images).argmax(-1) == d.test_labels))\n"
        "heavy = [m for m in ('tensorflow', 'clu', 'configs') if m in sys.modules]\n"
        "print(json.dumps([accuracy, heavy]))\n"
    )
    done = run_module("use_it", env={"PYTHONPATH": f"{tmp_path}:."})
    assert done.returncode == 0, done.stderr
    accuracy, heavy = json.loads(done.stdout)
    assert accuracy == json.loads((workdir / "result.json").read_text())["test_accuracy"] and heavy == []


def test_it_loads_onto_a_machine_with_another_number_of_devices(workdir, tmp_path, run_module):
    (tmp_path / "eight.py").write_text(
        "import jax\njax.config.update('jax_num_cpu_devices', 8)\nimport digits, numpy as np\n"
        f"run = digits.load({str(workdir)!r})\n"
        "print(jax.device_count(), run.predict(np.zeros((28, 28), np.uint8)).shape)\n"
    )
    done = run_module("eight", env={"PYTHONPATH": f"{tmp_path}:."})
    assert done.stdout.split() == ["8", "(10,)"], done.stderr


def test_what_is_no_run_says_so_and_names_the_runs_below(workdir, tmp_path):
    with pytest.raises(errors.UserError, match="no run with checkpoints"):
        digits.load(tmp_path / "nowhere")
    with pytest.raises(errors.UserError, match="runs below it: quick"):
        digits.load(workdir.parent)
    with pytest.raises(errors.UserError, match="'best' or 'latest'"):
        digits.load(workdir, "newest")
