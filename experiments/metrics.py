"""Numbers of a training curve that claims of more than one study speak of. Needs no JAX."""

from collections.abc import Sequence
import itertools

from experiments.study import Member, Metric

EPOCHS_TRAINED = Metric("epochs trained", "epochs", lambda member: len(member.history))


def fluctuation(epochs: int) -> Metric:
    """The mean size of the validation loss's step from epoch to epoch, over the last `epochs` of them.

    The first epochs are left out because learning itself makes large steps there.
    """

    def find(member: Member) -> float | None:
        steps = _steps(_values(member, "val_loss"))[-epochs:]
        return sum(map(abs, steps)) / len(steps) if steps else None

    return Metric(f"mean step of the validation loss between the last {epochs} epochs", "nats", find)


def largest_rise(first: int, last: int) -> Metric:
    """The validation loss's largest rise from the epoch before, among the epochs `first` to `last`, counted from 1."""
    find = lambda member: max(_steps(_values(member, "val_loss"))[first - 2 : last - 1], default=None)
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
    """A column of the history; empty where the run has none."""
    return [record[column] for record in member.history if record.get(column) is not None]


def _steps(values: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(values)]
