"""The page on one run, for digits/report.py: what came out, how it was trained, and what its network gets wrong."""

from collections.abc import Callable
import os
import shlex

from digits import assessment_figures, augment, data, figures, page, record, scalars, sheet, statistics, summary
from digits.subject import Subject


def page_of(workdir: str | os.PathLike, load_data: Callable[[str], data.Dataset]) -> tuple[bytes, dict[str, bytes]]:
    """The page on a run, and its PNGs by name; arguments and errors as of `Subject`, and those of reading the data."""
    subject, pictures = Subject(workdir, load_data), {}
    result = subject.result
    title = f"{subject.name}: " + (f"test accuracy {result['test_accuracy']:.4f}" if result else "not finished")
    sections = [
        _result(subject) if result else None,
        _training(subject),
        _curves(subject, pictures),
        *(_on_test_images(subject, pictures) if result else ()),
        _network(subject, pictures),
        _data(subject, pictures),
        _environment(subject) if result else None,
    ]
    return page.document(f"{title} - digits", _header(subject), sections), pictures


def _header(subject: Subject) -> list[page.Content]:
    result, parts = subject.result, [page.element("h1", subject.name)]
    if not result:
        epochs = f"{len(subject.history)} of {subject.config.epochs} epochs are recorded, and nothing is tested"
        failed = f"This run failed: {subject.failure}" if subject.failure else f"This run is not finished: {epochs}."
        return [*parts, page.note(failed)]
    n = subject.about["data"]["test"]
    low, high = statistics.wilson(round(result["test_accuracy"] * n), n)
    interval = f" (95% interval {low:.4f} to {high:.4f}, n = {n:,})"
    accuracy = page.element("strong", f"{result['test_accuracy']:.4f}")
    parts.append(page.element("p", "Test accuracy ", accuracy, interval, class_="headline"))
    if documented := subject.config.documented.test_accuracy:
        where = "lies in" if low <= documented <= high else "lies outside"
        changed = ", ".join(subject.about["overrides"])
        but = f" The run differs from the experiment in {changed}." if changed else ""
        parts.append(page.element("p", f"Documented: {documented:.4f}, which {where} this run's interval.{but}"))
    if subject.on_test:
        parts.append(page.note("Validation was the test set: no figure here is of unseen images."))
    if not subject.same_data:
        parts.append(
            page.note(
                f"{subject.config.data.name} is not what it was when the run was trained on it (its SHA-256 digest "
                "differs): the pictures and figures by class here are of other images than the test accuracy."
            )
        )
    return parts


def _result(subject: Subject) -> page.Element:
    result, documented = subject.result, subject.config.documented
    values = {
        "test accuracy": (result["test_accuracy"], documented.test_accuracy),
        "test loss (nats)": (result["test_loss"], documented.test_loss),
        "validation accuracy": (subject.tested.get("val_accuracy"), documented.val_accuracy),
        "validation loss (nats)": (subject.tested.get("val_loss"), None),
        "training accuracy": (subject.tested.get("accuracy"), None),
        "training loss (nats)": (subject.tested.get("loss"), None),
    }
    rows = [
        {"figure": name, "this run": f"{ours:.4f}", "documented": "" if theirs is None else f"{theirs:.4f}"}
        for name, (ours, theirs) in values.items()
        if ours is not None
    ]
    epoch, best = result["tested_epoch"], subject.config.early_stopping.restore_best
    weights = f"The weights of epoch {epoch}" + (f", the best by {subject.config.monitor}." if best else ", the last.")
    source = page.element("p", f"Documented: {documented.source}.") if documented.source else None
    words = (
        "Training figures are means over the epoch, while the weights changed and dropout and augmentation acted. The "
        "interval (Wilson) says how far the accuracy of this trained network may differ on more such test images; "
        "training again with another seed differs besides."
    )
    return page.section("Result", page.table(rows, weights), source, page.element("p", words, class_="faint"))


def _training(subject: Subject) -> page.Element:
    about, config, counts = subject.about, subject.config, subject.about["data"]
    if about["config_file"]:
        command = record.command(about, subject.files)
        if subject.result:  # In a folder of its own: in this one the run is finished.
            command = shlex.join(shlex.split(command)[:-1])
        what = "The command that trains it again:" if subject.result else "The command that goes on with it:"
        how = [page.element("p", what), page.element("pre", command)]
        changed = [{"field": f"config.{field}", "value": str(value)} for field, value in about["overrides"].items()]
        nothing = page.element("p", "Nothing was changed from the config file.")
        how.append(page.table(changed, f"Changed from {about['config_file']}") if changed else nothing)
    else:
        how = page.element("p", "It was trained from Python, without a config file.")
    validation = f"{counts['validation']:,} images, {config.data.validation}"
    if subject.on_test:
        validation = f"the {counts['test']:,} test images themselves"
    elif config.data.validation.strip() == "none":
        validation = "none"
    fold = f", fold {config.data.fold}" if "folds" in config.data.validation else ""
    split = {
        "dataset": f"{config.data.name} (SHA-256 {str(counts['digest'])[:12]}…)",
        "training": f"{counts['train']:,} images",
        "validation": validation + fold,
        "test": f"{counts['test']:,} images",
        "seed": str(config.seed),
    }
    fields = [{"field": field, "value": str(value)} for field, value in scalars.flat(config.to_dict()).items()]
    whole = page.element("details", page.element("summary", "The whole config"), page.table(fields, "Every field"))
    return page.section("Training", how, page.pairs(split, "Data"), whole)


