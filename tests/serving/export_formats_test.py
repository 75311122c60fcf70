"""The function that exports begin with, and files that are no export. Exports are tested in exporting_test.py."""

import pathlib

import jax
import numpy as np
import pytest

from digits import models
from digits.runs import loading
from digits.serving import export_formats
from tests.conftest import tiny_config


def test_probabilities_are_those_of_the_run_for_any_number_of_images():
    config = tiny_config()
    model = models.build(config.model, 10, jax.random.key(0))
    run = loading.Run(pathlib.Path("made"), "made", {}, config, model, tuple("0123456789"), 1, [], None)
    predict = export_formats.probabilities(run)
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for count in (1, 5):
        np.testing.assert_allclose(predict(images[:count]), run.predict(images[:count]), atol=1e-6)


@pytest.mark.parametrize("format", export_formats.FORMATS)
def test_another_file_has_no_metadata_of_a_format(format, tmp_path):
    for package in export_formats.FORMATS[format].packages:
        pytest.importorskip(package)
    (tmp_path / "notes").write_text("my notes")
    with pytest.raises(Exception):  # noqa: B017 - each library has an error of its own.
        export_formats.FORMATS[format].metadata(tmp_path / "notes")
