"""No kill, damage, full or vanished disk and no second process loses work of a run or corrupts its result."""

import errno
import gc
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import digits
from digits.errors import Diverged, UserError
from digits.runs import files, loading
from digits.runs.checkpoints import Checkpoints, Damaged
from digits.runs.workdir import Workdir
from digits.runtime import signals
from digits.training import run, train
from digits.training.loop import Loop
from tests import faults
from tests.conftest import ROOT
from tests.training.train_test import assert_same_bits

SEED = int(os.environ.get("DIGITS_FAULTS_SEED", np.random.default_rng().integers(2**31)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of `faults.config`."""
    folder = tmp_path_factory.mktemp("faults")
    train.train_and_evaluate(faults.config(), folder / "whole")
    return folder / "whole"


@pytest.fixture(scope="module")
def part(tmp_path_factory, whole):
    """An unfinished one, two epochs before its end."""
    folder = tmp_path_factory.mktemp("faults")
    faults.interrupted(folder / "part")
    return folder / "part"


@pytest.fixture
def copy(part, tmp_path):
    """A copy of the unfinished run."""
    return pathlib.Path(shutil.copytree(part, tmp_path / "copy"))


def test_kills_at_random_instants_lose_nothing(tmp_path):
    faults.kill(tmp_path, 2, np.random.default_rng(SEED))


def test_a_kill_between_a_save_and_the_deletion_after_it_leaves_no_more_checkpoints(whole, tmp_path):
    """Also where the killed run had only its test before it, and so saves nothing more."""
    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    (run / "result.json").unlink()
    for left in ("1", "2"):
        shutil.copytree(run / "checkpoints" / before[0], run / "checkpoints" / left)
    train.train_and_evaluate(faults.config(), run)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before
    assert_same_bits(whole, run)


def test_damage_at_random_places_is_refused_or_without_effect(tmp_path):
    assert sum(faults.damages(tmp_path, 4, np.random.default_rng(SEED)).values()) == 4, SEED


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(whole, copy, capsys):
    steps = sorted((int(path.name) for path in (copy / "checkpoints").iterdir()), reverse=True)
    assert len(steps) >= 2
    data = max((copy / "checkpoints" / str(steps[0])).rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        digits.load(copy)
    train.train_and_evaluate(faults.config(), copy)
    said = " ".join(capsys.readouterr().out.split())  # A long path wraps its line.
    assert f"the checkpoint {copy / 'checkpoints' / str(steps[0])} was damaged, and is removed" in said
    assert "after epoch 3," in said  # It was of the fourth.
    assert_same_bits(whole, copy)


def test_without_a_whole_checkpoint_it_stops(copy):
    for path in (copy / "checkpoints").glob("*/about/metadata"):
        path.write_text("{}")
    before = {path: path.read_bytes() for path in (copy / "checkpoints").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="has no checkpoint that is whole"):
        train.train_and_evaluate(faults.config(), copy)
    assert {path: path.read_bytes() for path in (copy / "checkpoints").rglob("*") if path.is_file()} == before


def test_records_that_are_gone_take_no_checkpoint_with_them(whole, copy):
    """The user may find the lost file, and then the run goes on."""
    records = (copy / "metrics.jsonl").rename(copy.parent / "aside")
    with pytest.raises(
        UserError, match="has no checkpoint that is whole .* metrics.jsonl has no record of some of its"
    ):
        train.train_and_evaluate(faults.config(), copy)
    records.rename(copy / "metrics.jsonl")
    train.train_and_evaluate(faults.config(), copy)
    assert_same_bits(whole, copy)


@pytest.mark.parametrize("error", [OSError(errno.EIO, os.strerror(errno.EIO)), MemoryError()])
def test_a_machine_that_cannot_read_a_checkpoint_does_not_cost_it(whole, copy, monkeypatch, error):
    def fail(self, step, like):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_restore", fail)
        with pytest.raises(type(error)):
            train.train_and_evaluate(faults.config(), copy)
    train.train_and_evaluate(faults.config(), copy)
    assert_same_bits(whole, copy)


def test_other_weights_in_a_checkpoint_are_found(copy):
    """Orbax's own checks know of no array that another program has written."""
    saved = Checkpoints(copy / "checkpoints", Workdir(copy).identity)
    step = saved.steps()[0]
    state, about = saved.restore(step)
    saved.remove(step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("digits.runs.checkpoints.digest", lambda state: "0" * 64)
        saved.save(step, state, about)
        saved.steps()
    with pytest.raises(Damaged, match="are not those that were saved"):
        saved.restore(step)
    saved.close()


def test_a_record_that_is_gone_is_trained_again(whole, copy):
    """The latest checkpoint's epoch lost its line: the run goes on from the checkpoint before it."""
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:-1]))
    train.train_and_evaluate(faults.config(), copy)
    assert_same_bits(whole, copy)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
