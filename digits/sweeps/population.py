"""Trains many runs with few programs: one compiled program trains all members that differ in seed, fold and numbers.

Every member is a run like any other: a folder with its own records, checkpoints, plateau and early-stopping rules.
Members share a device in one of two ways (`config.population.sharing`):

- mapped (digits/sweeps/mapped.py): they call the single run's own program, several at a time in threads. Their results
  have the same bits as single runs.
- batched (digits/sweeps/batched.py): they are the leading axis of one program. Their results are those of single runs
  up to rounding, which training in float32 enlarges as it does between two kinds of device.
"""

import collections
from collections.abc import Sequence
import contextlib
import functools
from typing import Any

import jax
from ml_collections import ConfigDict

from digits.config import numbers as config_numbers
from digits.runtime import machine
from digits.runtime.environment import prepare_jax, settings
from digits.runtime.signals import Interrupted, Listener
from digits.sweeps import batched, mapped
from digits.sweeps.members import Company, Member, Watcher
from digits.training.program import Shared
from digits.training.startup import Start
from digits.training.tracking import Tracking
from digits.training.train import check


def sharing(config: ConfigDict) -> str:
    """The way to share a device, mapped or batched: the config's choice, or the faster one on this backend."""
    if config.population.sharing != "auto":
        return config.population.sharing
    # On a CPU of two cores, mapped trains dense networks 1.3 times and CNNs 1.5 to 1.9 times as fast as batched,
    # because two programs keep two cores busier than one does (benchmarks/README.md). On accelerators, which small
    # networks leave idle, batched is the choice of the literature (Whitney 2021); it was not measured here.
    return "mapped" if jax.default_backend() == "cpu" else "batched"


def workers(config: ConfigDict) -> int:
    """The number of mapped members that run at a time on each local device."""
    if config.population.workers:
        return config.population.workers
    return max(1, machine.cores() // jax.local_device_count()) if jax.default_backend() == "cpu" else 1


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """Groups members by structure, in the order of each structure's first member.

    The members of a group share a program, or one for each size of their folds.
    """
    by_structure = collections.defaultdict(list)
    for member in members:
        by_structure[config_numbers.structure(member.config)].append(member)
    return list(by_structure.values())


@settings()
def train_members(
    members: Sequence[Member],
    data_dir: str | None = None,
    start: Start | None = None,
    watcher: Watcher | None = None,
    listener: Listener | None = None,
    command: str = "the same call",
    tracking: Tracking = Tracking(),
) -> list[dict[str, Any] | None]:
    """Trains every member, or goes on with it.

        members = [Member(with_values(config, {"seed": seed}), folder / str(seed)) for seed in range(10)]
        accuracies = [result["test_accuracy"] for result in train_members(members)]

    A member that fails leaves a failure.json and does not stop the others. One that diverged is not tried again.

    Args:
      members: all on the same dataset (`config.data.name`).
      data_dir, start: see `train.train_and_evaluate`.
      watcher: receives the progress.
      listener: listens for signals; by default this call makes one.
      command: the command or call that goes on with an interrupted population.
      tracking: the trackers that the members report to.

    Returns:
      The content of each member's result.json; None for one that failed.

    Raises:
      UserError: a config, the data or a folder is wrong; nothing was trained.
      Interrupted: SIGINT or SIGTERM; every member was saved.
    """
    start = start or Start(members[0].config.data.name, data_dir)
    for member in members:
        check(member.config)
        member.files.check(member.config)
    left = [member for member in members if not member.ended]
    if left:
        prepare_jax(members[0].config)
        with contextlib.nullcontext(listener) if listener else Listener() as listener:
            _train(left, Company(watcher or Watcher(), listener, start, tracking))
            if listener.heard:
                raise Interrupted(listener.heard, command)
    return [member.files.result() for member in members]


def _train(members: Sequence[Member], company: Company) -> None:
    """Trains unfinished members on the devices of this process: first the batched ones, then the mapped ones."""
    shared = Shared(functools.partial(company.start.dataset, keep=True))
    by_sharing = {"batched": [], "mapped": []}
    for group in groups(members):
        for member in group:
            by_sharing[sharing(member.config)].append(member)
    for group in groups(by_sharing["batched"]):
        batched.train(group, shared, company)
    if alone := by_sharing["mapped"]:
        mapped.train(alone, workers(alone[0].config), shared, company)
