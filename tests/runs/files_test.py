"""Files of runs: whole or not at all, sealed, and read with suspicion; tests/faults_test.py damages those of a run."""

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
    (tmp_path / "link.json").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.json")
    for name, words in (("link", "it is a link"), ("pipe", "it is no file")):
        with pytest.raises(UserError, match=f"{name}.json cannot be read as JSON: {words}"):
            files.read_json(tmp_path / f"{name}.json")
    with pytest.raises(UserError, match="link.json is a link"):
        files.refuse_links(tmp_path)


def test_a_folder_is_made_and_one_that_cannot_be_is_a_sentence(tmp_path):
    files.write(tmp_path / "new" / "a.txt", b"words")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"words"
    with pytest.raises(UserError, match="a.txt.b cannot be written"):
        files.write(tmp_path / "new" / "a.txt" / "b", b"")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    for name in (".a.json.17", ".a.json.mine", ".b.json.17", "a.json"):
        (tmp_path / name).touch()
    files.remove_temporaries(tmp_path, ["a.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.json.mine", ".b.json.17", "a.json"]


def test_a_lock_names_its_holder_and_is_free_again(tmp_path):
    first, second = files.Lock(tmp_path), files.Lock(tmp_path)
    first.acquire()
    with pytest.raises(Busy, match=f"is being trained by process {os.getpid()} on .* since "):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
