"""Opens a trained run, or several as an ensemble, on any machine: `digits.load`."""

from collections.abc import Sequence
import difflib
import functools
import json
import os
import pathlib
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from digits import models
from digits.config.values import config_from_json, config_to_json, flat, recorded_config
from digits.errors import OF_THE_MACHINE, UserError, reason, refusals, system_code
from digits.models import families
from digits.models.ops import native
from digits.runs import found, sweep_folder
from digits.runs.checkpoints import Checkpoints
from digits.runs.files import is_a
from digits.runs.loaded import Ensemble, Run
from digits.runs.workdir import NO_IDENTITY, Workdir
from digits.runtime import screen
from digits.runtime.environment import settings, start_devices


@settings()
def load(workdir: str | os.PathLike | Sequence[str | os.PathLike], which: str = "best") -> Run | Ensemble:
    """Opens a run, a sweep or several runs, on any machine: `digits.load("runs/simple_cnn").predict(images)`.

    Args:
      workdir: a run's directory, for a Run; or those of several, as a list, or the folder of a sweep, for the Ensemble
        of those that are finished.
      which: "best", the weights that a run was tested with (the best epoch's if its config restores them, otherwise
        the last's); or "latest", the last checkpoint.

    Raises:
      UserError: `workdir` is no run or sweep, holds no checkpoint yet, or makes no ensemble: none of several is
        finished, or their classes differ.
    """
    if which not in ("best", "latest"):
        raise UserError(f"which is {which!r}, but it must be 'best' or 'latest'.")
    with refusals():
        start_devices()
        return _load(workdir, which)


def _load(workdir: str | os.PathLike | Sequence[str | os.PathLike], which: str) -> Run | Ensemble:
    if isinstance(workdir, (str, os.PathLike)):
        files = Workdir(workdir)
        if not found.is_sweep(files.path):
            return _load_run(files, which)
        sweep = sweep_folder.read_sweep(files.path)
        finished = [Workdir(files.path / member.name) for member in sweep.members if member.state == "finished"]
        if not finished:
            raise no_finished_member(sweep)
    else:
        if not isinstance(workdir, Sequence) or not all(isinstance(path, (str, os.PathLike)) for path in workdir):
            raise UserError(f"workdir is {workdir!r}, but it must be a run's or a sweep's folder, or a list of runs'.")
        several = [Workdir(path) for path in workdir]
        for files in several:
            if not (files.path / "config.json").exists() and files.failure() is None:
                raise no_run(files.path)
        finished = [files for files in several if files.result() is not None]
        if not finished:
            raise UserError(f"An ensemble needs a finished run, but none of the {len(several)} given is finished.")
    return Ensemble(tuple(_load_run(files, which) for files in finished))


def no_finished_member(sweep: sweep_folder.Sweep) -> UserError:
    """The error of a sweep that has nothing to load."""
    return UserError(f"{sweep.folder} has no finished run: its members are {sweep_folder.rest(sweep.members)}.")


def no_run(path: pathlib.Path) -> UserError:
    """The error of a folder without a run. It names the folder's content, and the runs below it or of a like name.

    raise no_run(pathlib.Path("runs/simple_cnnn"))
    """
    hint = "it must be the --workdir of a training."
    if path.is_dir():
        entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        rest = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
        content = f"it holds {', '.join(entries[:5])}{rest}" if entries else "it is empty"
        if below := found.find(path, depth=2):
            hint = found.listed("runs below it:", below)
    elif path.exists():
        content = "it is a file"
    else:
        content = "there is nothing of that name"
        places = pathlib.Path("runs").absolute(), path.parent
        known = list(dict.fromkeys(run for place in places for run in found.find(place, depth=2)))
        near = [run for run in known if run.name == path.name] or _like(path.name, known)
        if near:
            hint = found.meant(near)
        elif known:
            hint = found.listed("the newest runs are:", known)
    return UserError(f"{screen.near(path)} is no run with checkpoints: {content}; {hint}")


def _like(name: str, runs: list[pathlib.Path]) -> list[pathlib.Path]:
    """The runs whose names begin with `name` or are nearly it."""
    near = difflib.get_close_matches(name, [run.name for run in runs])
    return [run for run in runs if run.name in near or run.name.startswith(name)]


def _load_run(files: Workdir, which: str) -> Run:
    """Reads a run. If a process that trains it has replaced a checkpoint meanwhile, reads it again."""
    while True:
        there = _checkpoints(files)
        try:
            return _read_run(files, which)
        except UserError:
            if _checkpoints(files) == there:
                raise


