"""A figure that a notebook printed, beside the figures of an arm's members. Needs no JAX."""

from collections.abc import Sequence
import dataclasses

from digits.analysis.differences import prediction_interval
from digits.analysis.statistics import AccuracySummary, Summary, summarize
from digits.runs.documented import reported
from experiments.judging.study import TEST_ACCURACY, TEST_LOSS, Arm, Member, Metric, at


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A documented figure beside those of an arm's members.

    Attributes:
      metric: the test accuracy, or the test loss. Where the notebook lost its test accuracy, the last validation
        accuracy that it printed, or else the last training accuracy.
    """

    arm: Arm
    notebook: str
    metric: Metric
    documented: float
    members: Sequence[Member]

    @property
    def summary(self) -> Summary:
        kind = AccuracySummary if self.metric.unit == "fraction" else Summary
        return summarize(map(self.metric.of, self.members), kind)

    @property
    def inside(self) -> bool | None:
        """Whether the figure lies in the 95% prediction interval of a single run; None below two members."""
        interval = prediction_interval(self.summary)
        return interval and interval[0] <= self.documented <= interval[1]


def compare(arm: Arm, members: Sequence[Member]) -> Comparison:
    """Compares an arm that has a documented figure with it."""
    figures = reported()[arm.documented]
    metric, value = TEST_ACCURACY, figures["test_accuracy"]
    if value is None:
        column = next(column for column in ("val_accuracy", "accuracy") if column in figures["history"])
        epoch, value = [(e, v) for e, v in enumerate(figures["history"][column], start=1) if v is not None][-1]
        metric = at(column, epoch)
    return Comparison(arm, figures["notebook"], metric, value, members)


def compare_test_loss(arm: Arm, members: Sequence[Member]) -> Comparison | None:
    """Compares an arm with its documented test loss; None where the notebook's is lost."""
    figures = reported()[arm.documented]
    if figures["test_loss"] is None:
        return None
    return Comparison(arm, figures["notebook"], TEST_LOSS, figures["test_loss"], members)
