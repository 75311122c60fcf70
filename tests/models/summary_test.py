"""The table of a network's layers."""

from configs import six_conv
from digits.models import summary
from tests.models.families_test import outline


def test_the_table_shows_shapes_counts_and_totals_also_of_an_abstract_module():
    config = six_conv.get_config()
    text = summary.table(outline(config))
    rows = [line.split() for line in text.splitlines()]
    assert ["max_pool_1", "26x26x16", "0"] in rows  # A pooling of 1 is kept as a layer.
    assert ["max_pool_6", "1x1x160", "0"] in rows  # 3x3 to 1x1: a row and a column are dropped.
    assert ["conv_6", "3x3x160", "512,160"] in rows and ["batch_norm_7", "256", "1,024"] in rows
    assert text.endswith("1,074,890 (1,073,386 trainable, 1,504 not), 4.1 MiB")