def _checkpoints(files: Workdir) -> list[str]:
    """The names of a run's checkpoints; UserError if it has no folder for them."""
    if not files.checkpoints.is_dir():
        raise no_run(files.path)
    return sorted(entry for entry in os.listdir(files.checkpoints) if entry.isdigit())


def _read_run(files: Workdir, which: str) -> Run:
    origin = files.about()
    records, result = files.read()
    try:
        checkpoints = Checkpoints(files.checkpoints, origin.get("run"), read_only=True)
        if not (steps := checkpoints.steps()):
            raise UserError(f"{files.checkpoints} holds no checkpoint yet.")
        state, about = _restore(checkpoints, steps[0])
        config = recorded_config(about["config"], files.checkpoints / str(steps[0]))
        epoch = about["epoch"]
        if which == "best" and result:
            epoch = result["tested_epoch"]
        elif which == "best" and config.early_stopping.restore_best:
            epoch = about["early_stopping"]["best_epoch"]
        if epoch != about["epoch"]:
            step = epoch * (steps[0] - about["step_in_epoch"]) // max(about["epoch"], 1)
            if step not in steps:
                which = "tested" if result else "best"
                raise UserError(
                    f"{files.checkpoints / str(step)} is missing, the checkpoint of the {which} epoch {epoch}: copy "
                    "the run's whole folder again. digits.load(..., which='latest') loads other weights."
                )
            state, about = _restore(checkpoints, step)
        checkpoints.close()
        class_names = tuple(about["class_names"])
        model = _network(config, len(class_names), state["train"])
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Damaged, or nonsense in a checkpoint that nobody sealed.
        if system_code(error) in OF_THE_MACHINE:
            raise
        raise _partial(files.checkpoints, reason(error, with_type=True)) from error
    if len(records) < about["epoch"]:
        raise _partial(files.path / "metrics.jsonl", f"it has not all of the {about['epoch']} epochs")
    name, changed = _origin(origin, files.path.name)
    known = flat(about["config"])
    changes = {field: config[field] if field in known else value for field, value in changed.items()}
    notes = []
    if origin.get("run") is None:
        notes.append(NO_IDENTITY)
    if result and result["tested_epoch"] != about["epoch"]:
        notes.append(f"the weights are of epoch {about['epoch']}, the test figures of epoch {result['tested_epoch']}")
    return Run(files.path, name, changes, config, model, class_names, about["epoch"], records, result, tuple(notes))


def _origin(about: dict[str, Any], folder: str) -> tuple[str, dict[str, Any]]:
    """The name of a run's experiment, or of its folder if config.json names none, and the changes as JSON."""
    file, changes = about.get("config_file"), about.get("overrides")
    name = pathlib.PurePath(file).stem if isinstance(file, str) else folder
    return name, changes if isinstance(changes, dict) else {}


def _partial(path: pathlib.Path, problem: str) -> UserError:
    return UserError(
        f"{path} is damaged, or only a part of it was copied ({problem}): copy the run's whole folder again."
    )


def _restore(checkpoints: Checkpoints, step: int) -> tuple[Any, dict[str, Any]]:
    """Reads a checkpoint's state and `about`; ValueError if `about` holds impossible values, sealed or not."""
    state, about = checkpoints.restore(step)
    if not is_a(about["epoch"], int) or about["epoch"] < 0:
        raise ValueError(f"its epoch is {about['epoch']!r:.100}")
    # Names are printed: control characters in them would be commands to the terminal.
    if not all(isinstance(name, str) and name.isprintable() for name in about["class_names"]):
        raise ValueError("its class names are no words")
    return state, about


def _network(config: ConfigDict, classes: int, saved: dict[str, Any]) -> models.Network:
    """Builds the config's network with the saved weights; ValueError if these belong to another network."""
    graphdef, *expected = _structure(json.dumps(config_to_json(config.model)), classes)
    given = [saved.get("average") or saved["params"], saved.get("stats") or {}]
    kinds = [jax.tree.map(lambda a: (a.shape, a.dtype), trees) for trees in (given, expected)]
    if kinds[0] != kinds[1]:
        raise ValueError("its weights are not those of its config's network")
    # The checkpoint's arrays are NumPy's; the module's are the default device's.
    return nnx.merge(graphdef, *jax.tree.map(jnp.asarray, given))


@functools.lru_cache(maxsize=64)
def _structure(model: str, classes: int) -> tuple[nnx.GraphDef, dict, dict]:
    """Traces the network of a `config.model`, given as JSON. Cached: tracing takes as long as reading weights."""
    fields = json.loads(model)
    if fields.get("convolution") == "native" and not native.available():  # It was trained on another machine.
        fields["convolution"] = "auto"
    config = config_from_json(fields)
    return families.parts(models.outline(config, classes))
