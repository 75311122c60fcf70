"""Names and differing fields of compared runs. The page is tested in report_test.py."""

import pathlib
import types

from digits.reports import comparison_page
from tests.conftest import tiny_config


def test_runs_of_the_same_name_are_told_apart_by_the_folders_above():
    paths = [pathlib.Path(path) for path in ("/x/a/run", "/x/b/run", "/y/b/run")]
    assert comparison_page._names(paths[:1]) == ["run"]
    assert comparison_page._names(paths) == ["x/a/run", "x/b/run", "y/b/run"]


def test_documented_figures_are_no_difference_of_configs():
    entries = []
    for rate in (0.1, 0.2):
        config = tiny_config()
        config.optimizer.learning_rate = config.documented.test_accuracy = rate
        entries.append(comparison_page.Entry(str(rate), (types.SimpleNamespace(config=config),)))
    rows = comparison_page._config_rows(entries)
    assert rows == [{"field": "config.optimizer.learning_rate", "0.1": "0.1", "0.2": "0.2"}]
