"""Evaluates what was trained: a run, or the members and the ensembles of a sweep.

    python -m digits.evaluate --workdir=runs/simple_cnn
    python -m digits.evaluate --workdir=runs/simple_cnn_sweep,seed=0:10 --split=validation --json

Loss (the mean cross-entropy in nats, with a network's L2 penalty) and accuracy of every run are exact, those of
result.json again; an ensemble predicts by the mean of its members' probabilities. Intervals are of 95%.
"""

from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import sys
import typing
from typing import Any

from absl import flags

from digits import main as digits_main
from digits import results, scalars, statistics, tables
from digits.errors import UserError

if typing.TYPE_CHECKING:  # --help and a mistyped flag do not wait for what imports JAX.
    import numpy as np

    from digits import data, loading

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a run or of a sweep.", flag_values=_FLAGS)
_SPLIT = flags.DEFINE_string("split", "test", "On which images: test, validation or train.", flag_values=_FLAGS)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, with all digits, instead of text.", flag_values=_FLAGS)

_IMAGES = {"test": "test", "validation": "validation", "train": "training"}


def assess(folder: str | os.PathLike, split: str = "test", data_dir: str | None = None) -> dict[str, Any]:
    """Evaluates a run or a sweep.

    Args:
      folder: of the run or the sweep.
      split: "test", "validation" or "train", as each run's `config.data` has them.
      data_dir: see `data.load`.

    Returns:
      What `python -m digits.evaluate --json` prints. *Figures* are "n" (images), "accuracy", its "accuracy_interval"
      and "loss". Both kinds have "kind" (run or sweep), "path", "split", "data" (names) and "notes" (sentences).
      A run has its figures and the "epoch" (from 1) of its weights. A sweep has its "config_file", what "chooses", and
      "points", best first. Each point has its "values"; its "members" with name, state and, if finished, what a run
      has; "accuracy" and "loss" over these, as "n" (members), "mean" and "std"; and the figures of their "ensemble",
      or None and the reason for "no_ensemble".

    Raises:
      UserError: there is nothing finished to evaluate, or no such images.
    """
    if split not in _IMAGES:
        raise UserError(f"--split is {split!r}, but it must be one of {', '.join(_IMAGES)}.")
    path = pathlib.Path(folder).expanduser().absolute()
    about = {"path": str(path), "split": split}
    evaluation = _Evaluation(split, data_dir)
    if (path / "sweep.json").exists():
        return {"kind": "sweep"} | about | evaluation.of_sweep(path)
    from digits import loading

    run = loading.load(path)
    figures = evaluation.of_run(run)
    if run.result is None:
        evaluation.note("the run is not finished")
    return {"kind": "run"} | about | evaluation.about() | figures


