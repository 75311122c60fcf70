"""What the notebooks printed of every epoch, where the project's `experiments` are installed."""

import functools
import importlib.util
import json
import pathlib
from typing import Any


def curves(config_file: str, source: str) -> dict[str, list[float | None]] | None:
    """The epochs that an experiment's notebook printed, by column, None where one is lost; None if it printed none.

    Args:
      config_file: of the experiment, whose name without folder and ending is the experiment's.
      source: `config.documented.source`: a config of somebody's own may have the name of one of the project's.
    """
    ours = reported().get(pathlib.PurePath(config_file).stem, {})
    return ours.get("history") if f"notebook {ours.get('notebook')}," in str(source) else None


@functools.cache
def reported() -> dict[str, Any]:
    """The notebooks' figures and histories by experiment, None where they lost one.

    They are found without importing `experiments`: as data, for imports point from there to `digits` alone. A run does
    not carry them: they belong to the experiment, and one trained before they were carried has them too.
    """
    found = importlib.util.find_spec("experiments")
    for folder in (found and found.submodule_search_locations) or ():
        path = pathlib.Path(folder) / "reported.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}
