"""Trains the members of a planned sweep, here or on a Ray cluster, and writes its tables."""

import shlex
import sys
from typing import Any, NamedTuple

from digits import data, models
from digits.config import numbers as config_numbers
from digits.errors import UserError
from digits.models import families
from digits.reports import tables
from digits.runs import sweep_folder
from digits.runs.workdir import Workdir
from digits.runtime import screen
from digits.sweeps import cluster, population
from digits.sweeps.plan import Plan, opened, opening_line
from digits.sweeps.progress import Runs
from digits.training import program, terminal, train
from digits.training.startup import Start
from digits.training.tracking import Tracking

_MOST_NAMED = 20  # Failed runs.


class Launcher(NamedTuple):
    """Where a sweep trains.

    Attributes:
      name: "local" or "ray".
      cpus: for ray, the cores that a program asks for, and the number of runs that it trains at a time.
      gpus: for ray, the GPUs that a program asks for.
    """

    name: str = "local"
    cpus: float = 1
    gpus: float = 0


def check(plan: Plan, datasets: dict[str, Any]) -> tuple[list[int], int]:
    """Checks every member against its data and its folder, before anything is trained.

    Args:
      plan: the sweep.
      datasets: a data.Dataset for every `config.data.name`.

    Returns:
      The training examples of each member, and the number of programs.

    Raises:
      UserError: names the point.
    """
    counts, checked, examples = {}, set(), []
    for name, config in zip(plan.names, plan.configs, strict=True):
        try:
            train.check(config)
            Workdir(plan.workdir / name).check(config)
            dataset, key = datasets[config.data.name], config.data.to_json()
            if key not in counts:
                counts[key] = len(data.indices(dataset, config.data)[0])
            program.check_batch(config, counts[key])
            structure = config_numbers.structure(config), counts[key]
            if structure not in checked:
                # Does not start JAX: Ray's processes are forked.
                families.check_size(models.outline(config.model, len(dataset.class_names)))
                checked.add(structure)
        except UserError as error:
            raise UserError(f"The point {name} cannot be trained: {error}") from error
        examples.append(counts[key])
    return examples, len(checked)


def run(
    plan: Plan,
    starts: dict[str, Start],
    data_dir: str | None,
    command: list[str],
    launcher: Launcher = Launcher(),
    tracking: Tracking = Tracking(),
) -> int:
    """Checks and trains a sweep, and writes its tables.

        exit_code = run(plan, starts, None, sys.argv)

    Args:
      plan: the sweep.
      starts: the `Start` that reads the dataset, for every `config.data.name` of its members.
      data_dir: the folder with the dataset's files, or None.
      command: the command line that goes on with the sweep, as a list of arguments.
      launcher: where it trains.
      tracking: the trackers that it reports to.

    Returns:
      The exit code: 1 if a run failed, otherwise 0.

    Raises:
      UserError: before anything was trained.
      Interrupted: every run was saved.
    """
    if launcher.name == "ray":
        cluster.check(launcher.cpus, launcher.gpus)
    datasets = {name: start.dataset(keep=True) for name, start in starts.items()}
    examples, programs = check(plan, datasets)
    notes = [f"note: {name}: {note}" for name, dataset in datasets.items() for note in dataset.notes]
    del datasets  # The trainings release them one after the other.
    with opened(plan):
        members = [
            population.Member(
                config, plan.workdir / name, plan.origin | {"overrides": plan.origin["overrides"] | values}
            )
            for name, config, values in zip(plan.names, plan.configs, plan.values, strict=True)
        ]

        def say(text: str) -> None:
            terminal.say(screen.wrap(text, screen.width()))

        say(tables.headline(sweep_folder.read_sweep(plan.workdir)))
        say(opening_line(plan, programs, sum(member.files.result() is not None for member in members)))
        for note in notes:
            say(note)
        progress = Runs(members, examples)
        text = shlex.join(command)
        try:
            if launcher.name == "ray":
                for start in starts.values():
                    start.arrived()  # From now on this process only waits.
                cluster.train_members(members, data_dir, progress, launcher.cpus, launcher.gpus, text)
            else:
                for name, start in starts.items():
                    of_name = [member for member in members if member.config.data.name == name]
                    population.train_members(of_name, start=start, watcher=progress, command=text, tracking=tracking)
            # Those that Ray trained, or an earlier call.
            tracking.send_others([member.files for member in members], terminal.say)
        finally:
            progress.close()
            sweep = tables.write_sweep(plan.workdir)
            tracking.send_sweep("finished" if all(member.ended for member in members) else "interrupted", terminal.say)
    columns = screen.width()
    say("\n".join(["", *tables.text(sweep, columns)]))
    failed = [member for member in sweep.members if member.state != "finished"]
    if failed:
        counts = f"{len(failed)} of {len(sweep.members)} runs failed ({sweep_folder.rest(sweep.members)})"
        lines = [f"error: {counts}; members.csv says more:"]
        for member in failed[:_MOST_NAMED]:
            lines.append(screen.cut(f"  {member.name}  {member.state}: {member.message}", columns))
        if len(failed) > _MOST_NAMED:
            lines.append(f"  and {len(failed) - _MOST_NAMED} others")
        print("\n".join(["", *lines]), file=sys.stderr, flush=True)
    names = ("sweep.md", "sweep.csv", "members.csv", "figures/sweep.png")
    written = " ".join(name for name in names if (plan.workdir / name).exists())
    folder = screen.near(plan.workdir)
    say(f"\n{written} in\n{screen.pasted(plan.workdir)}\n\n{tables.result(sweep)}")
    if any(member.state == "finished" for member in sweep.members):
        commands = ["digits.report", folder], ["digits.evaluate", f"--workdir={folder}"]
        lines = [*(shlex.join(["python", "-m", *command]) for command in commands), *tracking.looks]
        say("\n".join(["next:", *(f"  {line}" for line in lines)]))
    return 1 if failed else 0
