"""Files of runs: whole or not at all, sealed, and read with suspicion; tests/faults_test.py damages those of a run."""

import errno
import os

import pytest

from digits.errors import Busy, UserError
from digits.runs import files


def test_a_sealed_object_comes_back_and_a_changed_one_is_refused(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"epochs": 3, "loss": 0.25})
    assert files.read_json(path) == {"epochs": 3, "loss": 0.25}
    path.write_text(path.read_text().replace("0.25", "0.26"))
    with pytest.raises(UserError, match="a.json cannot be read as JSON: its check does not fit its content"):
        files.read_json(path)


def test_true_is_no_number():
    assert files.is_a(1, int) and files.is_a(0.5, (int, float)) and files.is_a(True, bool)
    assert not files.is_a(True, int) and not files.is_a(False, (int, float)) and not files.is_a(None, int)


def test_records_end_at_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert files.read_records(path) == {}
    path.write_text(files.line({"epoch": 1, "val_loss": None}) + files.line({"epoch": 2}) + '{"epoch": 3')
    assert files.read_records(path) == {1: {"epoch": 1, "val_loss": None}, 2: {"epoch": 2}}


def test_links_and_pipes_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("{}")
    tmp_path = tmp_path / "run"
    tmp_path.mkdir()
    (tmp_path / "link.json").symlink_to("../secret")
    os.mkfifo(tmp_path / "pipe.json")
    for name, words in (("link", "it is a link that leads out"), ("pipe", "it is no file")):
        with pytest.raises(UserError, match=f"{name}.json cannot be read as JSON: {words}"):
            files.read_json(tmp_path / f"{name}.json")
    with pytest.raises(UserError, match="link.json is a link"):
        files.refuse_links(tmp_path)


@pytest.mark.parametrize("target", ["own.json", "sub/own.json", "{run}/own.json", "sub/../own.json"])
def test_links_that_stay_in_their_folder_are_followed(target, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("own.json", "sub/own.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.json").symlink_to(target.format(run=tmp_path))
    (tmp_path / "down").symlink_to("sub")
    assert files.read_json(tmp_path / "link.json") == {}
    files.refuse_links(tmp_path)


@pytest.mark.parametrize(
    "target",
    ["gone.json", "link.json", "..", "../run 2/own.json", "/etc/hostname", "sub/link.json", "sub/../../secret"],
)
def test_links_that_leave_or_lead_nowhere_are_refused(target, tmp_path):
    run = tmp_path / "run"
    for folder in (run / "sub", tmp_path / "run 2"):
        folder.mkdir(parents=True)
    for secret in (tmp_path / "secret", tmp_path / "run 2" / "own.json"):
        secret.write_text("{}")
    (run / "sub" / "link.json").symlink_to("../../secret")
    (run / "link.json").symlink_to(target)
    with pytest.raises(UserError, match="link.json cannot be read as JSON: it is a link that leads out|is no file"):
        files.read_json(run / "link.json")
    with pytest.raises(UserError, match="link.json is a link that leads out of the run"):
        files.refuse_links(run)


@pytest.mark.parametrize("place", ["", "runs/simple_cnn"])
def test_links_of_a_snapshot_lead_to_its_blobs_and_nowhere_else(place, tmp_path):
    entry = tmp_path / "hub" / "models--me--digits"
    run = entry / "snapshots" / "0123abcd" / place
    for folder in (run, entry / "blobs" / "folder", entry / "refs", tmp_path / "hub" / "models--other" / "blobs"):
        folder.mkdir(parents=True)
    up = "../" * (2 + bool(place) * 2)
    for path in (entry / "blobs" / "1f3a", entry / "refs" / "main", tmp_path / "hub/models--other/blobs/1f3a"):
        path.write_text("{}")
    (run / "config.json").symlink_to(f"{up}blobs/1f3a")
    assert files.read_json(run / "config.json") == {}
    files.refuse_links(run)
    (entry / "blobs" / "out").symlink_to("/etc/hostname")
    for target in ("blobs/folder", "blobs/out", "blobs/gone", "refs/main", "../models--other/blobs/1f3a", "blobs"):
        (run / "link.json").unlink(missing_ok=True)
        (run / "link.json").symlink_to(up + target)
        with pytest.raises(UserError, match="link.json is a link that leads out of the run"):
            files.refuse_links(run)
        with pytest.raises(UserError, match="link.json cannot be read"):
            files.read_json(run / "link.json")


def test_a_folder_is_made_and_one_that_cannot_be_is_a_sentence(tmp_path):
    files.write(tmp_path / "new" / "a.txt", b"words")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"words"
    with pytest.raises(UserError, match="a.txt.b cannot be written"):
        files.write(tmp_path / "new" / "a.txt" / "b", b"")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_lock_names_its_holder_and_is_free_again(tmp_path):
    first, second = files.Lock(tmp_path), files.Lock(tmp_path)
    first.acquire()
    with pytest.raises(Busy, match=f"is being trained by process {os.getpid()} on .* since "):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_training_goes_on_and_a_line_says_what_is_missing(code, tmp_path, monkeypatch, capsys):
    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    files._say_unguarded.cache_clear()
    locks = files.Lock(tmp_path), files.Lock(tmp_path)
    for lock in locks:
        lock.acquire()
    assert not files.in_use(tmp_path)
    for lock in locks:
        lock.release()
    said = capsys.readouterr().out
    assert said.startswith("The file system has no locks: ") and said.count("\n") == 1
