"""Files are written whole or not at all."""

import concurrent.futures
import os
import subprocess

import pytest

from digits.runtime import atomic


def test_a_file_gets_its_name_once_everything_is_written(tmp_path):
    path = tmp_path / "content"
    for content in (b"first", b"second"):
        with atomic.writing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"first"
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["content"]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(b"first")
    with pytest.raises(OSError, match="full"), atomic.writing(path) as file:
        file.write(b"sec")
        raise OSError("the disk is full")
    assert path.read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError), atomic.writing(path / "below") as file:
        pass


def test_an_error_of_a_write_names_the_file(tmp_path):
    """The system names only a file that it cannot open."""
    with pytest.raises(OSError) as caught, atomic.writing(tmp_path / "content"), open("/dev/full", "wb", 0) as full:
        full.write(b"x")
    assert caught.value.filename == str(tmp_path / "content") and caught.value.strerror == "No space left on device"
    assert not list(tmp_path.iterdir())


def test_the_next_writer_removes_what_killed_ones_left_and_nothing_else(tmp_path):
    (dead := subprocess.Popen(["true"])).wait()
    (tmp_path / f".a.json.{dead.pid}").mkdir()
    (tmp_path / f".a.json.{dead.pid}" / "part").touch()
    (tmp_path / f".a.json.{os.getpid()}").touch()  # A container's processes have the same numbers again.
    others = {".a.json.mine", f".b.json.{dead.pid}", f".a.json.{os.getppid()}", ".a.json.20240101"}
    for name in others:
        (tmp_path / name).touch()
    with atomic.writing(tmp_path / "a.json"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *others}


def test_threads_that_write_the_same_file_leave_each_other_alone(tmp_path):
    """As those of a sweep do, which compile the same program for several devices."""
    path = tmp_path / "a"
    with atomic.writing(path) as file, concurrent.futures.ThreadPoolExecutor(1) as other:
        file.write(b"first")

        def write():
            with atomic.writing(path) as theirs:
                theirs.write(b"second")

        other.submit(write).result()
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["a"]


def test_a_scratch_folder_is_removed_with_what_was_not_renamed(tmp_path):
    with atomic.scratch(tmp_path / "a.so") as folder:
        (folder / "part").touch()
        (folder / "a.so").touch()
        os.replace(folder / "a.so", tmp_path / "a.so")
    assert [path.name for path in tmp_path.iterdir()] == ["a.so"]
