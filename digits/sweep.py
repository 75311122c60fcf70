"""Trains every point of a sweep, as few programs as its shapes allow, and writes its table and figure.

    python -m digits.sweep --config=configs/simple_cnn.py --sweep.optimizer.learning_rate=3e-4,1e-3,3e-3 --sweep.seed=0:10
    python -m digits.sweep --config=configs/simple_cnn.py --sample=50 \\
        --sweep.optimizer.learning_rate="log(1e-4,1e-1)" --sweep.optimizer.beta_1="uniform(0.8,0.99)" --sweep.seed=0:3
    python -m digits.sweep --config=configs/two_conv.py --config.data.validation="folds(5)" --sweep.data.fold=0:5

--sweep.FIELD takes a list (several fields: every combination), a range such as 0:10 (0 to 9), or with --sample
log(a,b), uniform(a,b), int(a,b). A config file may instead, or besides, define sweep(), a generator of points such as
{"optimizer.learning_rate": 1e-3, "model.kernel_size": 5}. The same command goes on with a sweep that was stopped.
"""

import collections
import dataclasses
import importlib.machinery
import importlib.util
import inspect
import pathlib
import shlex
import sys
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from digits import commands, files
from digits import main as digits_main
from digits.errors import UserError, paths

_SAMPLE = flags.DEFINE_integer("sample", None, "Random search: this many draws from the fields' ranges and lists.", 1)
_SAMPLE_SEED = flags.DEFINE_integer("sample_seed", 0, "Which draws --sample makes.", 0)
_METRIC = flags.DEFINE_enum("metric", "accuracy", ["accuracy", "loss"], "What chooses, of the validation set.")
_LAUNCHER = flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Where: here, or on a Ray cluster (RAY_ADDRESS).")
_CPUS = flags.DEFINE_float("cpus", 1, "ray: cores that a program asks for, and runs at a time.", 0)
_GPUS = flags.DEFINE_float("gpus", 0, "ray: GPUs that a program asks for.", 0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep before it runs.

    Attributes:
      config: what the points change.
      origin: its file and overrides, see main.read_config.
      values: of each member, by field.
      configs: of each member.
    """

    config: ConfigDict
    origin: dict[str, Any]
    workdir: pathlib.Path
    values: list[dict[str, Any]]
    configs: list[ConfigDict]

    def names(self) -> list[str]:
        from digits import points

        return [points.name(values) for values in self.values]


def read_plan(argv: list[str]) -> Plan:
    """Parses the command line; UserError for any mistake in it, or in the points."""
    swept = [argument.removeprefix("--sweep.") for argument in argv if argument.startswith("--sweep.")]
    config, origin = digits_main.read_config([a for a in argv if not a.startswith("--sweep.")])
    digits_main.refuse_flags_of_one_run()
    from digits import points  # Imports NumPy.

    fields = {}
    for field, equals, text in (argument.partition("=") for argument in swept):
        if not equals:
            raise UserError(f"--sweep.{field} has no values: --sweep.{field}=VALUE,VALUE.")
        if field in fields:
            raise UserError(f"--sweep.{field} is given twice: list its values after one.")
        points.field_type(config, field)
        fields[field] = points.parse(field, text)
    listed = _listed(origin["config_file"], config)
    if not fields and listed is None:
        raise UserError(
            f"Nothing is swept: give --sweep.FIELD=VALUES, such as --sweep.seed=0:10, or define sweep() in {origin['config_file']}."
        )
    values = points.combine(config, fields, [{}] if listed is None else listed, _SAMPLE.value, _SAMPLE_SEED.value)
    return Plan(
        config,
        origin,
        pathlib.Path(digits_main.workdir() or _default_workdir(origin, swept)).expanduser().absolute(),
        values,
        [points.with_values(config, value) for value in values],
    )


def _listed(config_file: str, config: ConfigDict) -> list[dict[str, Any]] | None:
    """The points of the config file's `sweep()`; None if it has none."""
    loader = importlib.machinery.SourceFileLoader("swept_config", config_file)  # Whatever its name ends with.
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    if not hasattr(module, "sweep"):
        return None
    # A sweep() that depends on the config, overridden or not, takes it.
    try:
        listed = list(module.sweep(config) if inspect.signature(module.sweep).parameters else module.sweep())
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"sweep() of {config_file} cannot be read: {type(error).__name__}: {error}.") from error
    if not listed or not all(isinstance(point, dict) and point for point in listed):
        raise UserError(f"sweep() of {config_file} must yield points such as {{'optimizer.learning_rate': 1e-3}}.")
    return listed


