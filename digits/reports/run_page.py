"""Computes the content of the page on one run; templates/run.html.j2 lays it out."""

from collections.abc import Sequence
import shlex
from typing import Any

import numpy as np

from digits.analysis import statistics
from digits.analysis.figures import curves, sheet
from digits.analysis.figures.images import augmentation, filters, first_of_each
from digits.analysis.figures.style import png
from digits.config.numbers import AugmentNumbers, of_section
from digits.config.values import flat
from digits.models import summary
from digits.reports.judged_run import JudgedRun
from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import resuming_command
from digits.runtime.environment import settings

_SAMPLES = 60  # Training images that are shown, at most.


def content(run: JudgedRun) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Computes the template's variables, and draws the page's pictures, PNG files by name.

        variables, pictures = content(JudgedRun("runs/simple_cnn", SharedByRuns()))

    An unfinished run lacks the results; its test images are not evaluated.
    """
    result, pictures, panels = run.result, _pictures(run), {}
    if run.history:
        panels = {name: png(figure) for name, figure in curves.panels([run], run.documented).items()}
    shown = {
        "title": f"{run.name}: " + (f"test accuracy {result['test_accuracy']:.4f}" if result else "not finished"),
        "run": run,
        "panels": panels,
        "pictures": pictures,
        "examples": _examples(run),
        "validated_on_test": VALIDATED_ON_TEST,
        "command": _command(run),
        "override_rows": _field_rows(run.about["overrides"], "config."),
        "data": _data(run),
        "config_rows": _field_rows(flat(run.config.to_dict())),
        "layer_rows": [
            {
                "layer": layer.name,
                "output shape": "x".join(map(str, layer.output)),
                "parameters": f"{layer.trainable + layer.rest:,}",
            }
            for layer in run.layers
        ],
        "layer_totals": summary.totals(run.layers),
        "augmentation_ranges": ", ".join(f"{name.replace('_', ' ')} {of:g}" for name, of in _augmentation(run).items()),
    }
    if result:
        shown |= _tested(run)
    return shown, panels | pictures


def _field_rows(values: dict[str, Any], prefix: str = "") -> list[dict[str, str]]:
    return [{"field": prefix + field, "value": str(value)} for field, value in values.items()]


def _pictures(run: JudgedRun) -> dict[str, bytes]:
    pictures = {}
    if run.result:
        pictures |= run.draw()
        kernel = getattr(run.run.model, _first_layer(run)).kernel[...]
        pictures["filters"] = png(filters(kernel))
    if _augmentation(run):
        dataset = run.dataset
        some = dataset.train_images[first_of_each(dataset.train_labels, len(run.class_names))[:10]]
        with settings():
            pictures["augmentation"] = sheet.png(augmentation(some, run.config.augment))
    return pictures


def _examples(run: JudgedRun) -> dict[str, list[tuple[bytes, str, list[str]]]]:
    """Draws images of digits by themselves, each with its alternative and the lines of text below it.

    Returns:
      "samples", the first training images of every class; of a finished run also the "mistakes" and "doubtful" of
      `classification.measure`.
    """
    names = run.class_names
    images, labels = run.dataset.train_images, run.dataset.train_labels
    found = {"samples": []}
    for i in first_of_each(labels, len(names), max(1, min(3, _SAMPLES // len(names))))[:_SAMPLES]:
        name = str(names[labels[i]])
        found["samples"].append((sheet.png(255 - images[i]), f"A training image of class {name}", [name]))
    for kind in ("mistakes", "doubtful") if run.result else ():
        found[kind] = []
        for entry in run.measures[kind]:
            true, predicted, index = names[entry["label"]], names[entry["prediction"]], entry["index"]
            reading = f"{true} read as {predicted}" if true != predicted else str(true)
            lines = [reading, f"p = {entry['probability']:.4f}", f"image {index}"]
            found[kind].append(
                (sheet.png(255 - run.examples.images[index]), f"Test image {index}, class {true}", lines)
            )
    return found


def _worst(confusion: list[list[int]], names: Sequence[str]) -> str:
    """Says which errors are the most frequent."""
    counts = np.array(confusion)
    np.fill_diagonal(counts, 0)
    errors, most = int(counts.sum()), int(counts.max())
    if not errors:
        return "No test image is read wrongly."
    kinds = [f"{names[i]} read as {names[j]}" for i, j in np.argwhere(counts == most)]
    if errors == 1:
        return f"One test image is read wrongly: {kinds[0]}."
    if most == 1:
        return f"{errors:,} test images are read wrongly, no two of them alike."
    if len(kinds) == 1:
        return f"The most frequent error is {kinds[0]}: {most:,} of {errors:,}."
    *others, last = kinds if len(kinds) <= 3 else (*kinds[:3], f"{len(kinds) - 3} more")
    return f"The most frequent errors are {', '.join(others)} and {last}: {most:,} of {errors:,} each."


def _first_layer(run: JudgedRun) -> str:
    """The name of the first layer that has weights."""
    return next(layer.name for layer in run.layers if layer.name.startswith(("conv", "depthwise", "dense")))


def _augmentation(run: JudgedRun) -> dict[str, float]:
    """The ranges of the augmentations that are on, by name."""
    ranges = of_section(AugmentNumbers, run.config.augment)._asdict()
    return {name: amount for name, amount in ranges.items() if amount is not None}


def _tested(run: JudgedRun) -> dict[str, Any]:
    """The variables that only a finished run has."""
    result, n = run.result, run.about["data"]["test"]
    low, high = statistics.wilson(round(result["test_accuracy"] * n), n)
    confusion = run.measures["confusion"]
    return {
        "low": low,
        "high": high,
        "result_rows": _result_rows(run),
        "class_rows": [
            {"class": of["name"], "images": f"{of['support']:,}"}
            | {
                name: "" if of[key] is None else f"{of[key]:.4f}"
                for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
            }
            for of in run.measures["per_class"]
        ],
        "errors": sum(sum(row) - row[i] for i, row in enumerate(confusion)),
        "worst": _worst(confusion, run.class_names),
        "first_layer": _first_layer(run),
        "environment": _environment(result),
    }


def _result_rows(run: JudgedRun) -> list[dict[str, str]]:
    theirs = {} if run.differing else run.config.documented
    values = {
        "test accuracy": (run.result["test_accuracy"], theirs.get("test_accuracy")),
        "test loss (nats)": (run.result["test_loss"], theirs.get("test_loss")),
        "validation accuracy": (run.tested.get("val_accuracy"), theirs.get("val_accuracy")),
        "validation loss (nats)": (run.tested.get("val_loss"), None),
        "training accuracy": (run.tested.get("accuracy"), None),
        "training loss (nats)": (run.tested.get("loss"), None),
    }
    return [
        {"figure": name, "this run": f"{ours:.4f}", "documented": "" if theirs is None else f"{theirs:.4f}"}
        for name, (ours, theirs) in values.items()
        if ours is not None
    ]


def _command(run: JudgedRun) -> str | None:
    """The command that trains the run again, or goes on with it; None if it was trained from Python."""
    if not run.about["config_file"]:
        return None
    command = resuming_command(run.about, run.files)
    # Without the last argument, --workdir: in this folder the run is finished.
    return shlex.join(shlex.split(command)[:-1]) if run.result else command


def _data(run: JudgedRun) -> dict[str, str]:
    """Describes the dataset and its split, for a table."""
    config, counts = run.config.data, run.about["data"]
    if run.validated_on_test:
        validation = f"the {counts['test']:,} test images themselves"
    elif config.validation == "none":
        validation = "none"
    else:
        validation = f"{counts['validation']:,} images, {config.validation}"
    fold = f", fold {config.fold}" if "folds" in config.validation else ""
    return {
        "dataset": f"{config.name} (SHA-256 {str(counts['digest'])[:12]}…)",
        "training": f"{counts['train']:,} images",
        "validation": validation + fold,
        "test": f"{counts['test']:,} images",
        "seed": str(run.config.seed),
    }


def _environment(result: dict[str, Any]) -> dict[str, str]:
    """Describes where and how the run was trained, for a table; a value that an older run did not record is ""."""

    def amount(name, form, divisor=1):
        return form.format(result[name] / divisor) if result.get(name) is not None else ""

    return {
        "device": str(result.get("device", "")),
        "training": amount("seconds", "{:,.1f} s"),
        "epochs": str(result.get("epochs", "")),
        "speed": amount("images_per_second", "{:,.0f} images/s"),
        "first step after": amount("seconds_to_first_step", "{:,.1f} s"),
        "compilation": amount("compile_seconds", "{:,.1f} s"),
        "peak memory of the process": amount("peak_memory_bytes", "{:,.0f} MiB", 2**20),
        "peak memory of the device": amount("device_peak_memory_bytes", "{:,.0f} MiB", 2**20),
        "commit": str(result.get("commit") or ""),
        "versions": ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()),
    }
