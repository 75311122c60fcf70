"""Evaluates what was trained: a run, or the members and the ensembles of a sweep.

    python -m digits.evaluate --workdir=runs/simple_cnn
    python -m digits.evaluate --workdir=runs/simple_cnn --robustness
    python -m digits.evaluate --workdir=runs/simple_cnn_sweep,seed=0:10 --split=validation --json

A run also gets measures by class, its confusion matrix, calibration and worst mistakes, for MNIST the errors by writer,
with --robustness the accuracy on changed images, and pictures of these in its folder `figures`. Loss (the mean
cross-entropy in nats, with a network's L2 penalty) and accuracy of every run are exact, those of result.json again; an
ensemble predicts by the mean of its members' probabilities. Intervals are of 95%.
"""

from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import typing
from typing import Any

from absl import flags

from digits import command_line, results, scalars, statistics
from digits.assessment_text import IMAGES, text
from digits.errors import UserError

if typing.TYPE_CHECKING:  # --help and a mistyped flag do not wait for what imports JAX.
    import numpy as np

    from digits import data, loading

_Where = bool | str | os.PathLike
_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a run or of a sweep.", flag_values=_FLAGS)
_SPLIT = flags.DEFINE_string("split", "test", "On which images: test, validation or train.", flag_values=_FLAGS)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_FIGURES = flags.DEFINE_string(
    "figures", None, "The folder for a run's pictures, or none. Default: `figures` in the run's.", flag_values=_FLAGS
)
_ROBUSTNESS = flags.DEFINE_bool(
    "robustness", False, "Measure a run on changed images too; a deep CNN takes a minute.", flag_values=_FLAGS
)
_ROBUSTNESS_IMAGES = flags.DEFINE_integer(
    "robustness_images", 2000, "On so many of the images, evenly spaced.", lower_bound=1, flag_values=_FLAGS
)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, with all digits, instead of text.", flag_values=_FLAGS)


