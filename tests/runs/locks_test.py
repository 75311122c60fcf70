"""Locks of folders: one holder at a time, named; what cannot be locked; file systems without locks."""

import errno
import os

import pytest

from digits.errors import Busy, UserError
from digits.runs import locks


def test_a_lock_names_its_holder_and_is_free_again(tmp_path):
    first, second = locks.Lock(tmp_path), locks.Lock(tmp_path)
    first.acquire()
    with pytest.raises(Busy, match=f"is being trained by process {os.getpid()} on .* since "):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_cannot_be_locked_is_one_sentence(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock cannot be locked \(Is a directory\): remove it, or give another"):
        locks.Lock(tmp_path).acquire()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_training_goes_on_and_a_line_says_what_is_missing(code, tmp_path, monkeypatch, capsys):
    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    locks._say_unguarded.cache_clear()
    both = locks.Lock(tmp_path), locks.Lock(tmp_path)
    for lock in both:
        lock.acquire()
    assert not locks.in_use(tmp_path)
    for lock in both:
        lock.release()
    said = capsys.readouterr().out
    assert said.startswith("The file system has no locks: ") and said.count("\n") == 1
