"""One device or many: the same training, whatever the batch, and a run goes on on any number of them."""

import json

import pytest

from digits.runs.workdir import Workdir
from digits.runtime.signals import Listener
from digits.training import train
from digits.training.loop import Loop
from tests import faults


@pytest.fixture(scope="module")
def found(run_module):
    """What tests/on_devices.py prints."""
    done = run_module("tests.on_devices")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("case", "tolerance"), [("everything 8", 1e-9), ("native 2", 1e-5)])
def test_several_devices_compute_what_one_does(found, case, tolerance):
    """An epoch in float64 of batches of 10 and 3 on 8 devices, and in float32 with compiled convolutions."""
    of = found[case]
    assert of.pop("trained") > 1e-3
    assert of.pop("accuracy") == 0
    for part, difference in of.items():
        assert difference < tolerance, part


def test_a_run_goes_on_on_other_devices(tiny, tmp_path, run_module):
    """Begun on one device, ended on four, and again the other way round: the figures are those of one device."""
    tiny.epochs, tiny.model.hidden_batch_norm = 3, True
    tiny.optimizer.name, tiny.optimizer.learning_rate = "sgd", 0.1
    train.train_and_evaluate(tiny, tmp_path / "alone")
    files = Workdir(tmp_path / "moved")
    with faults.opened(tiny, files.path) as run:
        Loop(run, Listener()).train_epoch()
        run.save()
    script = (
        "import pathlib, sys; import jax; from digits.config.values import config_from_json;"
        "from digits.runs import files; from digits.training import train;"
        "assert jax.device_count() == 4;"
        "config = config_from_json(files.read_json(pathlib.Path(sys.argv[1]) / 'config.json')['config']);"
        "train.train_and_evaluate(config, sys.argv[1])"
    )
    (tmp_path / "go_on.py").write_text(script)
    done = run_module("go_on", files.path, env={"PYTHONPATH": f"{tmp_path}:.", "JAX_NUM_CPU_DEVICES": "4"})
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())  # A long path wraps its line.
    assert "going on with" in said and "after epoch 1" in said and "4 devices" in said
    alone, moved = Workdir(tmp_path / "alone"), files
    for one, other in zip(alone.history(), moved.history(), strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert other[name] == pytest.approx(one[name], rel=1e-4), name
    assert moved.result()["test_loss"] == pytest.approx(alone.result()["test_loss"], rel=1e-4)
