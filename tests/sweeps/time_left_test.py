"""The estimate of a population's time, on a made-up clock."""

import pytest

from digits.config.values import with_values
from digits.sweeps.members import Member
from digits.sweeps.time_left import TimeLeft
from tests.conftest import tiny_config


class Population:
    """Members of 100 images an epoch, that train one after another on one made-up device, or `at_once` side by side."""

    def __init__(self, folder, epochs, *values):
        config = with_values(tiny_config(), {"epochs": epochs})
        self.members = [Member(with_values(config, own), folder / str(i)) for i, own in enumerate(values)]
        self.left, self.now, self.epochs = TimeLeft((member, 100) for member in self.members), 0.0, epochs

    def train(self, *indices, start=0.0, epoch=10.0, first_end=0.0, until=None):
        for index in indices:
            self.left.begun(self.members[index], self.now)
        self.now += start
        for number in range(until or self.epochs):
            self.now += epoch
            for index in indices:
                self.left.images(self.members[index], 1, self.now - epoch)  # The first step, then the others.
                self.left.images(self.members[index], 99, self.now)
            if not number:
                self.now += first_end

    def end(self, *indices, closing=0.0):
        self.now += closing
        for index in indices:
            self.left.ended(self.members[index], self.now, failed=False)


SEEDS = [{"seed": seed} for seed in range(4)]


def test_nothing_is_said_before_a_whole_epoch_with_its_end_was_measured(tmp_path):
    made = Population(tmp_path, 20, *SEEDS)
    assert made.left.images_left == 4 * 20 * 100 and made.left.seconds() is None
    made.train(0, 1, until=1)
    assert made.left.seconds() is None
    made.train(0, 1, until=1)
    # Two at a time: 18 epochs of the first two, then 20 of the others, of 10 s.
    assert made.left.seconds() == pytest.approx(380) and made.left.images_left == 2 * 18 * 100 + 2 * 20 * 100


def test_a_short_first_epoch_with_the_compilation_of_the_validation_does_not_count(tmp_path):
    made = Population(tmp_path, 100, *SEEDS)
    made.train(0, 1, epoch=1.0, first_end=3.0, until=2)
    assert made.left.seconds() is None
    made.train(0, 1, epoch=1.0, until=1)
    assert made.left.seconds() == pytest.approx(97 + 100)


def test_the_end_of_a_run_counts_and_short_runs_are_unknown_before_one_has_ended(tmp_path):
    made = Population(tmp_path, 5, *SEEDS)
    made.train(0, 1, epoch=1.0)
    assert made.left.seconds() is None
    made.end(0, 1, closing=3.0)
    assert made.left.seconds() == pytest.approx(5 + 3)


def test_the_rest_of_an_odd_run_is_not_shared_among_the_places(tmp_path):
    made = Population(tmp_path, 20, *SEEDS[:3])
    made.train(0, 1, until=2)
    assert made.left.seconds() == pytest.approx(180 + 200)


def test_programs_that_have_not_begun_cost_their_compilation_and_are_known_from_three_alike(tmp_path):
    widths = [{"model.hidden": (width,)} for width in range(8, 13)]
    made = Population(tmp_path, 4, *widths)
    for index, epoch in enumerate((10.0, 11.0, 12.0)):
        made.train(index, start=7.0, epoch=epoch)
        assert (made.left.seconds() is None) == (index < 2)
        made.end(index, closing=2.0)
    assert made.left.seconds() == pytest.approx(2 * (7 + 4 * 11 + 2))


def test_programs_that_differ_are_unknown_until_they_are_measured(tmp_path):
    made = Population(tmp_path, 4, *({"model.hidden": (width,)} for width in range(8, 12)))
    for index, epoch in enumerate((10.0, 20.0, 40.0)):
        made.train(index, epoch=epoch)
        made.end(index, closing=1.0)
        assert made.left.seconds() is None
    made.train(3, epoch=80.0, until=2)
    assert made.left.seconds() == pytest.approx(2 * 80 + 1)


def test_what_was_trained_before_is_not_counted_again(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "config.json").write_text('{"config": {}}')
    (tmp_path / "0" / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    assert Population(tmp_path, 4, {"seed": 0}, {"seed": 1}).left.images_left == 200 + 400
