"""Computes the content of the page on one run; templates/run.html.j2 lays it out."""

import shlex
from typing import Any

from digits.analysis import statistics
from digits.analysis.figures import curves, sheet
from digits.analysis.figures.images import augmentation, filters, first_of_each, samples
from digits.analysis.figures.style import png
from digits.config.numbers import AugmentNumbers
from digits.config.values import flat
from digits.models import summary
from digits.reports.judged_run import JudgedRun
from digits.runs.sweep_folder import VALIDATED_ON_TEST
from digits.runs.workdir import resuming_command


def content(run: JudgedRun) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Computes the template's variables, and draws the page's pictures, PNG files by name.

        variables, pictures = content(JudgedRun("runs/simple_cnn", SharedByRuns()))

    An unfinished run lacks the results; its test images are not evaluated.
    """
    result, pictures = run.result, _pictures(run)
    shown = {
        "title": f"{run.name}: " + (f"test accuracy {result['test_accuracy']:.4f}" if result else "not finished"),
        "run": run,
        "pictures": pictures,
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
    return shown, pictures


def _field_rows(values: dict[str, Any], prefix: str = "") -> list[dict[str, str]]:
    return [{"field": prefix + field, "value": str(value)} for field, value in values.items()]


def _pictures(run: JudgedRun) -> dict[str, bytes]:
    pictures = {}
    if run.history:
        pictures["curves"] = png(curves.curves([run], run.documented))
    if run.result:
        pictures |= run.draw()
        kernel = getattr(run.run.model, _first_layer(run)).kernel[...]
        pictures["filters"] = png(filters(kernel))
    train_images, labels = run.dataset.train_images, run.dataset.train_labels
    pictures["samples"] = sheet.png(samples(train_images, labels, run.class_names))
    if _augmentation(run):
        some = train_images[first_of_each(labels, len(run.class_names))[:10]]
        pictures["augmentation"] = sheet.png(augmentation(some, run.config.augment))
    return pictures


def _first_layer(run: JudgedRun) -> str:
    """The name of the first layer that has weights."""
    return next(layer.name for layer in run.layers if layer.name.startswith(("conv", "dense")))


def _augmentation(run: JudgedRun) -> dict[str, float]:
    """The ranges of the augmentations that are on, by name."""
    return {name: run.config.augment[name] for name in AugmentNumbers._fields if run.config.augment[name]}


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
            | {key: "" if of[key] is None else f"{of[key]:.4f}" for key in ("precision", "recall", "f1")}
            for of in run.measures["per_class"]
        ],
        "errors": sum(sum(row) - row[i] for i, row in enumerate(confusion)),
        "first_layer": _first_layer(run),
        "environment": _environment(result),
    }


def _result_rows(run: JudgedRun) -> list[dict[str, str]]:
    documented = run.config.documented
    values = {
        "test accuracy": (run.result["test_accuracy"], documented.test_accuracy),
        "test loss (nats)": (run.result["test_loss"], documented.test_loss),
        "validation accuracy": (run.tested.get("val_accuracy"), documented.val_accuracy),
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
