"""The tests' own settings: conftest.py names files that exist, and no file twice."""

from tests import conftest


def test_files_with_settings_of_their_own_exist():
    there = {conftest.name_of(path) for path in (conftest.ROOT / "tests").rglob("*_test.py")}
    for names in (conftest.OPTIMIZED, conftest.LONGEST, conftest.SLOW):
        assert set(names) <= there
        assert len(set(names)) == len(names)
