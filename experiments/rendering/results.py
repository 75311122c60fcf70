"""The collected results of all studies, as pages and figures use them. Needs no JAX."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import pathlib

import numpy as np

from digits.runs.documented import reported
from experiments.collecting import collected
from experiments.judging.comparison import Comparison, compare
from experiments.judging.study import Member, Study


@dataclasses.dataclass(frozen=True)
class Results:
    """The collected results by the names of arms.

    Attributes:
      members: the finished runs.
      diverged: the seeds whose loss became infinite.
      penalised: the arms whose losses include an L2 penalty.
      parameters: the trained parameters of the networks, as far as the files have them.
    """

    members: Mapping[str, Sequence[Member]]
    diverged: Mapping[str, Sequence[int]]
    penalised: Collection[str] = ()
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(studies: Sequence[Study], folder: pathlib.Path) -> Results:
    """Reads the results of all arms; UserError if a file is damaged."""
    members, diverged, penalised, parameters = {}, {}, set(), {}
    for study in studies:
        arms = collected.read(study, folder)
        penalised |= {name for name, entry in arms.items() if np.any(entry["config"].get("model.hidden_l2"))}
        parameters |= {name: entry["parameters"] for name, entry in arms.items() if entry["parameters"]}
        there = collected.members(arms)
        for arm in study.arms:
            # An arm of two studies was trained once; the file that was written last has the most members.
            members[arm.name] = max(members.get(arm.name, []), there.get(arm.name, []), key=len)
            diverged[arm.name] = max(diverged.get(arm.name, []), arms.get(arm.name, {}).get("diverged", []), key=len)
    return Results(members, diverged, penalised, parameters)


def compared(studies: Sequence[Study], found: Results) -> list[Comparison]:
    """Compares all arms that have a documented figure with it, in the order of the notebooks."""
    arms = {arm.name: arm for study in studies for arm in study.arms if arm.documented}
    order = list(reported())
    in_order = sorted(arms.values(), key=lambda arm: order.index(arm.documented))
    return [compare(arm, found.members[arm.name]) for arm in in_order]
