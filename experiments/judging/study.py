"""A study: arms that are trained with several seeds, and claims that their figures decide. Needs no JAX."""

import collections
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import statistics
from typing import Any

KINDS = ("as run", "as written", "honest", "ours")


@dataclasses.dataclass(frozen=True)
class Arm:
    """A config with overrides that is trained with several seeds: one row of a table.

    Attributes:
      name: unique in the project; its folder's name too.
      config: a file of configs/, without the ending.
      kind: "as run", "as written", "honest" (validation held out of training, the test set opened once) or "ours".
      overrides: dotted fields and their values. In a text, {seed} stands for the member's seed.
      documented: the key in experiments/reported.json of the figures that this arm reproduces.
      seeds: how many members are wanted.
      note: a sentence below the table.
      repeats: the field in which the members differ: "seed", or "data.fold" for those of a cross-validation.
      resplits: the arm with one split for all seeds, where this one draws a split for each.

    Example:
      Arm("dense_32_32,honest", "dense_32_32", "honest", {"data.validation": "last(10000)"})
    """

    name: str
    config: str
    kind: str = "as run"
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    documented: str | None = None
    seeds: int = 10
    note: str = ""
    repeats: str = "seed"
    resplits: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"The arm {self.name!r} is {self.kind!r}, but it must be one of {', '.join(KINDS)}.")

    def values(self, seed: int) -> dict[str, Any]:
        """The fields of one member that differ from the config's: overrides and seed (or fold)."""
        filled = {f: v.replace("{seed}", str(seed)) if isinstance(v, str) else v for f, v in self.overrides.items()}
        return filled | {self.repeats: seed}


def with_own_splits(config: str, fixed: str) -> Arm:
    """The arm of a config in which every seed holds out 10,000 of the 60,000 training images of its own.

    Args:
      config: as for `Arm`.
      fixed: the name of the arm with one split.
    """
    overrides = {"data.validation": "random(0.1666666, {seed})"}
    note = "Each seed holds out 10,000 training images of its own."
    return Arm(f"{config},splits", config, "honest", overrides, seeds=5, note=note, resplits=fixed)


@dataclasses.dataclass(frozen=True)
class Member:
    """One trained run of an arm.

    Attributes:
      seed: its seed, or its fold where the arm repeats "data.fold".
      result: the content of result.json.
      history: the records of metrics.jsonl, one an epoch.
    """

    seed: int
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of one member.

    Attributes:
      unit: "fraction", "nats", "epochs", "s", ...
      of: gives a member's number, None where it has none.
      rounded: whether the number is rounded up to a whole one, as a count of epochs is.
    """

    name: str
    unit: str
    of: Callable[[Member], float | None]
    rounded: bool = False


TEST_ACCURACY = Metric("test accuracy", "fraction", lambda member: member.result["test_accuracy"])
TEST_LOSS = Metric("test loss", "nats", lambda member: member.result["test_loss"])


def median_seconds(members: Sequence[Member]) -> str:
    """The median of the members' seconds, a whole number; "" without members.

    Not the mean: other work on the machine made some members far slower.
    """
    return f"{statistics.median(member.result['seconds'] for member in members):.0f}" if members else ""


def devices(members: Sequence[Member]) -> str:
    """The devices that the members were trained on, each once."""
    return ", ".join(sorted({member.result["device"] for member in members}))


_COLUMNS = {
    "loss": ("training loss", "nats"),
    "accuracy": ("training accuracy", "fraction"),
    "val_loss": ("validation loss", "nats"),
    "val_accuracy": ("validation accuracy", "fraction"),
}


def at(column: str, epoch: int) -> Metric:
    """A column of the history in an epoch, counted from 1; -1 is the last one."""
    name, unit = _COLUMNS[column]
    where = "last epoch" if epoch == -1 else f"epoch {epoch}"

    def find(member: Member) -> float | None:
        values = _column(member, column)
        if epoch == -1:
            return values[-1] if values else None
        return values[epoch - 1] if epoch <= len(values) else None

    return Metric(f"{name}, {where}", unit, find)


VALIDATION_ACCURACY = at("val_accuracy", -1)


def epochs_to(accuracy: float, column: str = "accuracy") -> Metric:
    """The number of epochs until an accuracy is reached first.

    For a member that never reaches it, one more than it was trained for. Leaving such a member out would make a slow
    arm look fast.
    """

    def find(member: Member) -> int | None:
        values = _column(member, column)
        reached = (epoch for epoch, value in enumerate(values, start=1) if value is not None and value >= accuracy)
        return next(reached, len(values) + 1) if values else None

    return Metric(f"epochs to a {_COLUMNS[column][0]} of {accuracy:g}", "epochs", find, rounded=True)


def rise_after_minimum(column: str) -> Metric:
    """How far a loss lies above its minimum in the last epoch: the cost of overfitting, in nats.

    It is never negative. A curve that only goes up and down from epoch to epoch has a rise too.
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
    """Tests that the second arm's metric minus the first's, paired by seed, is as expected.

    Attributes:
      expected: "higher", "lower", "same" or "not higher".
      margin: the largest difference that "same" and "not higher" allow; the claim's note gives the reason for it.
    """

    first: str
    second: str
    metric: Metric
    expected: str
    margin: float = 0.0

    def __post_init__(self):
        _check_expected(self)

    @property
    def arms(self) -> tuple[str, ...]:
        return self.first, self.second

    def differences(self, members: Mapping[str, Sequence[Member]]) -> list[float]:
        first, second = ({member.seed: self.metric.of(member) for member in members.get(arm, ())} for arm in self.arms)
        pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
        return [b - a for a, b in pairs if a is not None and b is not None]


