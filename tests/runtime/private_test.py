"""What is private in other libraries, or an experiment, is still there and does what it is used for."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from digits.runtime import private
from tests.conftest import ROOT


def test_jax_counts_the_processes_of_a_scheduler(monkeypatch):
    for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    assert private.scheduled_processes() == 1
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "here")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    assert private.scheduled_processes() == 4


def test_xla_knows_the_option_of_eigens_products():
    if jax.default_backend() != "cpu":
        pytest.skip("the option is the CPU's")
    lowered = jax.jit(lambda a, b: a @ b).lower(jnp.ones((4, 8)), jnp.ones((8, 2)))
    product = lowered.compile(compiler_options=private.EIGEN_PRODUCTS)(jnp.ones((4, 8)), jnp.ones((8, 2)))
    assert product.tolist() == [[8.0, 8.0]] * 4


def test_ray_gives_the_lines_of_its_logs_to_a_function(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", ray._private.worker.print_to_stdstream)
    told = []
    private.redirect_ray_logs(ray, told.append)
    ray._private.worker.print_to_stdstream({"lines": ["a worker died"]}, ignore_prefix=False)
    assert told == [["a worker died"]]


def test_trackio_prints_nothing_and_tells_the_last_step_of_a_run(tmp_path):
    """In a process of its own: Trackio reads the place of its runs once."""
    pytest.importorskip("trackio")
    program = (
        "import trackio; from digits.runtime import private; private.silence_trackio(trackio)\n"
        "for _ in range(2):\n"
        "    run = trackio.init('here', 'this', resume='allow')\n"
        "    steps = private.trackio_steps(run)\n"
        "    run.log({'loss': 1.0}, step=7)\n"
        "    run.finish()\n"
        "print(steps)\n"
    )
    env = os.environ | {"TRACKIO_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("7\n", 0)