def test_another_digit_in_a_record_is_found(whole, tmp_path, name):
    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    text = (run / name).read_text()
    place = next(i for i, c in enumerate(text) if c.isdigit() and c != "9")
    (run / name).write_text(text[:place] + str(int(text[place]) + 1) + text[place + 1 :])
    with pytest.raises(UserError, match=f"{name}.*(check does not fit|line 1 is not the record)"):
        Workdir(run).read()


def test_a_file_without_a_check_is_believed(tmp_path):
    (tmp_path / "by_hand.json").write_text('{"epochs": 3}')
    assert files.read_json(tmp_path / "by_hand.json") == {"epochs": 3}


# Disks


@pytest.fixture
def disk(tmp_path):
    """A file-system of 2 MiB of its own; skipped where none may be mounted."""
    (folder := tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_the_last_checkpoint_loads(disk, whole):
    config = faults.config()
    config.checkpoint_every, config.early_stopping.restore_best = 1, False

    def fill(file):
        with file.open("wb") as out:
            while out.write(bytes(4096)):
                out.flush()

    with faults.opened(config, disk / "run") as training:
        loop = Loop(training, signals.Listener())
        loop.train_epoch()
        training.saves.steps()  # Waits for the first checkpoint.
        with pytest.raises(OSError, match="No space left"):
            fill(disk / "full")
        with pytest.raises(
            UserError, match=r"run cannot be written any more \(.*[Nn]o space left.*the same command goes on"
        ):
            while not training.done:
                loop.train_epoch()
    assert digits.load(disk / "run").epoch == 1
    (disk / "full").unlink()
    train.train_and_evaluate(config, disk / "run")
    assert digits.load(disk / "run").epoch == faults.EPOCHS


def test_a_disk_that_fills_during_a_save_is_one_error_and_leaves_nothing(disk, capfd, caplog, monkeypatch):
    """Whichever write fails: Orbax writes arrays at once and in several threads, and each would print a traceback."""
    unraised, rng = [], np.random.default_rng(0)
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    state = {f"array_{index}": rng.random((60, 100)) for index in range(20)}  # 1 MB.
    for kilobytes in (0, 8, 40, 200, 800):
        (disk / "filler").write_bytes(bytes((2048 - 8 - kilobytes) * 1024))
        saved = Checkpoints(disk / "checkpoints", run=None)
        saved.save(1, state, {"epoch": 1})
        with pytest.raises(OSError, match="^No space left on device$"):
            saved.steps()
        assert not [thread for thread in threading.enumerate() if type(thread).__module__.startswith("orbax.")]
        saved.close()
        assert not list((disk / "checkpoints").iterdir())
        (disk / "filler").unlink()
    gc.collect()
    assert capfd.readouterr() == ("", "") and not caplog.records and not unraised


def test_a_checkpoint_that_a_kill_left_half_saved_or_half_deleted_is_removed(copy):
    """An interrupted deletion has renamed the checkpoint already; it is never taken for a damaged one."""
    saved = Checkpoints(copy / "checkpoints", Workdir(copy).identity)
    steps = saved.steps()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_remove_rests", lambda self: None)
        saved.remove(steps[-1])
        saved.close()
    (rest,) = (path for path in (copy / "checkpoints").iterdir() if not path.name.isdigit())
    assert (rest / str(steps[-1]) / "about").is_dir()
    (copy / "checkpoints" / "7.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    again = Checkpoints(copy / "checkpoints", Workdir(copy).identity)
    assert again.steps() == steps[:-1] and not faults.strays(copy)
    again.close()


def test_a_command_survives_writes_that_fail_and_kills_at_writes(tmp_path):
    """One of each. A library that is loaded before all others makes the disk: in a process of its own."""
    here = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.faults", "--errors=1", "--stops=1", "--commands=main", f"--seed={SEED}"]
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("digits.main") == 2


def test_a_read_only_disk_is_one_sentence(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(UserError, match=r"--workdir is .*disk/run, which cannot be written \(Read-only file system\)"):
        train.train_and_evaluate(faults.config(), disk / "run")


def test_a_folder_that_is_removed_is_one_sentence(tmp_path, monkeypatch):
    real = run.Run._metrics

    def metrics(self):
        if self.state.epoch == 2:
            self.saves.steps()  # Waits for the save that is under way, which would make folders anew.
            shutil.rmtree(tmp_path / "run")
        return real(self)

    monkeypatch.setattr(run.Run, "_metrics", metrics)
    with pytest.raises(UserError, match=r"run cannot be written any more \(No such file or directory\).*: it is gone"):
        train.train_and_evaluate(faults.config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    files.write_json(tmp_path / "a.json", {"old": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        files.write_json(tmp_path / "a.json", {"new": 1})
    assert files.read_json(tmp_path / "a.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


# Company

HOLD = """
import pathlib, sys, time
from digits.runs import locks
lock = locks.Lock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(100)
"""


def test_a_second_process_is_refused_and_a_dead_one_is_no_obstacle(copy, whole):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, copy], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for _ in range(2):  # The refused one must not take the holder's name away.
        with pytest.raises(
            UserError, match=f"is being trained by process {holder.pid} on .* since .*another --workdir"
        ):
            train.train_and_evaluate(faults.config(), copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    train.train_and_evaluate(faults.config(), copy)
    assert_same_bits(whole, copy)


def test_the_loss_that_is_no_number_is_named_with_its_step_and_rate(tiny, tmp_path):
    tiny.optimizer.name, tiny.optimizer.learning_rate, tiny.augment.rotation = "sgd", 1e25, 0.0
    tiny.model.hidden_batch_norm = False
    with pytest.raises(
        Diverged, match=r"became (nan|inf) in epoch 1, step [2-9] of 23, at a learning rate of 1e\+25: try"
    ):
        train.train_and_evaluate(tiny, tmp_path / "run")


def test_a_last_step_that_destroys_the_weights_is_no_result(tiny, tmp_path):
    """The loss of a step is computed before its update: only the evaluation after the last one shows the damage."""
    tiny.optimizer.name, tiny.optimizer.learning_rate, tiny.augment.rotation = "sgd", 1e36, 0.0
    tiny.model.hidden_batch_norm, tiny.epochs, tiny.monitor = False, 1, "loss"
    for validation, what, images in (("last(100)", "validation", 1337), ("none", "test", 1437)):
        tiny.data.validation, tiny.batch_size = validation, images
        with pytest.raises(
            Diverged, match=f"^The {what} loss became (nan|inf) after epoch 1, at a learning rate of 1e"
        ):
            train.train_and_evaluate(tiny, tmp_path / what)
        assert not (tmp_path / what / "result.json").exists()


# Runs of others


def test_a_run_that_leads_elsewhere_by_a_link_is_refused(whole, tmp_path):
    for name in ("metrics.jsonl", "checkpoints", "checkpoints/link"):
        run = pathlib.Path(shutil.copytree(whole, tmp_path / name.replace("/", "_")))
        target = run / name
        if target.exists():
            shutil.move(target, tmp_path / f"outside {target.name}")
            target.symlink_to(tmp_path / f"outside {target.name}")
        else:
            target.symlink_to("/etc")
        with pytest.raises(UserError, match=f"{target} is a link"):
            digits.load(run)


def test_arrays_that_claim_a_terabyte_are_refused_before_they_are_read(whole, tmp_path):
    """The declared shape of one array is enlarged, as its author would."""
    import orbax.checkpoint as ocp
    import tensorstore as ts

    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    step = max((path for path in (run / "checkpoints").iterdir()), key=lambda path: int(path.name))
    state = step / "state"
    shutil.rmtree(state)
    shutil.rmtree(tmp_path / "small", ignore_errors=True)
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "small", {"train": {"params": {"x": np.zeros(3, np.float32)}}})
    shutil.copytree(tmp_path / "small", state)
    kvstore = {"driver": "ocdbt", "base": f"file://{state}/", "path": "train.params.x/"}
    ts.open(
        {
            "driver": "zarr", "kvstore": kvstore, "delete_existing": True, "create": True, "dtype": "float32",
            "metadata": {"shape": [2**38], "chunks": [2**38], "compressor": None},
        }
    ).result()  # fmt: skip
    with pytest.raises(UserError, match=r"declares arrays of 1,099,511,627,776 bytes, in files of"):
        digits.load(run)


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda about: about["config"]["model"].update(hidden=[17]), "not those of its config's network"),
        (lambda about: about.update(class_names=[None] * 10), "its class names are no words"),
        (lambda about: about.update(class_names=["\x1b[2J"] * 10), "its class names are no words"),
        (lambda about: about.update(epoch="1"), "its epoch is '1'"),
        (lambda about: about.update(epoch=-1), "its epoch is -1"),
    ],
)
def test_a_checkpoint_that_tells_nonsense_is_refused(whole, tmp_path, change, word):
    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    for path in run.glob("checkpoints/*/about/metadata"):
        about = json.loads(path.read_text())
        about.pop("check")
        change(about)
        path.write_text(json.dumps(files.seal(about)))
    with pytest.raises(UserError, match=word):
        digits.load(run)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a": ' * 100_000, "9" * 5000, '{"config": 3}', '{"config": {}}', "null", "\x00", "{]"],
    ids=["lists", "objects", "digits", "number", "empty", "null", "zero", "broken"],
)
def test_json_that_is_no_run_is_one_sentence(whole, tmp_path, content):
    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    for path in (run / "config.json", *run.glob("checkpoints/*/about/metadata"), run / "result.json"):
        path.write_text(content)
    with pytest.raises(UserError) as raised:
        digits.load(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name, change, word",
    [
        ("result.json", {"epochs": "adam"}, "no valid 'epochs'"),
        ("result.json", {"test_accuracy": True}, "no valid 'test_accuracy'"),
        ("metrics.jsonl", {"epoch": 1.0}, "line 1 is not the record of that epoch"),
        ("metrics.jsonl", {"loss": "0.1"}, "line 1 is not the record of that epoch"),
        ("metrics.jsonl", {"loss": [0.1]}, "line 1 is not the record of that epoch"),
    ],
)
def test_records_that_tell_nonsense_are_refused(whole, tmp_path, name, change, word):
    """Sealed anew, as their author would."""
    run = Workdir(shutil.copytree(whole, tmp_path / "run"))
    if name == "result.json":
        files.write_json(run.path / name, run.result() | change)
    else:
        first, *rest = run.history()
        files.write_records(run.path / name, [first | change, *rest], run.identity)
    with pytest.raises(UserError, match=word):
        digits.load(run.path)


def test_nothing_of_a_run_is_executed(whole, tmp_path):
    """Names that are imported, and values that are evaluated, in files that a loader could be careless with."""
    run = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    code = f"__import__('pathlib').Path({str(tmp_path / 'executed')!r}).touch()"
    (run / "config.py").write_text(code)
    (run / "conftest.py").write_text(code)
    for path in (run / "config.json", *run.glob("checkpoints/*/about/metadata")):
        about = json.loads(path.read_text())
        about.pop("check")
        about["config_file"] = code
        about["config"]["model"]["kernel_init"] = code
        about["config"]["optimizer"]["name"] = code
        about["config"]["!!python/object/apply:os.system"] = code
        path.write_text(json.dumps(files.seal(about)))
    with pytest.raises(UserError):
        loading.load(run)
    assert not (tmp_path / "executed").exists()