def _default_workdir(origin: dict[str, Any], swept: list[str]) -> str:
    """runs/simple_cnn_sweep,epochs=3,seed=0:10: the same command finds its sweep again."""
    from digits import points

    changed = dict(sorted(origin["overrides"].items())) | dict(text.partition("=")[::2] for text in swept)
    if _SAMPLE.value:
        changed |= {"sample": _SAMPLE.value, "sample_seed": _SAMPLE_SEED.value}
    stem = f"{pathlib.Path(origin['config_file']).stem}_sweep"
    return f"runs/{','.join(filter(None, [stem, points.name(changed, 180)]))}"


def check(plan: Plan, datasets: dict[str, Any]) -> tuple[list[int], int]:
    """Checks every member against its data and against what stands in its folder, before anything is trained.

    Args:
      plan: the sweep.
      datasets: a data.Dataset for every `config.data.name`.

    Returns:
      The training examples of each member, and the number of programs.

    Raises:
      UserError: names the point.
    """
    from flax import nnx
    import jax

    from digits import checks, config_numbers, data, models, record

    counts, checked, examples = {}, set(), []
    for name, config in zip(plan.names(), plan.configs, strict=True):
        try:
            checks.check(config)
            record.Workdir(plan.workdir / name).check(config)
            dataset, key = datasets[config.data.name], config.data.to_json()
            if key not in counts:
                counts[key] = len(data.indices(dataset, config.data)[0])
            checks.check_batch(config, counts[key])
            structure = config_numbers.structure(config), counts[key]
            if structure not in checked:
                # The key is made within: outside it would start JAX, and with it the process that Ray's are forked from.
                build = lambda c=config, count=len(dataset.class_names): models.build(c.model, count, jax.random.key(0))
                models.check_size(nnx.eval_shape(build))
                checked.add(structure)
        except UserError as error:
            raise UserError(f"The point {name} cannot be trained: {error}") from error
        examples.append(counts[key])
    return examples, len(checked)


def write_plan(plan: Plan) -> None:
    """Writes sweep.json; UserError if the folder holds another sweep, or cannot be written."""
    from digits import record

    path = plan.workdir / "sweep.json"
    fields = list(dict.fromkeys(field for values in plan.values for field in values))
    validations = {config.data.validation for config in plan.configs}
    on_test = bool(validations & {"none", "test"})
    content = {
        "config_file": plan.origin["config_file"],
        "overrides": record.to_json(plan.origin["overrides"]),
        "fields": fields,
        "chooses": f"{'test' if on_test else 'val'}_{_METRIC.value}",
        "validation_is_test": "test" in validations,
        "members": [
            {"name": name, "values": record.to_json(values)} for name, values in zip(plan.names(), plan.values)
        ],
    }
    if path.exists():
        before = files.read_object(path, config_file=str, overrides=dict, fields=list)
        for key in ("config_file", "overrides", "fields"):
            if before.get(key) != content[key]:
                raise UserError(
                    f"{plan.workdir} holds a sweep with other {key.replace('_', ' ')} ({before.get(key)!r}, now "
                    f"{content[key]!r}): give another --workdir, or the same."
                )
    # Hidden files do not count: a kill while sweep.json was written leaves its temporary one.
    elif plan.workdir.is_dir() and any(not entry.name.startswith(".") for entry in plan.workdir.iterdir()):
        raise UserError(f"--workdir is {plan.workdir}, which holds files but no sweep: name a new or empty folder.")
    try:
        plan.workdir.mkdir(parents=True, exist_ok=True)
        files.remove_temporaries(plan.workdir, ["sweep.json"])
        files.write_json(path, content)
    except OSError as error:
        raise UserError(f"--workdir is {plan.workdir}, which cannot be written ({error.strerror}).") from error


