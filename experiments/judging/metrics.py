"""Metrics of training curves that claims of several studies use. Needs no JAX."""

from collections.abc import Sequence
import itertools

from experiments.judging.study import Member, Metric

EPOCHS_TRAINED = Metric("epochs trained", "epochs", lambda member: len(member.history))


def fluctuation(epochs: int) -> Metric:
    """The mean absolute change of the validation loss from one epoch to the next, over the last `epochs` epochs.

    The first epochs are left out: there, learning itself makes large steps.
    """

    def find(member: Member) -> float | None:
        steps = _steps(_values(member, "val_loss"))[-epochs:]
        return sum(map(abs, steps)) / len(steps) if steps else None

    return Metric(f"mean step of the validation loss between the last {epochs} epochs", "nats", find)


def largest_rise(first: int, last: int) -> Metric:
    """The validation loss's largest rise from the epoch before, among the epochs `first` to `last`, counted from 1."""

    def find(member: Member) -> float | None:
        return max(_steps(_values(member, "val_loss"))[first - 2 : last - 1], default=None)

    return Metric(f"largest rise of the validation loss in epochs {first} to {last}", "nats", find)


def _validation_lead(member: Member) -> float | None:
    accuracies = _values(member, "val_accuracy")
    return accuracies[-1] - _values(member, "accuracy")[-1] if accuracies else None


def _loss_gap(member: Member) -> float | None:
    losses = _values(member, "val_loss")
    return losses[-1] - _values(member, "loss")[-1] if losses else None


VALIDATION_LEAD = Metric("validation accuracy above training accuracy, last epoch", "fraction", _validation_lead)
LOSS_GAP = Metric("validation loss above training loss, last epoch", "nats", _loss_gap)


def _values(member: Member, column: str) -> list[float]:
    """The values of a column of the history; none where the run has no such column."""
    return [record[column] for record in member.history if record.get(column) is not None]


def _steps(values: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(values)]
