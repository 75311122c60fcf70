"""Members of a population: when one has ended, and the failure that an error leaves."""

import pytest

from digits.errors import Busy, Diverged, OutOfMemory, UserError
from digits.runtime.signals import Listener
from digits.sweeps.members import Company, Member, Watcher
from digits.training.startup import Start


class Noting(Watcher):
    def __init__(self):
        self.ended = []

    def finished(self, member, result, failure):
        self.ended.append((member.workdir.name, failure["kind"], failure["message"]))


@pytest.mark.parametrize(
    ("error", "kind", "message", "written"),
    [
        (Diverged("The loss became nan."), "diverged", "The loss became nan.", True),
        (OutOfMemory("Too little."), "out of memory", "Too little.", True),
        (UserError("No data."), "error", "No data.", True),
        (RuntimeError("broken"), "error", "RuntimeError: broken", True),
        (Busy("Another trains it."), "error", "Another trains it.", False),
    ],
)
def test_an_error_is_the_failure_of_the_members_that_have_not_ended(tiny, tmp_path, error, kind, message, written):
    watcher, (one, other) = Noting(), [Member(tiny, tmp_path / name) for name in ("one", "other")]
    other.files.write_failure("diverged", "before")
    with Company(watcher, Listener(), Start("optdigits", None)).failing(one, other):
        raise error
    assert watcher.ended == [("one", kind, message)]
    assert one.files.failure() == ({"kind": kind, "message": message} if written else None)
    assert other.files.failure()["message"] == "before"
    assert one.ended is (kind == "diverged") and other.ended


def test_a_member_whose_folder_takes_no_file_fails_alone(tiny, tmp_path):
    watcher, member = Noting(), Member(tiny, tmp_path / "one")
    (tmp_path / "one").symlink_to(tmp_path / "one")
    with Company(watcher, Listener(), Start("optdigits", None)).failing(member):
        raise UserError("It cannot be written.")
    assert watcher.ended == [("one", "error", "It cannot be written.")]


def test_a_member_whose_config_is_damaged_fails_alone(tiny, tmp_path):
    watcher, member = Noting(), Member(tiny, tmp_path / "one")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text("{")
    with Company(watcher, Listener(), Start("optdigits", None)).failing(member):
        raise UserError("It cannot be read.")
    assert watcher.ended == [("one", "error", "It cannot be read.")]
