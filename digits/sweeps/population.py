"""Many runs as few programs: members that differ in seed, fold and numbers are trained by one compiled program.

Every member is a run like any other: a folder with its own records, checkpoints, plateau and early-stopping rules.
There are two ways to share a device (`config.population.sharing`):

mapped (digits/sweeps/mapped.py): the members call the single run's own program, several at a time in threads. Their
results
    have the same bits as single runs.
batched (digits/sweeps/batched.py): the members are a leading axis of one program. Their results are those of single
runs up to
    rounding, which training in float32 enlarges as it does between two kinds of device.
"""

import collections
from collections.abc import Sequence
import contextlib
import functools
import os
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from digits.config import numbers as config_numbers
from digits.config.values import convert, folder_name, with_values
from digits.runtime import machine
from digits.runtime.environment import prepare_jax
from digits.runtime.signals import Interrupted, Listener
from digits.sweeps import batched, mapped
from digits.sweeps.members import Company, Member, Watcher
from digits.training.checks import check
from digits.training.program import Shared
from digits.training.startup import Start

# On a CPU of two cores, mapped trains dense networks 1.3 times and CNNs 1.5 to 1.9 times as fast as batched, because
# two programs keep two cores busier than one does (benchmarks/README.md). On accelerators, which small networks leave
# idle, batched is the choice of the literature (Whitney 2021); it was not measured here.
_SHARING = {"cpu": "mapped"}


def sharing(config: ConfigDict) -> str:
    """The way to share a device, mapped or batched: the config's choice, or the faster one on this backend."""
    chosen = config.population.sharing
    return _SHARING.get(jax.default_backend(), "batched") if chosen == "auto" else chosen


def workers(config: ConfigDict) -> int:
    """How many mapped members run at a time on each local device."""
    if config.population.workers or jax.default_backend() != "cpu":
        return config.population.workers or 1
    return max(1, machine.cores() // jax.local_device_count())


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members by structure, in the order of each structure's first member: those of a group share a program.

    Folds of different sizes still need a program each.
    """
    by_structure = collections.defaultdict(list)
    for member in members:
        by_structure[config_numbers.structure(member.config)].append(member)
    return list(by_structure.values())


def train(
    config: ConfigDict, values: Sequence[dict[str, Any]], workdir: str | os.PathLike, data_dir: str | None = None
) -> list[dict[str, Any] | None]:
    """Trains a member for each of `values`: `train(config, [{"seed": 0}, {"seed": 1}], "runs/seeds")`.

    Args:
      config: what the members have in common.
      values: the fields, and their values, by which each member differs.
      workdir: each member has a folder in it, named after its values.
      data_dir: see `data.load`.

    Returns and raises as `train_members`.
    """
    own = [{field: convert(field, value) for field, value in given.items()} for given in values]
    folder = pathlib.Path(workdir)
    return train_members([Member(with_values(config, v), folder / folder_name(v)) for v in own], data_dir)


def train_members(
    members: Sequence[Member],
    data_dir: str | None = None,
    start: Start | None = None,
    watcher: Watcher | None = None,
    listener: Listener | None = None,
    command: str = "the same call",
) -> list[dict[str, Any] | None]:
    """Trains every member, or goes on with it.

    A member that fails does not stop the others: it leaves a failure.json. One that diverged is not tried again.

    Args:
      members: all on the same dataset (`config.data.name`).
      data_dir, start: see `train.train_and_evaluate`.
      watcher: is told how it goes.
      listener: listens for signals already; without, this call does.
      command: the command or call that goes on with an interrupted population.

    Returns:
      The content of each member's result.json; None for one that failed.

    Raises:
      UserError: a config, the data or a folder does not allow it; nothing was trained.
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
            _train(left, Company(watcher or Watcher(), listener, start))
            if listener.heard:
                raise Interrupted(listener.heard, command)
    return [member.files.result() for member in members]


def _train(members: Sequence[Member], company: Company) -> None:
    """Trains unfinished members on the devices of this process: first the batched ones, then the mapped ones."""
    shared = Shared(functools.partial(company.start.dataset, keep=True))
    by_sharing = {"batched": [], "mapped": []}
    for member in (member for group in groups(members) for member in group):
        by_sharing[sharing(member.config)].append(member)
    for group in groups(by_sharing["batched"]):
        batched.train(group, shared, company)
    if alone := by_sharing["mapped"]:
        mapped.train(alone, workers(alone[0].config), shared, company)
