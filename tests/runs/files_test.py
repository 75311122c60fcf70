"""Files of runs: whole or not at all, sealed, and read with suspicion; tests/faults_test.py damages those of a run."""

import contextlib
import json
import os
import socket

import pytest

from digits.errors import UserError
from digits.runs import files

RECORDS = [{"epoch": 1, "val_loss": None}, {"epoch": 2, "val_loss": 0.25}, {"epoch": 3, "val_loss": 0.125}]


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
    assert files.read_records(path, "run") == []
    for record in RECORDS[:2]:
        files.append_record(path, record, "run")
    path.write_text(path.read_text() + '{"epoch": 3')
    assert files.read_records(path, "run") == RECORDS[:2]


@pytest.mark.parametrize("run", ["5f3a", None])
def test_records_are_the_same_appended_one_by_one_and_written_together(tmp_path, run):
    for record in RECORDS:
        files.append_record(tmp_path / "a.jsonl", record, run)
    files.write_records(tmp_path / "b.jsonl", RECORDS, run)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert files.read_records(tmp_path / "a.jsonl", run) == RECORDS


def test_a_record_that_is_not_in_its_place_or_of_another_run_is_found(tmp_path):
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    files.write_records(path, RECORDS, "5f3a")
    files.write_records(other, RECORDS, "5f3b")
    (one, two, three), theirs = path.read_text().splitlines(), other.read_text().splitlines()
    unsealed = json.dumps(RECORDS[1])
    for line, lines in (
        (2, [one, three, two]), (2, [one, one, two, three]), (2, [one, three]), (1, [two, three]),
        (4, [one, two, three, three]), (2, [one, theirs[1], three]), (1, theirs), (3, [one, two, theirs[2]]),
        (2, [one, unsealed, three]),
    ):  # fmt: skip
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(UserError, match=f"a.jsonl is damaged: line {line} is not the record of that epoch"):
            files.read_records(path, "5f3a")


def test_records_of_earlier_versions_are_no_chain_but_in_order(tmp_path):
    files.write_records(tmp_path / "a.jsonl", RECORDS, None)
    one, two, three = (tmp_path / "a.jsonl").read_text().splitlines()
    (tmp_path / "a.jsonl").write_text(f"{one}\n{json.dumps(RECORDS[1])}\n{three}\n")
    assert files.read_records(tmp_path / "a.jsonl", None) == RECORDS
    (tmp_path / "a.jsonl").write_text(f"{one}\n{three}\n{two}\n")
    with pytest.raises(UserError, match="line 2 is not the record of that epoch .its epoch is 3"):
        files.read_records(tmp_path / "a.jsonl", None)


def test_a_folder_with_a_pipe_or_a_file_without_end_is_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"123")
    files.check_entries(tmp_path, lambda path: 3)
    with pytest.raises(UserError, match="sub/a is damaged: it has 3 bytes, and may have 2"):
        files.check_entries(tmp_path, lambda path: 2)
    with socket.socket(socket.AF_UNIX) as listening:
        for make in (lambda: os.mkfifo("sub/b"), lambda: listening.bind("sub/b"), lambda: os.symlink("c", "sub/b")):
            with contextlib.chdir(tmp_path):  # The name of a socket may have 107 bytes.
                os.mkfifo("sub/c")
                make()
                os.remove("sub/c") if not os.path.islink("sub/b") else None
            with pytest.raises(UserError, match="sub/[bc] is neither a file nor a folder"):
                files.check_entries(tmp_path, lambda path: 3)
            os.remove(tmp_path / "sub" / "b")


def test_a_folder_that_vanishes_meanwhile_is_none(tmp_path, monkeypatch):
    """A training run deletes its older checkpoints."""
    (tmp_path / "sub").mkdir()

    def scandir(path, scan=os.scandir):
        if str(path).endswith("sub"):
            os.rmdir(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files.check_entries(tmp_path, lambda path: 3)
    assert not (tmp_path / "sub").exists()


def test_links_and_pipes_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("{}")
    tmp_path = tmp_path / "run"
    tmp_path.mkdir()
    (tmp_path / "link.json").symlink_to("../secret")
    os.mkfifo(tmp_path / "pipe.json")
    for name, words in (("link", "is a link that leads out"), ("pipe", "cannot be read as JSON: it is no file")):
        with pytest.raises(UserError, match=f"{name}.json {words}"):
            files.read_json(tmp_path / f"{name}.json")
    with pytest.raises(UserError, match="link.json is a link"):
        files.check_entries(tmp_path, lambda path: 2)


@pytest.mark.parametrize("target", ["own.json", "sub/own.json", "{run}/own.json", "sub/../own.json"])
def test_links_that_stay_in_their_folder_are_followed(target, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("own.json", "sub/own.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "link.json").symlink_to(target.format(run=tmp_path))
    (tmp_path / "down").symlink_to("sub")
    assert files.read_json(tmp_path / "link.json") == {}
    files.check_entries(tmp_path, lambda path: 2)


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
    with pytest.raises(UserError, match="link.json is a link that leads out"):
        files.read_json(run / "link.json")
    with pytest.raises(UserError, match="link.json is a link that leads out of the run"):
        files.check_entries(run, lambda path: 2)


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
    files.check_entries(run, lambda path: 2)
    (entry / "blobs" / "out").symlink_to("/etc/hostname")
    for target in ("blobs/folder", "blobs/out", "blobs/gone", "refs/main", "../models--other/blobs/1f3a", "blobs"):
        (run / "link.json").unlink(missing_ok=True)
        (run / "link.json").symlink_to(up + target)
        with pytest.raises(UserError, match="link.json is a link that leads out of the run"):
            files.check_entries(run, lambda path: 2)
        with pytest.raises(UserError, match="link.json is a link that leads out"):
            files.read_json(run / "link.json")


def test_a_folder_is_made_and_one_that_cannot_be_is_a_sentence(tmp_path):
    files.write(tmp_path / "new" / "a.txt", b"words")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"words"
    with pytest.raises(UserError, match="a.txt.b cannot be written"):
        files.write(tmp_path / "new" / "a.txt" / "b", b"")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
