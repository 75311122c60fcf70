"""Files are written whole or not at all."""

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
