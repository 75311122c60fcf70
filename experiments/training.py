"""Trains the members that studies lack, and keeps their figures."""

from collections.abc import Collection, Mapping, Sequence
import errno
import functools
import importlib
import math
import os
import pathlib
from typing import Any

from flax import nnx
import jax
from ml_collections import ConfigDict, FrozenConfigDict

from configs import base
from digits import checks, data, models, population, record, scalars, startup, summary, terminal
from digits.config import config_to_json, convert, name_of, with_values
from digits.errors import UserError
from digits.interrupt import Interrupted, Listener
from experiments import collected
from experiments.study import Arm, Study


class Reproduction:
    """Arms on their way to all their members.

    Args:
      studies: what is wanted.
      folder: of results/.
      workdir: where each arm's runs have a folder.
      seeds: members of every arm; None for each arm's own number.

    Raises:
      UserError: a file holds members of another config, or is damaged.
    """

    def __init__(self, studies: Sequence[Study], folder: pathlib.Path, workdir: pathlib.Path, seeds: int | None = None):
        self.studies, self.folder, self.workdir, self.seeds = studies, folder, workdir, seeds
        self.arms = {arm.name: arm for study in studies for arm in study.arms}
        self.configs = {name: _config(arm) for name, arm in self.arms.items()}
        self.files = {study.name: collected.read(study, folder) for study in studies}
        defaults = scalars.flat(base.get_config().to_dict())
        self.entries = {}
        for name, arm in self.arms.items():
            now = collected.entry(arm, scalars.flat(config_to_json(self.configs[name])))
            for study in studies:
                if before := self.files[study.name].get(name):
                    if changes := collected.differing(before, now, defaults):
                        raise UserError(
                            f"{collected.path(study, folder)} holds members of {name} with another config "
                            f"({'; '.join(changes)}): give another --results, or move the file away."
                        )
                    _merge(now, before)
            self.entries[name] = now

    def missing(self, name: str) -> list[int]:
        """The seeds of an arm that are neither kept nor diverged."""
        arm, entry = self.arms[name], self.entries[name]
        # Folds are as many as the config makes.
        wanted = self.seeds if self.seeds and arm.repeats == "seed" else arm.seeds
        there = {member["seed"] for member in entry["members"]} | set(entry["diverged"])
        return [seed for seed in range(wanted) if seed not in there]

    def population(self, name: str) -> list:
        """The members that an arm lacks."""
        arm, members = self.arms[name], []
        for seed in self.missing(name):
            values = {arm.repeats: seed}
            origin = {"config_file": f"configs/{arm.config}.py", "overrides": {**arm.overrides, **values}}
            config = with_values(self.configs[name], values)
            members.append(population.Member(config, self.workdir / name / name_of(values), origin))
        return members

    def train(self, names: Collection[str], data_dir: str | None, command: str) -> list[str]:
        """Trains what some arms lack and keeps the figures of each when it ends.

        Documented arms come first and then the cheapest, so that a stop leaves as much of the first table as can be.

        Args:
          names: of the arms.
          data_dir: see `data.load`.
          command: what goes on with it.

        Returns:
          A sentence for each member that failed and will be tried again.

        Raises:
          UserError: before anything was trained.
          Interrupted: every run was saved, and the figures of the finished ones are kept.
        """
        populations = {name: members for name in self.arms if name in names and (members := self.population(name))}
        for member in (member for members in populations.values() for member in members):
            checks.check(member.config)
            member.files.check(member.config)
        sources = {self.configs[name].data.name for name in populations}
        starts, failures = {source: startup.Start(source, data_dir) for source in sources}, []
        for start in starts.values():
            start.dataset(keep=True)  # What cannot be read is refused before anything is written.
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
        """Writes the figures of the members that ended into the files of all studies that have the arm."""
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
        """How long an arm and those after it will take, by the seconds that members took here; "" if none has yet."""
        known = {}
        for name, entry in self.entries.items():
            seconds = [m["result"]["seconds"] for m in entry["members"] if m["result"]["device"] == record.device()]
            if seconds:
                known[_work(self.configs[name])] = sorted(seconds)[len(seconds) // 2]
        if not known:
            return ""

        def seconds(name: str) -> float:
            config, count = self.configs[name], len(self.missing(name))
            nearest = min(known, key=lambda work: max(work, _work(config)) / min(work, _work(config)))
            mapped = population.sharing(config) == "mapped"
            at_a_time = min(count, population.workers(config) * jax.local_device_count()) if mapped else 1
            return known[nearest] * _work(config) / nearest * count / at_a_time

        rest = terminal.duration(sum(map(seconds, order)))
        return f", about {terminal.duration(seconds(order[0]))}" + f"; all that remain about {rest}" * (len(order) > 1)


def _config(arm: Arm) -> ConfigDict:
    config = importlib.import_module(f"configs.{arm.config}").get_config()
    return with_values(config, {f: convert(f, value) for f, value in arm.overrides.items()})


def _make(folder: pathlib.Path, flag: str) -> None:
    """Makes a folder, so that no hour of training ends at one that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(f"{flag} needs the folder {folder}, which cannot be written ({error.strerror}).") from error


def _merge(entry: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Adds the members of an arm that another file has kept."""
    there = {member["seed"] for member in entry["members"]}
    entry["members"] += [member for member in other["members"] if member["seed"] not in there]
    entry["members"].sort(key=lambda member: member["seed"])
    entry["diverged"] = sorted({*entry["diverged"], *other["diverged"]})


def _work(config: ConfigDict) -> float:
    """What a member costs beside others on as many images: multiplications of a forward pass, times epochs."""
    return config.epochs * _multiplications(FrozenConfigDict(config.model))


@functools.cache
def _multiplications(model: FrozenConfigDict) -> float:
    """Those of one image: every weight is used once for each place of its layer's output."""
    layers = summary.describe(nnx.eval_shape(lambda: models.build(model, 10, jax.random.key(0))))
    return float(sum(layer.trainable * math.prod(layer.output[:-1]) for layer in layers))


def _train(members: Sequence[population.Member], start: startup.Start, listener: Listener, command: str) -> None:
    """Trains an arm's members, with a bar and a line for each that ends."""
    epochs = [member.config.epochs - len(member.files.history()) for member in members if not member.ended]
    images = len(data.indices(start.dataset(keep=True), members[0].config.data)[0]) if epochs else 0
    left = [count * images for count in epochs]
    progress = terminal.Runs(left, images)
    try:
        population.train_members(members, start=start, watcher=progress, listener=listener, command=command)
    finally:
        progress.close()
