"""The figures that the notebooks printed, and where more runs of the same kind lie. Needs no JAX."""

from collections.abc import Sequence
import dataclasses

from digits.documented import reported
from digits.statistics import Summary, summarize
from experiments.judging import prediction_interval
from experiments.study import TEST_ACCURACY, TEST_LOSS, Arm, Member, Metric, at


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A documented figure beside those of an arm's members.

    `metric` is the test accuracy; where the notebook lost that, the last validation or else training accuracy that it
    printed; or the test loss.
    """

    arm: Arm
    notebook: str
    metric: Metric
    documented: float
    members: Sequence[Member]

    @property
    def summary(self) -> Summary:
        return summarize(self.metric.of(member) for member in self.members)

    @property
    def inside(self) -> bool | None:
        """Whether the figure lies where one more run would with 95% probability; None below two members."""
        interval = prediction_interval(self.summary)
        return interval and interval[0] <= self.documented <= interval[1]


def compare(arm: Arm, members: Sequence[Member]) -> Comparison:
    """The documented figure of an arm, which must have one, beside its members."""
    figures = reported()[arm.documented]
    metric, value = TEST_ACCURACY, figures["test_accuracy"]
    if value is None:
        column = next(column for column in ("val_accuracy", "accuracy") if column in figures["history"])
        epoch, value = [(e, v) for e, v in enumerate(figures["history"][column], start=1) if v is not None][-1]
        metric = at(column, epoch)
    return Comparison(arm, figures["notebook"], metric, value, members)


def compare_test_loss(arm: Arm, members: Sequence[Member]) -> Comparison | None:
    """The documented test loss of an arm beside its members; None where the notebook's is lost."""
    figures = reported()[arm.documented]
    if figures["test_loss"] is None:
        return None
    return Comparison(arm, figures["notebook"], TEST_LOSS, figures["test_loss"], members)