def assess(
    folder: str | os.PathLike,
    split: str = "test",
    data_dir: str | None = None,
    figures: _Where = False,
    robustness_images: int = 0,
) -> dict[str, Any]:
    """Evaluates a run or a sweep.

    Args:
      folder: of the run or the sweep.
      split: "test", "validation" or "train", as each run's `config.data` has them.
      data_dir: see `data.load`.
      figures: a folder to write a run's pictures into; True for its own `figures`, below which splits other than the
        test set have a folder each; False for none.
      robustness_images: on how many of the images a run's robustness is measured; 0 for not at all.

    Returns:
      What `python -m digits.evaluate --json` prints. *Figures* are "n" (images), "accuracy", its "accuracy_interval"
      and "loss". Both kinds have "kind" (run or sweep), "path", "split", "data" (names) and "notes" (sentences).
      A run has its figures; the "epoch" (from 1) of its weights; what `measures.measure` returns, from another program
      than the figures, so that an image on the edge of two classes may be counted differently; "writers", from
      `measures.by_writer`, and "robustness", the rows of `robustness.measure`, either None where it was not measured;
      and the paths of its "pictures". A sweep has its "config_file", what "chooses", and "points", best first. Each
      point has its "values"; its "members" with name, state and, if finished, epoch and figures; "accuracy" and "loss"
      over these, as "n" (members), "mean" and "std"; and the figures of their "ensemble", or None and the reason for
      "no_ensemble".

    Raises:
      UserError: there is nothing finished to evaluate, or no such images; or a sweep is given what only a run can have.
    """
    if split not in IMAGES:
        raise UserError(f"--split is {split!r}, but it must be one of {', '.join(IMAGES)}.")
    if not isinstance(figures, bool) and os.path.isfile(figures):
        raise UserError(f"--figures is {str(figures)!r}, but that is a file: it must be a folder, or none.")
    path = pathlib.Path(folder).expanduser().absolute()
    about = {"path": str(path), "split": split}
    evaluation = _Evaluation(split, data_dir)
    if (path / "sweep.json").exists():
        for flag, given in (("figures", not isinstance(figures, bool)), ("robustness", robustness_images)):
            if given:
                raise UserError(f"--{flag} is for a run, but {path} is a sweep: name one of its runs.")
        return {"kind": "sweep"} | about | evaluation.of_sweep(path)
    from digits import loading

    run = loading.load(path)
    found = evaluation.of_run(run) | evaluation.details(run, robustness_images)
    if run.result is None:
        evaluation.note("the run is not finished")
    pictures = evaluation.draw(run, path, figures, found) if figures else []
    return {"kind": "run"} | about | evaluation.about() | found | {"pictures": pictures}


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

    def details(self, run: "loading.Run", robustness_images: int) -> dict[str, Any]:
        """What there is to say of a run beyond its figures."""
        import numpy as np
        from tqdm import tqdm

        from digits import measures, robustness

        images, labels = self.examples(run)
        logits = run.logits(images)
        writers = self.writers(run)
        rows = None
        if robustness_images:
            some = robustness.spread(len(labels), robustness_images)
            rows = robustness.measure(run.logits, images[some], labels[some])
            rows = list(tqdm(rows, "robustness", robustness.COUNT, unit=" changes", leave=False, disable=None))
        return measures.measure(logits, labels, run.class_names) | {
            "writers": None if writers is None else measures.by_writer(np.equal(logits.argmax(-1), labels), writers),
            "robustness": rows,
        }

    def writers(self, run: "loading.Run") -> "np.ndarray | None":
        """Who wrote each image of the split; None, with a note, where the file that knows it is not there."""
        from digits import data

        config = run.config.data
        if config.name != "mnist":  # Nobody knows of others.
            return None
        dataset, validated_on_test = self._datasets[config.name], config.validation.strip() == "test"
        try:
            if self.split == "test" or (self.split == "validation" and validated_on_test):
                return data.writers(dataset, "test")
            train, held = data.indices(dataset, config)
            return data.writers(dataset, "train")[train if self.split == "train" else held]
        except UserError as error:
            self.note(f"errors by writer are left out: {error}")
            return None

    def draw(self, run: "loading.Run", path: pathlib.Path, figures: _Where, found: dict[str, Any]) -> list[str]:
        """Writes pictures of what was found of the run at `path` to where `assess` says; returns their paths."""
        own = path / "figures" / ("" if self.split == "test" else self.split)
        folder = own if figures is True else pathlib.Path(figures).expanduser().absolute()
        try:
            from digits import assessment_figures

            return assessment_figures.write(folder, found, self.examples(run)[0])
        except ImportError:
            self.note("there are no pictures, for matplotlib is not installed: pip install matplotlib")
        except UserError as error:  # Nobody asked for them in a run's folder, which may be somebody else's.
            if figures is not True:
                raise
            self.note(f"there are no pictures: {error}")
        return []

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
            problem = f"members of different folds have different {IMAGES[self.split]} images"
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


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main)


def _main(_: list[str]) -> int:
    workdir = command_line.require_workdir(_WORKDIR.value)
    if _FIGURES.value == "":
        raise UserError("--figures is empty, but it must be a folder, or none.")
    if _FLAGS["robustness_images"].present and not _ROBUSTNESS.value:
        raise UserError("--robustness_images is given, but --robustness, which it is for, is not.")
    figures = {None: True, "none": False}.get(_FIGURES.value, _FIGURES.value)
    robustness_images = _ROBUSTNESS_IMAGES.value if _ROBUSTNESS.value else 0
    assessment = assess(workdir, _SPLIT.value, _DATA_DIR.value, figures, robustness_images)
    print(json.dumps(assessment, indent=2) if _JSON.value else text(assessment))
    return 0


if __name__ == "__main__":  # A likely slip, which would do nothing and say nothing.
    from digits.command_line import UserError, refuse

    raise SystemExit(refuse(UserError("digits.assess is no command: python -m digits.evaluate is.")))