class _Evaluation:
    """What the runs of a folder share: datasets, compiled functions, and what is to be said of them all."""

    def __init__(self, split: str, data_dir: str | None):
        self.split, self.data_dir = split, data_dir
        self._datasets: dict[str, data.Dataset] = {}
        self._functions, self._notes = {}, {}
        self._latest = None, None  # A fold is a copy of the training set: only one is kept.

    def note(self, sentence: str) -> None:
        self._notes[sentence] = None

    def about(self) -> dict[str, Any]:
        return {"data": list(self._datasets), "notes": list(self._notes)}

    def examples(self, run: "loading.Run") -> tuple["np.ndarray", "np.ndarray"]:
        """The split's images and labels for a run; UserError if there are none, or of another number of classes."""
        from digits import data

        config = run.config.data
        if config.name not in self._datasets:
            self._datasets[config.name] = data.load(config.name, self.data_dir)
        dataset = self._datasets[config.name]
        classes, trained = len(dataset.class_names), len(run.class_names)  # A set's names differ by where it was read.
        if classes != trained:
            raise UserError(f"{config.name} has {classes} classes here, but the run was trained on {trained}.")
        if run.result and run.result["data"]["digest"] != dataset.digest():
            self.note(f"{config.name} is not what it was when it was trained on: its SHA-256 digest differs")
        if config.validation.strip() == "test" and self.split != "train":
            self.note("validation was the test set: no figure here is of unseen images")
        if self.split == "test":  # Also where the split of the others cannot be made here, as for `writer_folds`.
            return dataset.test_images, dataset.test_labels
        key = config.name, config.validation, config.fold
        if self._latest[0] != key:
            self._latest = key, getattr(data.split(dataset, config), self.split)
        if self._latest[1] is None:
            nothing = f"config.data.validation was {config.validation!r}, so there are no validation images"
            raise UserError(f"{nothing}: --split must be test or train.")
        return self._latest[1]

    def of_run(self, run: "loading.Run") -> dict[str, Any]:
        """Its epoch and figures, computed by the program of result.json's: on the same machine the same bits."""
        from digits import evaluate, models, program, step

        images, labels = self.examples(run)
        graphdef, params, stats = models.split(run.model)
        key = scalars.structure(run.config), run.class_names
        if key not in self._functions:
            program.prepare_jax(run.config)
            normalization, size = run.config.data.normalization, run.config.eval_batch_size
            self._functions[key] = evaluate.make_evaluate(graphdef, normalization, size)
        own = scalars.of_model(step.numbers_of(run.config)["scalars"])
        metrics = self._functions[key](params, stats, images, labels, own)
        figures = _figures(metrics["loss"], round(metrics["accuracy"] * len(labels)), len(labels))
        return {"epoch": run.epoch} | figures

    def of_ensemble(self, runs: Sequence["loading.Run"]) -> dict[str, Any]:
        """The figures of the mean of the runs' probabilities, all on the first one's examples.

        The loss goes by logarithms of probabilities, in float64: none is too small for them.
        """
        import numpy as np
        from scipy.special import log_softmax, logsumexp

        images, labels = self.examples(runs[0])
        logits_MxNxK = np.stack([run.logits(images) for run in runs])
        log_means = logsumexp(log_softmax(logits_MxNxK.astype(np.float64), axis=-1), axis=0) - np.log(len(runs))
        losses = -log_means[np.arange(len(labels)), labels]
        if "model.hidden_l2" in scalars.of(runs[0].config):
            self.note("a run's loss includes its L2 penalty, an ensemble's does not")
        return _figures(float(losses.mean()), int(np.sum(log_means.argmax(-1) == labels)), len(labels))

    def of_sweep(self, path: pathlib.Path) -> dict[str, Any]:
        from digits import loading

        sweep = results.read_sweep(path)
        if not any(member.state == "finished" for member in sweep.members):
            raise loading.no_finished_member(sweep)
        points = [self._of_point(sweep, point) for point in sweep.points]
        if len(points) > 1 and {"test": sweep.chosen_by_test, "validation": True, "train": False}[self.split]:
            self.note(f"the best point was chosen on these images, by {sweep.chooses}: its figures are too good")
        return {"config_file": sweep.config_file, "chooses": sweep.chooses} | self.about() | {"points": points}

    def _of_point(self, sweep: results.Sweep, point: results.Point) -> dict[str, Any]:
        from digits import loading

        members, runs, ensemble, problem = [], [], None, None
        for member in point.members:
            members.append({"name": member.name, "state": member.state})
            if member.state == "finished":
                runs.append(loading.load(sweep.folder / member.name))
                members[-1] |= self.of_run(runs[-1])
        if not runs:
            problem = "no member is finished"
        elif self.split != "test" and len({run.config.data.fold for run in runs}) > 1:
            problem = f"members of different folds have different {_IMAGES[self.split]} images"
        else:
            ensemble = self.of_ensemble(runs)
        over = lambda figure: dataclasses.asdict(statistics.summarize(member.get(figure) for member in members))
        return {
            "values": point.values,
            "accuracy": over("accuracy"),
            "loss": over("loss"),
            "ensemble": ensemble,
            "no_ensemble": problem,
            "members": members,
        }


def _figures(loss: float, correct: int, n: int) -> dict[str, Any]:
    return {"n": n, "accuracy": correct / n, "accuracy_interval": statistics.wilson(correct, n), "loss": loss}


