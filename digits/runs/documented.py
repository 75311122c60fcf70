"""The figures that the notebooks printed, and the runs that may be held against them."""

from collections.abc import Iterable
import functools
import importlib.util
import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from digits.config import experiment_files
from digits.config.values import config_to_json, flat
from digits.errors import UserError

_EXPERIMENTS = pathlib.Path(__file__).resolve().parents[2] / "configs"  # Absent from an installed wheel.
# These fields change no figure, or, as the seed, none that the notebooks tell.
_OF_NO_MATTER = {
    "seed", "eval_batch_size", "checkpoint_every", "tensorboard", "deterministic", "compilation_cache",
    "model.convolution",
}  # fmt: skip
_SECTIONS_OF_NO_MATTER = ("population.", "documented.")


def differing_fields(config: ConfigDict, overrides: Iterable[str] = ()) -> list[str]:
    """Finds the fields in which a run differs from the experiment that its documented figures are of.

        differing_fields(config, {"epochs": 1, "seed": 3}) == ["epochs"]

    The figures stand beside a run that differs in none. The experiment is the one of configs/ with the same
    `documented.source`, whatever file the config came from, because a user's own may import it and change it. Seeds and
    fields such as `tensorboard` do not matter.

    Args:
      config: the run's config; one of an earlier version may lack fields.
      overrides: the fields that the command line changed. They count where no experiment has the source: then the
        figures are those of the config's own file.
    """
    source = config.documented.source
    ours = flat(config_to_json(config))
    differing = [
        [field for field, value in theirs.items() if field in ours and ours[field] != value and _matters(field)]
        for theirs in (_experiments() if source else ())
        if theirs["documented.source"] == source
    ]
    return min(differing, key=len, default=[field for field in overrides if _matters(field)])


def _matters(field: str) -> bool:
    return field not in _OF_NO_MATTER and not field.startswith(_SECTIONS_OF_NO_MATTER)


@functools.cache
def _experiments() -> list[dict[str, Any]]:
    """The fields of each experiment of the project, by their dotted names. Takes a tenth of a second."""
    found = []
    for file in sorted(_EXPERIMENTS.glob("[!_]*.py")):
        try:
            found.append(flat(config_to_json(experiment_files.load(str(file))[1])))
        except UserError:  # A file that somebody is writing.
            continue
    return found


def curves(config_file: str, source: str) -> dict[str, list[float | None]] | None:
    """Finds the epochs that an experiment's notebook printed, by column; None if it printed none.

        curves("configs/simple_cnn.py", "notebook 004, lines 1519-1524")["val_accuracy"][-1]

    Args:
      config_file: the file of the experiment's config, named as the experiment.
      source: `config.documented.source`. It must name the experiment's notebook, because a user's own config may have
        the name of one of the project's.
    """
    ours = reported().get(pathlib.PurePath(config_file).stem, {})
    return ours.get("history") if f"notebook {ours.get('notebook')}," in str(source) else None


@functools.cache
def reported() -> dict[str, Any]:
    """Reads the notebooks' figures and histories by experiment; an epoch that a notebook lost is None.

    Reads the file in `experiments` without importing that package. These figures belong to the experiment, not to the
    run: a run of an earlier version has them too.
    """
    found = importlib.util.find_spec("experiments")
    for folder in (found and found.submodule_search_locations) or ():
        path = pathlib.Path(folder) / "reported.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}