def opening_line(plan: Plan, programs: int) -> str:
    """How many points, runs and programs, and where: the plan in two lines."""
    from digits import points, record

    count = lambda field: len({repr(values[field]) for values in plan.values if field in values})
    repeats = [f"{count(field)} {noun}" for field, noun in zip(points.REPETITIONS, ("seeds", "folds")) if count(field)]
    distinct = {
        repr({field: value for field, value in values.items() if field not in points.REPETITIONS})
        for values in plan.values
    }
    epochs = sorted({config.epochs for config in plan.configs})
    parts = " x ".join([f"{len(distinct)} point{'s' * (len(distinct) > 1)}", *repeats])
    finished = sum(record.Workdir(plan.workdir / name).result() is not None for name in plan.names())
    already = f"; {finished} finished before" if finished else ""
    return (
        f"{plan.origin['config_file']}: {parts} = {len(plan.values)} runs of "
        f"{' to '.join(map(str, epochs[:1] + epochs[1:][-1:]))} epochs as {programs} program{'s' * (programs > 1)}{already}"
        f"\n{plan.workdir}"
    )


def run(plan: Plan, data_dir: str | None, module: str, arguments: list[str]) -> int:
    """Checks, trains, and writes the tables; returns the exit code. `module` and `arguments` are of the command line.

    Raises:
      UserError: before anything was trained.
      Interrupted: every run was saved.
    """
    from digits import startup

    if _LAUNCHER.value == "ray":
        from digits import cluster

        cluster.check(_CPUS.value, _GPUS.value)
    starts = {config.data.name: startup.Start(config.data.name, data_dir) for config in plan.configs}
    if len(starts) == 1:
        next(iter(starts.values())).early()
    from digits import population, sweep_folder, tables, terminal  # Imports JAX, while the dataset is being read.

    examples, programs = check(plan, {name: start.dataset(keep=True) for name, start in starts.items()})
    write_plan(plan)
    say = terminal.Terminal().say
    say(tables.headline(sweep_folder.read_sweep(plan.workdir)))
    say(opening_line(plan, programs))
    members = [
        population.Member(config, plan.workdir / name, plan.origin | {"overrides": plan.origin["overrides"] | values})
        for name, config, values in zip(plan.names(), plan.configs, plan.values, strict=True)
    ]
    left = [
        count * (member.config.epochs - len(member.files.history()))
        for member, count in zip(members, examples, strict=True)
        if not member.ended
    ]
    progress = Runs(left, max(examples))
    command = " ".join(map(shlex.quote, ["python", "-m", module, *arguments]))
    try:
        if _LAUNCHER.value == "ray":
            for start in starts.values():
                start.arrived()  # This process only waits from now on.
            cluster.train_members(members, data_dir, progress, _CPUS.value, _GPUS.value, command)
        else:
            for name, start in starts.items():
                of_name = [member for member in members if member.config.data.name == name]
                population.train_members(of_name, start=start, watcher=progress, command=command)
    finally:
        progress.close()
        sweep = tables.write_sweep(plan.workdir)
    say("\n" + tables.sweep_markdown(sweep))
    written = [
        name for name in ("sweep.md", "sweep.csv", "members.csv", "figures/sweep.png") if (plan.workdir / name).exists()
    ]
    say(f"{plan.workdir}: {', '.join(written)}")
    failed = collections.Counter(member.state for member in sweep.members if member.state != "finished")
    if failed:
        how = ", ".join(f"{count} {state}" for state, count in failed.items())
        runs = f"{failed.total()} of {len(sweep.members)} runs failed ({how})"
        print(f"error: {runs}; members.csv says why, the others are complete.", file=sys.stderr)
    return 1 if failed else 0


def main(argv: list[str], help_text: str = __doc__) -> int:
    """Runs the command line; returns the exit code: 1 if a run failed, otherwise as digits.main."""
    app.define_help_flags()
    if commands.asks_for_help(argv):
        print(
            f"{help_text}\n{flags.FLAGS.module_help(sys.modules[__name__])}\n{digits_main.flags_help(of_one_run=False)}"
        )
        return 0
    try:
        plan = read_plan(argv)
    except UserError as error:
        return commands.refuse(error)
    from digits.signals import Interrupted

    try:
        with paths():
            return run(plan, digits_main.data_dir(), "digits.sweep", argv[1:])
    except UserError as error:
        return commands.refuse(error)
    except Interrupted as interrupted:
        print(interrupted, flush=True)
        return interrupted.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