@dataclasses.dataclass(frozen=True)
class Level:
    """Tests that the mean of an arm's metric minus a number is as expected; fields as for `Difference`."""

    arm: str
    metric: Metric
    expected: str
    value: float
    margin: float = 0.0

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
      test: the test that decides it, or why none can.
      variant: "as run" or "as written", where both are judged side by side.
      note: the notebook's own numbers, the reason for a margin.
    """

    name: str
    source: str
    sentence: str
    test: Difference | Level | Undecidable
    variant: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence for the top of RESULTS.md; the figures and the verdict are put in when the page is rendered.

    Attributes:
      claim: the name of the claim whose difference it states.
      opening: the sentence up to the figure: "With momentum, the test accuracy is".
    """

    claim: str
    opening: str


@dataclasses.dataclass(frozen=True)
class Study:
    """Arms that answer one question, and the claims that they decide.

    Attributes:
      lessons: sentences on what to learn; a claim that they name in backticks is shown with its verdict.
      findings: the sentences of this study on top of RESULTS.md.
      appendix: Markdown that only this study's page has, from the members of its arms by name.
    """

    name: str
    title: str
    question: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    lessons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    appendix: Callable[[Mapping[str, Sequence[Member]]], str] | None = None

    def __post_init__(self):
        for kind, named in (("arm", self.arms), ("claim", self.claims)):
            twice = [name for name, count in collections.Counter(one.name for one in named).items() if count > 1]
            if twice:
                raise ValueError(f"{self.name} has the {kind} {twice[0]!r} twice.")
        known = {arm.name for arm in self.arms}
        for claim in self.claims:
            if unknown := set(claim.test.arms) - known:
                raise ValueError(f"The claim {claim.name!r} of {self.name} names no arm of it: {min(unknown)!r}.")
        if unknown := {arm.resplits for arm in self.arms if arm.resplits} - known:
            raise ValueError(f"{self.name} has no arm {min(unknown)!r}, whose split another draws anew.")
        differences = {claim.name for claim in self.claims if isinstance(claim.test, Difference)}
        if unknown := {finding.claim for finding in self.findings} - differences:
            raise ValueError(f"{self.name} has no claim {min(unknown)!r} about two arms, which a finding names.")
