"""The command line as a newcomer meets it: what it prints, its exit codes, and one sentence for every mistake."""

import gzip
import json
import signal
import struct
import subprocess
import sys

import pytest

from digits import main
from digits.runs.checkpoints import Checkpoints
from digits.runs.workdir import Workdir
from digits.runtime import signals
from digits.training import terminal
from tests.conftest import is_one_mistake

QUICK = ("--config=configs/quickstart.py", "--config.epochs=2", "--config.tensorboard=False")


def write_idx(folder, images=20, labels=20):
    """A small dataset in the four files' format; any 28x28 pixels will do."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", images), ("t10k", 10)):
        pixels = bytes((i * 7 + j) % 256 for i in range(count) for j in range(784))
        header = struct.pack(">4I", 0x803, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels))
        count = labels if part == "train" else 10
        content = struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))


def test_quick_start_trains_prints_and_records(tmp_path, run_module):
    done = run_module("digits.main", *QUICK, f"--workdir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    for words in (
        "conv_1",
        "121,930",
        "optdigits: 1,221 training, 216 validation",
        "first step after",
        "epoch    loss     acc  val_loss  val_acc        lr       s  * best val_loss\n  1/2  ",
        "test accuracy",
    ):
        assert words in done.stdout
    assert "\r" not in done.stderr  # No bar where stderr is no terminal.
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    keys = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second"]
    keys.append("check")
    assert [list(line) for line in lines] == [keys, keys] and [line["epoch"] for line in lines] == [1, 2]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {"test_loss", "test_accuracy", "seed", "epochs", "seconds", "device", "versions", "commit"} <= set(result)
    assert 0 < result["compile_seconds"] < result["seconds_to_first_step"] and result["peak_memory_bytes"] > 2**26
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    assert about["config_file"] == "configs/quickstart.py"
    assert about["overrides"] == {"epochs": 2, "tensorboard": False} and about["config"]["epochs"] == 2
    page = tmp_path / "run" / "report.html"
    assert f"{result['test_accuracy']:.4f}" in page.read_text()
    said = done.stdout.splitlines()
    assert max(len(line) for line in said if str(tmp_path) not in line) < 80
    commands = [f"{terminal._OPEN} {page}"]
    commands += [f"python -m digits.{name} --workdir={tmp_path}/run" for name in ("demo", "evaluate")]
    assert said[-5:] == ["writing the report ...", "next:", *(f"  {line}" for line in commands)]
    pictures = {path.stem for path in (page.parent / "figures").iterdir()}
    assert {"loss", "accuracy", "confusion", "filters"} <= pictures
    page.write_text("mine")
    again = run_module("digits.main", *QUICK, f"--workdir={tmp_path}/run")
    assert again.returncode == 0 and "finished" in again.stdout and "epoch" not in again.stdout
    assert again.stdout.splitlines()[-3:] == said[-3:]
    assert page.read_text() == "mine"


@pytest.mark.parametrize(
    "args, words",
    [
        ([], ["--config is missing"]),
        (["--config=configs/nope.py"], ["configs/nope.py", "no such file"]),
        (["--config=simple_cn"], ["'simple_cn'", "no experiment of that name; did you mean simple_cnn"]),
        (
            ["--config=configs/quickstart.py", "--config.bach_size=3"],
            ["'bach_size'", "did you mean --config.batch_size?"],
        ),
        (
            ["--config=configs/quickstart.py", "--config.model.hiden=3"],
            ["'model.hiden'", "did you mean --config.model.hidden?"],
        ),
        (["--config=configs/quickstart.py", "--config.epochs.x=1"], ["there is no field 'epochs.x'"]),
        (["--config=configs/quickstart.py", "--config.model=cnn"], ["'model' is a section", "kernel_size"]),
        (
            ["--config=configs/quickstart.py", "--config.model.blocks=((32,),(64"],
            ["config.model.blocks", "'((32,),(64'", "a tuple"],
        ),
        (
            ["--config=configs/quickstart.py", "--config=configs/deep_cnn.py", "--config.seed=1"],
            ["--config is given twice"],
        ),
        (["--config=configs/quickstart.py", "--data_dir=/nowhere"], ["/nowhere", "no such folder"]),
        (["--config=configs/quickstart.py", "--config.epochs=3.5"], ["config.epochs", "'3.5'", "whole number"]),
        (
            ["--config=configs/quickstart.py", "--config.optimizer.learning_rate=x"],
            ["learning_rate", "'x'", "a finite number above 0"],
        ),
        (["--config=configs/quickstart.py", "--wrkdir=x"], ["wrkdir", "workdir"]),
        (
            ["--config=configs/quickstart.py", "--sweep.seed=0:3"],
            ["--sweep.seed is given", "python -m digits.sweep --config=configs/quickstart.py --sweep.seed=0:3"],
        ),
        (["--config=configs/quickstart.py", "here"], ["'here'"]),
        (["--config.epochs=3", "--config=configs/quickstart.py"], ["--config.epochs=3", "before"]),
        (["--config=configs/quickstart.py", "--config.batch_size=0"], ["config.batch_size is 0", "from 1"]),
        (
            ["--config=configs/quickstart.py", "--config.batch_size=5000"],
            ["config.batch_size is 5000", "at most the 1,221"],
        ),
        (["--config=configs/quickstart.py", "--config.optimizer.name=adagrad"], ["'adagrad'", "adam"]),
        (["--config=configs/quickstart.py", "--config.data.validation=none"], ["config.monitor", "restore_best"]),
        (["--config=configs/quickstart.py", "--workdir=/proc/nowhere"], ["/proc/nowhere", "cannot be written"]),
        (["--config=configs/quickstart.py", "--config.data.name=nope/"], ["'nope'", "no such folder"]),
        (["--config=configs/dense_32_32.py", "--data_dir=/nowhere"], ["/nowhere", "train-images-idx3-ubyte"]),
    ],
)
def test_mistakes_give_one_sentence_and_exit_code_2(args, words, tmp_path, run_command):
    if not any(a.startswith("--workdir") for a in args):
        args = [*args, f"--workdir={tmp_path}/run"]
    done = run_command(main.main, *args)
    assert done.returncode == 2 and done.stdout == ""
    assert is_one_mistake(done.stderr)
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "body, words",
    [
        ("config.bach_size = 3", ["line 4", "'bach_size'", "'batch_size'"]),
        ("config.epochs = 'ten'", ["line 4", "TypeError"]),
        ("config.optimizer.name = adam", ["line 4", "NameError"]),
        ("config.epochs = = 3", ["line 4", "invalid syntax"]),
    ],
)
def test_mistakes_within_get_config_name_file_and_line(body, words, tmp_path, run_command):
    path = tmp_path / "mine.py"
    path.write_text(
        f"from configs import base\ndef get_config():\n    config = base.get_config()\n    {body}\n    return config\n"
    )
    done = run_command(main.main, f"--config={path}", f"--workdir={tmp_path}/run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(path) in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    "content, words",
    [
        ("def get_config():\n    return {'epochs': 3}\n", ["get_config() of", "must return a config"]),
        ("def config():\n    pass\n", ["has no function get_config()"]),
        ("X = int('x')\ndef get_config():\n    pass\n", ["line 1: ValueError: invalid literal"]),
        ("import nothing_of_that_name\n", ["line 1: ModuleNotFoundError"]),
        ("\0", ["line 1", "null bytes"]),
        (
            "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'epochs': 3})\n",
            ["has no field 'augment'", "base.get_config()"],
        ),
    ],
)
def test_what_is_no_config_file_is_said(content, words, tmp_path, run_command):
    path = tmp_path / "mine.py"
    path.write_text(content)
    done = run_command(main.main, f"--config={path}", f"--workdir={tmp_path}/run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and str(path) in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("flag", ["--config.epochs=3.5", "--config.batch_size=5000"])
def test_a_mistake_ends_the_process_before_and_after_jax_is_imported(flag, tmp_path, run_module):
    done = run_module("digits.main", "--config=quickstart", flag, f"--workdir={tmp_path}/run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_second_signal_ends_with_a_sentence_and_leaves_the_last_saved_state_whole(tmp_path):
    args = (
        "--config=dense_32_32", "--config.data.name=optdigits", "--config.epochs=500", "--config.batch_size=8",
        "--config.model.hidden=512,512", "--config.tensorboard=False", f"--workdir={tmp_path}/run",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "digits.main", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("  3/500"):  # The first epoch is saved, and the next one takes half a second.
            break
    process.send_signal(signal.SIGINT)
    said = next(line for line in process.stderr if "stopping" in line)
    assert said == "stopping after this step and saving; Ctrl-C again to stop without saving\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "saved" not in out
    assert err == f"{signals._ENDED}\n"
    saved = Checkpoints(tmp_path / "run" / "checkpoints", Workdir(tmp_path / "run").identity, read_only=True)
    assert saved.restore(saved.steps()[0])[1]["epoch"] >= 1
    saved.close()


@pytest.mark.parametrize("damage", ["truncated", "magic", "counts", "missing"])
def test_damaged_idx_files_give_one_sentence(damage, tmp_path, run_command):
    folder = tmp_path / "fashion_mnist"
    write_idx(folder, labels=19 if damage == "counts" else 20)
    images = folder / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(images.read_bytes())
    if damage == "truncated":
        images.write_bytes(gzip.compress(content[:-5]))
    if damage == "magic":
        images.write_bytes(gzip.compress(b"\0\0\x0d\x03" + content[4:]))
    if damage == "missing":
        images.unlink()
    args = ("--config=configs/dense_32_32.py", "--config.data.name=fashion_mnist", f"--data_dir={tmp_path}")
    done = run_command(main.main, *args, f"--workdir={tmp_path}/run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "train-images-idx3-ubyte" in done.stderr
    assert {"truncated": "truncated", "magic": "00000d03", "counts": "19", "missing": "no file"}[damage] in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_is_quick_to_import(run_module):
    done = run_module("digits.main", "--help", python=("-X", "importtime"))
    assert done.returncode == 0 and "--workdir" in done.stdout and "--coordinator" in done.stdout
    for heavy in ("jax", "flax", "orbax", "tensorflow"):
        assert f" {heavy}\n" not in done.stderr


HIDE = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
hidden = ("tensorflow", "tensorflow_datasets", "tensorboard", "sklearn", "PIL")
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.split(".")[0] in hidden else find_spec(name, path, target)
)
"""


