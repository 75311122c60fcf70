"""Evaluates a run, or with `sweep_evaluation` a sweep: exact figures, measures by class, calibration, robustness."""

import importlib.util
import os
import pathlib
from typing import Any

from tqdm import tqdm

from digits.analysis import classification, robustness
from digits.errors import UserError
from digits.reports import sweep_evaluation
from digits.reports.evaluation_text import IMAGES
from digits.reports.judged_run import JudgedRun, SharedByRuns, write_pictures
from digits.runs.found import is_sweep
from digits.runtime import paths


def evaluate(
    folder: str | os.PathLike,
    split: str = "test",
    data_dir: str | None = None,
    figures: bool | str | os.PathLike = False,
    robustness_images: int = 0,
) -> dict[str, Any]:
    """Evaluates a run or a sweep.

        evaluate("runs/simple_cnn", robustness_images=2000)["per_class"][3]["recall"]

    Args:
      folder: the folder of the run or the sweep.
      split: "test", "validation" or "train", as each run's `config.data` makes them.
      data_dir: see `data.load`.
      figures: the folder to write a run's pictures into; True for `figures` in the run's folder (or in that
        `figures/validation` or `figures/train`); False for none.
      robustness_images: the number of images that a run's robustness is measured on; 0 to leave it out.

    Returns:
      The object that `python -m digits.evaluate --json` prints. It has "kind" ("run" or "sweep"), "path", "split",
      "data" (names of datasets) and "notes" (sentences). A sweep's has also the keys of `sweep_evaluation.evaluate`,
      and a run's:
      "epoch": that of its weights, from 1.
      "n" (images), "accuracy", its "accuracy_interval" and "loss": the exact figures.
      The keys of `classification.measure`. Another program computes these, so that an image on the edge between two
        classes may be counted differently.
      "writers": the result of `classification.by_writer`; None if there is no list of writers.
      "robustness": the rows of `robustness.measure`; None if it was not measured.
      "pictures": their paths.

    Raises:
      UserError: there is nothing finished to evaluate, or no such images; or an argument is for runs only.
    """
    if split not in IMAGES:
        raise UserError(f"--split is {split!r}, but it must be one of {', '.join(IMAGES)}.")
    if not isinstance(figures, bool) and os.path.isfile(figures):
        raise UserError(f"--figures is {str(figures)!r}, but that is a file: it must be a folder, or none.")
    path = pathlib.Path(folder).expanduser().absolute()
    shared = SharedByRuns(data_dir)
    if is_sweep(path):
        for flag, given in (("figures", not isinstance(figures, bool)), ("robustness", robustness_images)):
            if given:
                raise UserError(f"--{flag} is for a run, but {path} is a sweep: name one of its runs.")
        return {"kind": "sweep", "path": str(path), "split": split} | sweep_evaluation.evaluate(path, split, shared)
    judged = JudgedRun(path, shared, split)
    found = {"epoch": judged.run.epoch} | judged.figures | judged.measures
    notes = judged.notes
    found["writers"] = _errors_by_writer(judged, notes)
    found["robustness"] = _robustness(judged, robustness_images) if robustness_images else None
    if judged.result is None:
        notes.append("the run is not finished")
    pictures = _write_pictures(judged, figures, found["robustness"], notes) if figures else []
    about = {"kind": "run", "path": str(path), "split": split, "data": list(shared.datasets), "notes": notes}
    return about | found | {"pictures": pictures}


def _errors_by_writer(judged: JudgedRun, notes: list[str]) -> dict[str, Any] | None:
    """Counts errors by writer; None, with a note, if the file that lists the writers is missing."""
    try:
        writers = judged.writers
    except UserError as error:
        notes.append(f"errors by writer are left out: {error}")
        return None
    return None if writers is None else classification.by_writer(judged.right, writers)


def _robustness(judged: JudgedRun, most: int) -> list[dict[str, Any]]:
    """Measures robustness on at most `most` images, with a progress bar."""
    images, labels = judged.examples
    some = robustness.spread(len(labels), most)
    rows = robustness.measure(judged.run.logits, images[some], labels[some])
    return list(tqdm(rows, "robustness", robustness.COUNT, unit=" changes", leave=False, disable=None))


def _write_pictures(
    judged: JudgedRun, figures: bool | str | os.PathLike, rows: list[dict[str, Any]] | None, notes: list[str]
) -> list[str]:
    """Writes the run's pictures into the folder that `evaluate` describes; returns their paths."""
    if importlib.util.find_spec("matplotlib") is None:
        notes.append("there are no pictures, for matplotlib is not installed: pip install matplotlib")
        return []
    own = judged.files.path / "figures" / ("" if judged.split == "test" else judged.split)
    folder = own if figures is True else paths.local(figures, "--figures").absolute()
    try:
        return write_pictures(folder, judged.draw(rows))
    except UserError as error:
        if figures is not True:
            raise
        notes.append(f"there are no pictures: {error}")  # The user named no folder, and the run's may be read-only.
        return []