def text(assessment: dict[str, Any]) -> str:
    """What `assess` returns, for the terminal: Markdown."""
    is_run, images = assessment["kind"] == "run", _IMAGES[assessment["split"]]
    lines = _run_lines(assessment, images) if is_run else _sweep_lines(assessment, images)
    notes = [f"note: {note}" for note in assessment["notes"]]
    return "\n".join([f"{assessment['path']}: {lines[0]}", *lines[1:], *notes])


def _run_lines(run: dict[str, Any], images: str) -> list[str]:
    cells = _cells(run)
    where = f"{run['n']:,} {images} images of {', '.join(run['data'])}"
    accuracy = f"accuracy {cells['accuracy']} (95% interval {cells['95% interval']}, n = {run['n']:,})"
    return [f"the weights of epoch {run['epoch']} on {where}", f"{accuracy}  loss {cells['loss']}"]


def _sweep_lines(sweep: dict[str, Any], images: str) -> list[str]:
    """The points, best first, with mean ± std and ensemble of each; and all members."""
    points = sweep["points"]
    members = [member for point in points for member in point["members"]]
    finished = [member for member in members if "accuracy" in member]
    sizes = " or ".join(f"{n:,}" for n in sorted({member["n"] for member in finished}))
    where = f"{sizes} {images} images of {', '.join(sweep['data'])}"
    lines = [f"{len(finished)} of {len(members)} runs are finished, on {where}"]
    if len(points) > 1:
        lines.append(f"best point by {sweep['chooses']} first; each has its own ensemble, there is none across points")
    rows = []
    for point in points:
        accuracy, loss = (statistics.Summary(**point[figure]) for figure in ("accuracy", "loss"))
        row = {field: str(value) for field, value in point["values"].items()}
        row |= {"n": str(accuracy.n), "accuracy": str(accuracy), "loss": str(loss)}
        row |= {f"ensemble's {name}": cell for name, cell in _cells(point["ensemble"]).items()}
        unfinished = len(point["members"]) - accuracy.n
        rows.append(row | {"not finished": str(unfinished) if unfinished else ""})
    lines += ["", "Mean ± std over n members, and the ensemble of these:", "", *tables.table(rows), ""]
    problems = {point["no_ensemble"] for point in points if point["accuracy"]["n"]} - {None}
    lines += [f"no ensemble, for {problem}" for problem in sorted(problems)] + [""] * bool(problems)
    rows = [{"member": m["name"], **_cells(m), "state": "" if m in finished else m["state"]} for m in members]
    return [*lines, *tables.table(rows), ""]


def _cells(figures: dict[str, Any] | None) -> dict[str, str]:
    """Figures for a row of a table; empty if there are none."""
    if not figures or "accuracy" not in figures:
        return dict.fromkeys(("accuracy", "95% interval", "loss"), "")
    low, high = figures["accuracy_interval"]
    accuracy, loss = f"{figures['accuracy']:.4f}", f"{figures['loss']:.4f}"
    return {"accuracy": accuracy, "95% interval": f"{low:.4f} to {high:.4f}", "loss": loss}


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    if {"--help", "-h", "--helpshort", "-help"} & set(argv):
        print(f"{__doc__}\n{_FLAGS.module_help(sys.modules[__name__])}")
        return 0
    try:
        try:
            rest = _FLAGS(argv)
        except flags.Error as error:
            raise UserError(str(error).replace(" ?", "?")) from error
        if len(rest) > 1:
            raise UserError(f"{rest[1]!r} is no flag: flags start with --.")
        if not _WORKDIR.value:
            raise UserError("--workdir is missing: name a run or a sweep, such as --workdir=runs/simple_cnn.")
        assessment = assess(_WORKDIR.value, _SPLIT.value, _DATA_DIR.value)
    except UserError as error:
        return digits_main.refuse(error)
    print(json.dumps(assessment, indent=2) if _JSON.value else text(assessment))
    return 0
