"""Plans a sweep: the values and the config of every member, and sweep.json. Needs no JAX.

Makes a plan of a command line that `command_line.train` has read, and writes it to the sweep's folder:

    plan = read(given, None, sample=None, sample_seed=0, metric="accuracy")
    with opened(plan):
        ...
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import inspect
import pathlib
from typing import Any

from ml_collections import ConfigDict

from digits.config.experiment_files import Given, default_workdir
from digits.config.values import field_type, folder_name, folder_name_before, to_json, with_values
from digits.errors import UserError, writing_to
from digits.runs import files, locks
from digits.runs.sweep_folder import REPETITIONS
from digits.runtime import paths, screen
from digits.sweeps import points


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep before it runs.

    Attributes:
      config: the config that the points change.
      origin: its file and overrides, see `experiment_files.Given`.
      workdir: the folder of the sweep.
      values: the values of each member, by field.
      configs: the config of each member.
      metric: "accuracy" or "loss": the figure of the validation set that orders the points.
    """

    config: ConfigDict
    origin: dict[str, Any]
    workdir: pathlib.Path
    values: list[dict[str, Any]]
    configs: list[ConfigDict]
    metric: str = "accuracy"

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the members' folders in the sweep's folder; an earlier version's name for one that it began."""
        named = [(folder_name_before(values), folder_name(values, short=True)) for values in self.values]
        return [before if (self.workdir / before).exists() else now for before, now in named]


def read(given: Given, workdir: str | None, sample: int | None, sample_seed: int, metric: str) -> Plan:
    """Makes the plan of a sweep from its command line.

        read(command_line.read(sys.argv), None, sample=20, sample_seed=0, metric="accuracy").configs

    Args:
      given: the experiment, its changes, and the texts of `--sweep.FIELD=TEXT`.
      workdir: the folder of the sweep; None for `experiment_files.default_workdir`.
      sample: the number of points to draw; None makes every combination.
      sample_seed: the seed of the draws.
      metric: see `Plan`.

    Raises:
      UserError: nothing is swept, or a field, value or point is wrong.
    """
    fields = {}
    for field, text in given.swept.items():
        field_type(field)
        fields[field] = points.parse(field, text)
    listed = _listed(given)
    if not fields and listed is None:
        file = given.origin["config_file"]
        raise UserError(
            f"Nothing is swept: give --sweep.FIELD=VALUES, such as --sweep.seed=0:10, or define sweep() in {file}."
        )
    values = points.combine(fields, [{}] if listed is None else listed, sample, sample_seed)
    more = given.swept | ({"sample": sample, "sample_seed": sample_seed} if sample else {})
    workdir = workdir or default_workdir(given.origin, "_sweep", more)
    return Plan(
        given.config,
        given.origin,
        paths.local(workdir, "--workdir").absolute(),
        values,
        [with_values(given.config, value) for value in values],
        metric,
    )


def _listed(given: Given) -> list[dict[str, Any]] | None:
    """The points of the config file's `sweep()`; None if it has none."""
    sweep, file = getattr(given.module, "sweep", None), given.origin["config_file"]
    if sweep is None:
        return None
    # A sweep() that depends on the config, with its overrides, takes it as its argument.
    try:
        listed = list(sweep(given.config) if inspect.signature(sweep).parameters else sweep())
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"sweep() of {file} cannot be read: {type(error).__name__}: {error}.") from error
    if not listed or not all(isinstance(point, dict) and point for point in listed):
        raise UserError(f"sweep() of {file} must yield points such as {{'optimizer.learning_rate': 1e-3}}.")
    return listed


@contextlib.contextmanager
def opened(plan: Plan) -> Iterator[None]:
    """Writes sweep.json, and locks the folder against other processes that would train the sweep, or a run of it.

        with opened(plan):
            train(plan)

    Raises:
      UserError: the folder holds another sweep, or cannot be written, or another process trains in it.
    """
    path = plan.workdir / "sweep.json"
    fields = list(dict.fromkeys(field for values in plan.values for field in values))
    validations = {config.data.validation for config in plan.configs}
    chosen_of = "test" if validations & {"none", "test"} else "val"
    content = {
        "config_file": plan.origin["config_file"],
        "overrides": to_json(plan.origin["overrides"]),
        "fields": fields,
        "chooses": f"{chosen_of}_{plan.metric}",
        "validation_is_test": "test" in validations,
        "members": [{"name": name, "values": to_json(values)} for name, values in zip(plan.names, plan.values)],
    }
    if path.exists():
        before = files.read_object(path, config_file=str, overrides=dict, fields=list)
        for key in ("config_file", "overrides", "fields"):
            if before.get(key) != content[key]:
                raise UserError(
                    f"{plan.workdir} holds a sweep with other {key.replace('_', ' ')} ({before.get(key)!r}, now "
                    f"{content[key]!r}): give another --workdir, or the same."
                )
    # Hidden files do not count: a kill while sweep.json is written leaves a temporary one.
    elif plan.workdir.is_dir() and any(not entry.name.startswith(".") for entry in plan.workdir.iterdir()):
        raise UserError(f"--workdir is {plan.workdir}, which holds files but no sweep: name a new or empty folder.")
    lock = locks.Lock(plan.workdir)
    try:
        with writing_to(plan.workdir, "--workdir"):
            plan.workdir.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            files.write_json(path, content)
        for name in plan.names:
            locks.refuse_used(plan.workdir / name)  # By digits.main, which has taken one of the sweep's runs.
        yield
    finally:
        lock.release()


def opening_line(plan: Plan, programs: int, finished: int) -> str:
    """Three lines: the numbers of points and runs; those of epochs, programs and finished runs; and the folder."""
    distinct = {repr({field: values[field] for field in values if field not in REPETITIONS}) for values in plan.values}
    parts = [_many(len(distinct), "point")]
    for field, noun in REPETITIONS.items():
        if count := len({repr(values[field]) for values in plan.values if field in values}):
            parts.append(_many(count, noun.removesuffix("s")))
    epochs = sorted({config.epochs for config in plan.configs})
    span = f"{epochs[0]} to {epochs[-1]} epochs" if len(epochs) > 1 else _many(epochs[0], "epoch")
    already = f"; {finished} finished before" if finished else ""
    return (
        f"{plan.origin['config_file']}: {' x '.join(parts)} = {_many(len(plan.values), 'run')}\n"
        f"{span} each, {_many(programs, 'program')}{already}, in\n{screen.pasted(plan.workdir)}"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
