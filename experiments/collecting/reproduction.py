"""Trains the members that studies lack, and keeps their figures in results/STUDY.json."""

from collections.abc import Collection, Mapping, Sequence
import errno
import functools
import importlib
import math
import os
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict, FrozenConfigDict

from configs import base
from digits import data, models
from digits.config.values import config_to_json, convert, flat, folder_name, with_values
from digits.errors import UserError
from digits.models import summary
from digits.runtime import environment
from digits.runtime.signals import Interrupted, Listener
from digits.sweeps import population
from digits.sweeps.progress import Runs, duration
from digits.training import startup, train
from experiments.collecting import collected
from experiments.judging.study import Arm, Study


class Reproduction:
    """The arms of studies, the members that they have, and the training of those that they lack.

    Args:
      studies: the studies to complete.
      folder: the folder that has results/.
      workdir: the folder in which each arm has a folder for its runs.
      seeds: members of every arm; None for each arm's own number.

    Raises:
      UserError: a file holds members of another config, or is damaged.
    """

    def __init__(self, studies: Sequence[Study], folder: pathlib.Path, workdir: pathlib.Path, seeds: int | None = None):
        self.studies, self.folder, self.workdir, self.seeds = studies, folder, workdir, seeds
        self.arms = {arm.name: arm for study in studies for arm in study.arms}
        self.configs = {name: _config(arm) for name, arm in self.arms.items()}
        self.entries = {
            name: collected.entry(arm, flat(config_to_json(config)), _parameters(FrozenConfigDict(config.model)))
            for name, arm in self.arms.items()
            for config in [self.configs[name]]
        }
        self.files = {study.name: collected.read(study, folder) for study in studies}
        for study in studies:
            self._add(study, folder, self.files[study.name], "give another --results, or move the file away")

    def merge(self, folder: pathlib.Path) -> str:
        """Adds the members of another folder's results/ that this one lacks, and saves; returns a line about it.

        Where both have a member, this folder's is kept. Arms that no study has any more are left out.

        Raises:
          UserError: the folder has no results of these studies, or a file there is damaged or has another config.
        """
        others = [(study, arms) for study in self.studies if (arms := collected.read(study, folder))]
        if not others:
            raise UserError(
                f"--merge is {folder}, which has no results/STUDY.json of {self.studies[0].name} or another."
            )
        added = sum(
            self._add(study, folder, arms, "leave it out of --merge, or move the file away") for study, arms in others
        )
        self._save()
        return f"{folder}: {added} members added"

    def _add(self, study: Study, folder: pathlib.Path, arms: Mapping[str, Any], advice: str) -> int:
        """Adds the members of a file to the entries; returns how many. Nothing is added from a file that is refused."""
        defaults = flat(base.get_config().to_dict())
        known = {name: arm for name, arm in arms.items() if name in self.entries}
        for name, arm in known.items():
            if changes := collected.differing(arm, self.entries[name], defaults):
                raise UserError(
                    f"{collected.path(study, folder)} holds members of {name} with another config "
                    f"({'; '.join(changes)}): {advice}."
                )
        return sum(collected.merge(self.entries[name], arm) for name, arm in known.items())

    def missing(self, name: str) -> list[int]:
        """The seeds of an arm that are neither kept nor diverged."""
        arm, entry = self.arms[name], self.entries[name]
        # The number of folds is the config's.
        wanted = self.seeds if self.seeds and arm.repeats == "seed" else arm.seeds
        there = {member["seed"] for member in entry["members"]} | set(entry["diverged"])
        return [seed for seed in range(wanted) if seed not in there]

    def population(self, name: str) -> list:
        """The members that an arm lacks."""
        arm, members = self.arms[name], []
        for seed in self.missing(name):
            values = arm.values(seed)
            origin = {"config_file": f"configs/{arm.config}.py", "overrides": values}
            folder = self.workdir / name / folder_name({arm.repeats: seed})
            members.append(population.Member(with_values(self.configs[name], values), folder, origin))
        return members

    def train(self, names: Collection[str], data_dir: str | None, command: str) -> list[str]:
        """Trains the members that some arms lack, and keeps an arm's figures when its members have ended.

        Documented arms come first, and cheap ones before costly ones: if the training is stopped, the table of
        documented runs is as full as can be.

        Args:
          names: the names of the arms.
          data_dir: see `data.load`.
          command: the command line that goes on with the training.

        Returns:
          A sentence for each member that failed and will be tried again.

        Raises:
          UserError: before anything was trained.
          Interrupted: every run was saved, and the figures of the finished ones are kept.
        """
        populations = {name: members for name in self.arms if name in names and (members := self.population(name))}
        for member in (member for members in populations.values() for member in members):
            train.check(member.config)
            member.files.check(member.config)
        sources = {self.configs[name].data.name for name in populations}
        starts, failures = {source: startup.Start(source, data_dir) for source in sources}, []
        for start in starts.values():
            start.dataset(keep=True)  # Data that cannot be read is refused before anything is written.
        _make(self.workdir, "--workdir")
        _make(self.folder / "results", "--results")
        order = sorted(populations, key=lambda name: (not self.arms[name].documented, _work(self.configs[name])))
        with Listener() as listener:
            for place, name in enumerate(order):
                if listener.heard:
                    raise Interrupted(listener.heard, command)
                members = populations[name]
                progress = f"[{place + 1}/{len(order)}] {name}: {len(members)} to train"
                print(progress + self._expected(order[place:]), flush=True)
                try:
                    _train(members, starts[self.configs[name].data.name], listener, command)
                finally:
                    self._keep(name, members)
                failures += [
                    f"{member.files.path}: {failure['message']}"
                    for member in members
                    if (failure := member.files.failure()) and failure["kind"] != "diverged"
                ]
        if not order:
            self._save()  # An arm may be new in one study and kept by another.
        return failures

    def _keep(self, name: str, members: list) -> None:
        """Writes the figures of the members that ended to the files of all studies that have the arm."""
        arm, entry = self.arms[name], self.entries[name]
        for seed, member in zip(self.missing(name), members, strict=True):
            if result := member.files.result():
                entry["members"].append(collected.record(arm, seed, result, member.files.history()))
            elif member.ended:
                entry["diverged"].append(seed)
        entry["members"].sort(key=lambda member: member["seed"])
        self._save()

    def _save(self) -> None:
        for study in self.studies:
            kept = self.files[study.name]
            entries = {arm.name: self.entries[arm.name] for arm in study.arms}
            kept |= {name: entry for name, entry in entries.items() if entry["members"] or entry["diverged"]}
            if kept:
                collected.save(study, self.folder, kept)

    def _expected(self, order: Sequence[str]) -> str:
        """Estimates how long the first arm and all arms take, from members on this device; "" where there are none."""
        known = {}
        for name, entry in self.entries.items():
            seconds = [
                m["result"]["seconds"] for m in entry["members"] if m["result"]["device"] == environment.device()
            ]
            if seconds:
                config = self.configs[name]
                known[_work(config)] = sorted(seconds)[len(seconds) // 2] / _at_a_time(config)
        if not known:
            return ""

        def seconds(name: str) -> float:
            work = _work(self.configs[name])
            nearest = min(known, key=lambda other: max(other, work) / min(other, work))
            return known[nearest] * work / nearest * len(self.missing(name))

        expected = f", about {duration(seconds(order[0]))}"
        if len(order) > 1:
            expected += f"; all that remain about {duration(sum(map(seconds, order)))}"
        return expected


def _config(arm: Arm) -> ConfigDict:
    config = importlib.import_module(f"configs.{arm.config}").get_config()
    return with_values(config, {f: convert(f, value) for f, value in arm.overrides.items()})


def _make(folder: pathlib.Path, flag: str) -> None:
    """Makes a folder before the training, so that one that cannot be written costs no hour of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(f"{flag} needs the folder {folder}, which cannot be written ({error.strerror}).") from error


def _work(config: ConfigDict) -> float:
    """The cost of a member relative to others on as many images: multiplications of a forward pass, times epochs."""
    return config.epochs * _multiplications(FrozenConfigDict(config.model))


def _at_a_time(config: ConfigDict) -> int:
    """How many members of an arm are trained at the same time."""
    mapped = population.sharing(config) == "mapped"
    return population.workers(config) * jax.local_device_count() if mapped else 1


@functools.cache
def _layers(model: FrozenConfigDict) -> list[summary.Layer]:
    stock = ConfigDict(model)
    stock.convolution = "stock"  # The same shapes, and nothing to compile.
    return summary.describe(models.outline(stock, 10))


def _multiplications(model: FrozenConfigDict) -> float:
    """The multiplications for one image: every weight is used once for each place of its layer's output."""
    return float(sum(layer.trainable * math.prod(layer.output[:-1]) for layer in _layers(model)))


def _parameters(model: FrozenConfigDict) -> int:
    """The trained parameters of a network."""
    return sum(layer.trainable for layer in _layers(model))


def _train(members: Sequence[population.Member], start: startup.Start, listener: Listener, command: str) -> None:
    """Trains an arm's members, with a bar and a line for each that ends."""
    left = any(not member.ended for member in members)
    images = len(data.indices(start.dataset(keep=True), members[0].config.data)[0]) if left else 0
    progress = Runs(members, [images] * len(members))
    try:
        population.train_members(members, start=start, watcher=progress, listener=listener, command=command)
    finally:
        progress.close()
