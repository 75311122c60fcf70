"""Means, deviations and intervals, by hand and as published."""

import pytest

from digits import statistics


def test_one_member_has_no_deviation_and_none_has_no_mean():
    one, none = statistics.summarize([0.5, None]), statistics.summarize([])
    assert (one.n, one.mean, one.std, one.interval(), str(one)) == (1, 0.5, None, None, "0.5000")
    assert (none.n, none.mean, none.std, none.interval(), str(none)) == (0, None, None, None, "")
    assert str(statistics.summarize([0.989, 0.991])) == "0.9900 ± 0.0014"


@pytest.mark.parametrize(
    "correct, n, low, high",
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0000),  # The third, turned round.
    ],
)
def test_intervals_of_proportions_are_wilsons(correct, n, low, high):
    assert statistics.wilson(correct, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert 0 <= statistics.wilson(correct, n)[0] and statistics.wilson(correct, n)[1] <= 1