def _picture(pictures: dict[str, bytes], name: str, png: bytes, alt: str, caption: str = "") -> page.Element:
    pictures[name] = png
    return page.picture(png, alt, caption)


def _curves(subject: Subject, pictures: dict[str, bytes]) -> page.Element:
    if not subject.history:
        return page.section("Curves", page.element("p", "No epoch is recorded yet."))
    alt = f"Loss and accuracy over {len(subject.history)} epochs"
    png = figures.png(figures.curves([subject], subject.documented))
    source = f" Marks: what the notebook printed ({subject.config.documented.source})." if subject.documented else ""
    itself = " Validation is on the test images." if subject.on_test else ""
    return page.section("Curves", _picture(pictures, "curves", png, alt, (source + itself).strip()))


def _on_test_images(subject: Subject, pictures: dict[str, bytes]) -> list[page.Element | None]:
    """Per class, confusion, calibration, mistakes and doubtful images."""
    measures, names, images = subject.measures, subject.class_names, subject.dataset.test_images
    cell = lambda value: "" if value is None else f"{value:.4f}"
    per_class = [
        {"class": of["name"], "images": f"{of['support']:,}"}
        | {key: cell(of[key]) for key in ("precision", "recall", "f1")}
        for of in measures["per_class"]
    ]
    errors = sum(sum(row) - row[i] for i, row in enumerate(measures["confusion"]))
    confusion = _picture(
        pictures, "confusion", figures.png(assessment_figures.confusion(measures["confusion"], names)),
        "Confusion matrix: rows are true classes, columns predicted ones", "Numbers of test images.",
    )  # fmt: skip
    calibration = measures["calibration"]
    reliability = _picture(
        pictures, "reliability", figures.png(assessment_figures.reliability(calibration)),
        "Reliability diagram: accuracy against the probability of the predicted class",
        f"Expected calibration error {calibration['ece']:.4f}: the mean distance between how sure the network is and "
        "how often it is right.",
    )  # fmt: skip
    sheets = []
    for name, title, what in (
        ("mistakes", "Mistakes", "wrongly classified, most confident first"),
        ("doubtful", "Doubtful", "rightly classified, least confident first"),
    ):
        if found := measures[name]:
            caption = f"{len(found)} test images, {what}, with the probability of the predicted class."
            png = sheet.png(sheet.examples(found, images, names))
            sheets += [page.element("h3", title), _picture(pictures, name, png, caption, caption)]
    return [
        page.section(
            "Classes", page.table(per_class, f"{errors:,} of {len(images):,} test images are wrong"), confusion
        ),
        page.section("Calibration", reliability),
        page.section("Mistakes and doubtful images", sheets),
    ]


def _network(subject: Subject, pictures: dict[str, bytes]) -> page.Element:
    layers = [
        {
            "layer": row.name,
            "output shape": "x".join(map(str, row.output)),
            "parameters": f"{row.trainable + row.rest:,}",
        }
        for row in subject.layers
    ]
    total = summary.totals(subject.layers)
    filters = None
    if subject.result:
        model = subject.run.model
        name = next(name for name in model.names if name.startswith(("conv", "dense")))
        png = figures.png(figures.filters(getattr(model, name).kernel[...]))
        filters = _picture(pictures, "filters", png, f"Weights of the first layer, {name}, as pictures")
    return page.section("Network", page.table(layers, total[0].upper() + total[1:]), filters)


def _data(subject: Subject, pictures: dict[str, bytes]) -> page.Element:
    images, labels = subject.dataset.train_images, subject.dataset.train_labels
    png = sheet.png(figures.samples(images, labels, subject.class_names))
    caption = "The first images of every class of the training set."
    parts = [_picture(pictures, "samples", png, caption, caption)]
    ranges = {name: subject.config.augment[name] for name in augment.FIELDS if subject.config.augment[name]}
    if ranges:
        some = images[figures.first_of_each(labels, len(subject.class_names))[:10]]
        png = sheet.png(figures.augmentation(some, subject.config.augment))
        values = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in ranges.items())
        caption = f"First row: training images. Below: what training may see of them ({values})."
        parts.append(_picture(pictures, "augmentation", png, "Training images over random draws of them", caption))
    return page.section("Training images", parts)


def _environment(subject: Subject) -> page.Element:
    result = subject.result
    seconds = lambda name: f"{result[name]:,.1f} s" if result.get(name) is not None else ""
    size = lambda name: f"{result[name] / 2**20:,.0f} MiB" if result.get(name) else ""
    rows = {
        "device": str(result.get("device", "")),
        "training": seconds("seconds"),
        "epochs": str(result.get("epochs", "")),
        "speed": f"{result['images_per_second']:,.0f} images/s" if result.get("images_per_second") else "",
        "first step after": seconds("seconds_to_first_step"),
        "compilation": seconds("compile_seconds"),
        "peak memory of the process": size("peak_memory_bytes"),
        "peak memory of the device": size("device_peak_memory_bytes"),
        "commit": str(result.get("commit") or ""),
        "versions": ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()),
    }
    return page.section("Environment", page.pairs(rows, "Where and how it was trained"))
