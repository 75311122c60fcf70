"""What a study is: arms that are trained with several seeds, and claims that their figures decide. Needs no JAX."""

from collections.abc import Callable, Mapping, Sequence
import collections
import dataclasses
import statistics
from typing import Any

KINDS = ("as run", "as written", "honest", "ours")


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is trained with several seeds: one row of a table.

    Attributes:
      name: unique in the project; its folder's name too.
      config: a file of configs/, without the ending.
      kind: "as run", "as written", "honest" (validation held out of training, the test set opened once) or "ours".
      overrides: dotted fields and their values.
      documented: the key in experiments/reported.json of the figures that this arm reproduces.
      seeds: how many members are wanted.
      note: a sentence for the table, where something must be said.
      repeats: the field in which the members differ: "seed", or "data.fold" for those of a cross-validation.
    """

    name: str
    config: str
    kind: str = "as run"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    documented: str | None = None
    seeds: int = 10
    note: str = ""
    repeats: str = "seed"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"The arm {self.name!r} is {self.kind!r}, but it must be one of {', '.join(KINDS)}.")


@dataclasses.dataclass(frozen=True)
class Member:
    """One trained run of an arm.

    Attributes:
      seed: or the fold, where the arm repeats that.
      result: the content of result.json.
      history: the records of metrics.jsonl, one an epoch.
    """

    seed: int
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of one member, None where it has none.

    Attributes:
      unit: "fraction", "nats", "epochs", "s", ...
      rounded: whether it is what was looked for, rounded up to a whole number.
    """

    name: str
    unit: str
    of: Callable[[Member], float | None]
    rounded: bool = False


TEST_ACCURACY = Metric("test accuracy", "fraction", lambda member: member.result["test_accuracy"])
TEST_LOSS = Metric("test loss", "nats", lambda member: member.result["test_loss"])
SECONDS = Metric("seconds", "s", lambda member: member.result["seconds"])


def median_seconds(members: Sequence[Member]) -> str:
    """In whole seconds; "" without members. What else ran on the machine made some of them far slower than the median."""
    return f"{statistics.median(map(SECONDS.of, members)):.0f}" if members else ""


def devices(members: Sequence[Member]) -> str:
    """What the members were trained on, each once."""
    return ", ".join(sorted({member.result["device"] for member in members}))


_COLUMNS = {
    "loss": ("training loss", "nats"),
    "accuracy": ("training accuracy", "fraction"),
    "val_loss": ("validation loss", "nats"),
    "val_accuracy": ("validation accuracy", "fraction"),
}


def at(column: str, epoch: int) -> Metric:
    """A column of the history in an epoch, from 1; -1 is the last one."""
    name, unit = _COLUMNS[column]
    where = "last epoch" if epoch == -1 else f"epoch {epoch}"
    find = lambda member: (_column(member, column)[epoch - (epoch > 0) :] or [None])[0]
    return Metric(f"{name}, {where}", unit, find)


VALIDATION_ACCURACY = at("val_accuracy", -1)


def epochs_to(accuracy: float, column: str = "accuracy") -> Metric:
    """Epochs until an accuracy is reached first.

    Where it never is, one more than were trained: leaving such a member out would make slow arms look fast.
    """

    def find(member: Member) -> int | None:
        values = _column(member, column)
        reached = (epoch for epoch, value in enumerate(values, start=1) if value is not None and value >= accuracy)
        return next(reached, len(values) + 1) if values else None

    return Metric(f"epochs to a {_COLUMNS[column][0]} of {accuracy:g}", "epochs", find, rounded=True)


def rise_after_minimum(column: str) -> Metric:
    """By how much a loss lies above its minimum at the end: what overfitting costs.

    Never negative: a curve that only goes up and down from epoch to epoch has some of it too.
    """
    name, unit = _COLUMNS[column]

    def find(member: Member) -> float | None:
        values = [value for value in _column(member, column) if value is not None]
        return values[-1] - min(values) if values else None

    return Metric(f"rise of the {name} after its minimum", unit, find)


def _column(member: Member, column: str) -> list[float | None]:
    return [record.get(column) for record in member.history]


@dataclasses.dataclass(frozen=True)
class Difference:
    """The second arm's figure minus the first's, paired by seed, is `expected` "higher", "lower", "same" or "not higher"."""

    first: str
    second: str
    metric: Metric
    expected: str
    margin: float = 0.0  # Of "same" and "not higher": up to this counts as none; the claim's note gives the reason.

    def __post_init__(self):
        _check_expected(self)

    @property
    def arms(self) -> tuple[str, ...]:
        return self.first, self.second

    def differences(self, members: Mapping[str, Sequence[Member]]) -> list[float]:
        of = lambda arm: {member.seed: self.metric.of(member) for member in members.get(arm, ())}
        first, second = of(self.first), of(self.second)
        pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
        return [b - a for a, b in pairs if a is not None and b is not None]


@dataclasses.dataclass(frozen=True)
class Level:
    """The mean of an arm's figure is `expected` "higher", "lower" or "not higher" than a number, or the "same"."""

    arm: str
    metric: Metric
    expected: str
    value: float
    margin: float = 0.0  # As for Difference.

    def __post_init__(self):
        _check_expected(self)

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def differences(self, members: Mapping[str, Sequence[Member]]) -> list[float]:
        values = [self.metric.of(member) for member in members.get(self.arm, ())]
        return [value - self.value for value in values if value is not None]


def _check_expected(test: Difference | Level) -> None:
    if test.expected not in ("higher", "lower", "same", "not higher"):
        raise ValueError(f"{test.expected!r} is expected, but it must be higher, lower, same or not higher.")
    if (test.margin > 0) != (test.expected in ("same", "not higher")):
        raise ValueError(
            f"The margin is {test.margin}, but it must be above 0 for same and not higher, and 0 for others."
        )


@dataclasses.dataclass(frozen=True)
class Undecidable:
    """A claim that no run here decides, and why."""

    reason: str

    @property
    def arms(self) -> tuple[str, ...]:
        return ()


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a notebook made measurable.

    Attributes:
      name: short, unique in the project.
      source: "notebook 003, lines 262-265 (D1, D2)".
      sentence: the claim in words of this project.
      test: what decides it.
      variant: "as run" or "as written", where both are judged side by side.
      note: what the notebook's own numbers said, the reason for a margin.
    """

    name: str
    source: str
    sentence: str
    test: Difference | Level | Undecidable
    variant: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """Arms that answer one question, and the claims that they decide.

    Attributes:
      lessons: what to learn, in plain words; those that name claims in backticks are shown with their verdicts.
    """

    name: str
    title: str
    question: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    lessons: tuple[str, ...]

    def __post_init__(self):
        for kind, named in (("arm", self.arms), ("claim", self.claims)):
            twice = [name for name, count in collections.Counter(one.name for one in named).items() if count > 1]
            if twice:
                raise ValueError(f"{self.name} has the {kind} {twice[0]!r} twice.")
        known = {arm.name for arm in self.arms}
        for claim in self.claims:
            if unknown := set(claim.test.arms) - known:
                raise ValueError(f"The claim {claim.name!r} of {self.name} names no arm of it: {min(unknown)!r}.")
