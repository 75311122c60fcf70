"""Evaluates a sweep: every finished member, and for each point the ensemble of its members."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from digits.analysis import statistics
from digits.config import numbers as config_numbers
from digits.reports.evaluation_text import IMAGES
from digits.reports.judged_run import JudgedRun, SharedByRuns, with_interval
from digits.runs import loading
from digits.runs.sweep_folder import Point, Sweep, read_sweep


def evaluate(path: pathlib.Path, split: str, shared: SharedByRuns) -> dict[str, Any]:
    """Evaluates the sweep in a folder on "test", "validation" or "train" images.

    Returns:
      "config_file"; "chooses", the figure that orders the points; "data", names of datasets; "notes", sentences; and
      "points", best first. Each point has its "values"; "accuracy" and "loss" over its members, as "n" (members),
      "mean" and "std"; the figures of their "ensemble", or None and the reason for "no_ensemble"; its "members" with
      name, state and, if finished, epoch and figures, see `judged_run.with_interval`.

    Raises:
      UserError: no member is finished, or a part of the sweep is missing or damaged.
    """
    sweep = read_sweep(path)
    if not any(member.state == "finished" for member in sweep.members):
        raise loading.no_finished_member(sweep)
    notes: dict[str, None] = {}  # A dict keeps each sentence once, in order.
    points = [_of_point(sweep, point, split, shared, notes) for point in sweep.points]
    chosen_here = {"test": sweep.chosen_by_test, "validation": True, "train": False}[split]
    if len(points) > 1 and chosen_here:
        notes[f"the best point was chosen on these images, by {sweep.chooses}: its figures are too good"] = None
    about = {"config_file": sweep.config_file, "chooses": sweep.chooses, "data": list(shared.datasets)}
    return about | {"notes": list(notes), "points": points}


def _of_point(sweep: Sweep, point: Point, split: str, shared: SharedByRuns, notes: dict[str, None]) -> dict[str, Any]:
    members, runs, together, problem = [], [], None, None
    for member in point.members:
        members.append({"name": member.name, "state": member.state})
        if member.state == "finished":
            judged = JudgedRun(sweep.folder / member.name, shared, split)
            members[-1] |= {"epoch": judged.run.epoch} | judged.figures
            notes |= dict.fromkeys(judged.notes)
            runs.append(judged)
    if not runs:
        problem = "no member is finished"
    elif split != "test" and len({judged.config.data.fold for judged in runs}) > 1:
        problem = f"members of different folds have different {IMAGES[split]} images"
    else:
        together = ensemble(runs)
        if any(name.startswith("dense") for name in config_numbers.of(runs[0].config).layers):
            notes["a run's loss includes its L2 penalty, an ensemble's does not"] = None
    return {
        "values": point.values,
        "accuracy": _over(members, "accuracy"),
        "loss": _over(members, "loss"),
        "ensemble": together,
        "no_ensemble": problem,
        "members": members,
    }


def _over(members: Sequence[dict[str, Any]], figure: str) -> dict[str, Any]:
    return dataclasses.asdict(statistics.summarize(member.get(figure) for member in members))


def ensemble(runs: Sequence[JudgedRun]) -> dict[str, Any]:
    """Computes the figures of the mean of the runs' probabilities, on the images of the first run's split.

    The loss comes from logarithms of probabilities, so that it is finite for a probability that rounds to zero.
    """
    images, labels = runs[0].examples
    logits_MxNxK = np.stack([judged.run.logits(images) for judged in runs])
    log_means_NxK = logsumexp(log_softmax(logits_MxNxK.astype(np.float64), axis=-1), axis=0) - np.log(len(runs))
    losses_N = -log_means_NxK[np.arange(len(labels)), labels]
    correct = int(np.sum(log_means_NxK.argmax(-1) == labels))
    return with_interval(float(losses_N.mean()), correct, len(labels))