def test_trains_from_idx_files_where_tensorflow_tfds_and_pillow_are_not_installed(tmp_path, run_module):
    """None of them can be found; the run says that it wrote no events, and is otherwise whole."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE)
    write_idx(tmp_path / "fashion_mnist", 100, 100)
    done = run_module(
        "digits.main", "--config=configs/dense_32_32.py", "--config.data.name=fashion_mnist", "--config.epochs=2",
        f"--data_dir={tmp_path}", f"--workdir={tmp_path}/run", "--profile", env={"PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no TensorBoard events" in done.stdout and "test accuracy" in done.stdout
    assert "no report was written: A report needs pillow" in done.stdout
    assert "profile: train" in done.stdout and list((tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz"))
    assert (tmp_path / "run" / "result.json").exists() and not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.slow
@pytest.mark.mnist
def test_second_start_imports_no_tensorflow_before_the_first_epoch_ends(tmp_path, run_module):
    """The import times list everything imported; with events off nothing needs TensorFlow or TFDS at all."""
    args = ("--config=configs/dense_32_32.py", "--config.epochs=1", "--config.tensorboard=False", "--noreport")
    first = run_module("digits.main", *args, f"--workdir={tmp_path}/a")
    assert first.returncode == 0, first.stderr
    env = {"DIGITS_DATA_DIR": ""}  # From the cache that the first start left.
    done = run_module("digits.main", *args, f"--workdir={tmp_path}/b", env=env, python=("-X", "importtime"))
    assert done.returncode == 0 and "epoch" in done.stdout
    for heavy in ("tensorflow", "tensorflow_datasets", "sklearn", "matplotlib"):
        assert f" {heavy}\n" not in done.stderr
    assert (
        json.loads((tmp_path / "a/result.json").read_text())["test_loss"]
        == json.loads((tmp_path / "b/result.json").read_text())["test_loss"]
    )
