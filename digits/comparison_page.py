"""The page that compares runs, for digits/report.py."""

from collections.abc import Callable, Sequence
import dataclasses
import os
import pathlib

import numpy as np

from digits import data, figures, page, results, scalars, statistics, sweep_figure, tables
from digits.errors import UserError
from digits.subject import Subject

MOST = len(figures.COLOURS)  # Each has a colour of its own.


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What takes part in a comparison: a run, or the best point of a sweep with its members."""

    name: str
    subjects: tuple[Subject, ...]
    sweep: results.Sweep | None = None

    @property
    def run(self) -> Subject | None:
        """The run, if it is a finished one."""
        return self.subjects[0] if self.sweep is None and self.subjects[0].result else None


def page_of(paths: Sequence[str | os.PathLike], load_data: Callable[[str], data.Dataset]) -> bytes:
    """The page.

    Args:
      paths: of runs and sweeps, at most `MOST`; the others are held against the first.
      load_data: a dataset by `config.data.name`.

    Raises:
      UserError: as `Subject` and `results.read_sweep`; also for too many, for none, and for one given twice.
    """
    paths = [pathlib.Path(path).expanduser() for path in paths]
    if not 1 <= len(paths) <= MOST:
        raise UserError(f"{len(paths)} runs are given, but a comparison takes 2 to {MOST}; a sweep counts as one.")
    for i, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:i]]:
            raise UserError(f"{path} is given twice: a comparison needs different runs.")
    entries = [_entry(path, name, load_data) for path, name in zip(paths, _names(paths))]
    colours = figures.colours([entry.name for entry in entries])
    sweeps = [entry for entry in entries if entry.sweep]
    title = f"{len(entries)} runs compared" if len(entries) > 1 else f"{entries[0].name}: a sweep"
    notes = [page.note(note) for note in _notes(entries)]
    sections = [
        _results(entries, colours),
        _differences(entries) if len(entries) > 1 else None,
        _curves(entries),
        _configs(entries) if len(entries) > 1 else None,
        *(_sweep(entry) for entry in sweeps),
    ]
    return page.document(f"{title} - digits", [page.element("h1", title), *notes], sections)


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """The folders' names, with those above as far as they are needed to tell them apart."""
    parts, depth = [path.resolve().parts for path in paths], 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _entry(path: pathlib.Path, name: str, load_data: Callable[[str], data.Dataset]) -> _Entry:
    if not (path / "sweep.json").exists():
        return _Entry(name, (Subject(path, load_data),))
    sweep = results.read_sweep(path)
    started = [member for member in sweep.points[0].members if (path / member.name / "config.json").exists()]
    return _Entry(name, tuple(Subject(path / member.name, load_data) for member in started), sweep)


def _notes(entries: Sequence[_Entry]) -> list[str]:
    notes = []
    for entry in entries:
        if entry.sweep is None and entry.run is None:
            subject = entry.subjects[0]
            notes.append(f"{entry.name} is not finished. " + (subject.failure or ""))
        if any(subject.on_test for subject in entry.subjects):
            notes.append(f"{entry.name}: validation was the test set, so that no figure of it is of unseen images.")
    digests = {subject.about["data"]["digest"] for entry in entries for subject in entry.subjects}
    if len(digests) > 1:
        notes.append("Not all runs have the same data: their accuracies are of different test images.")
    return notes


def _results(entries: Sequence[_Entry], colours: dict[str, str]) -> page.Element:
    """The table that notebook 001 ends with: model, test accuracy, training loss and accuracy, test loss; and more."""
    rows = []
    for entry in entries:
        swatch = page.element("span", class_="colour", style=f"background:{colours[entry.name]}")
        finished = [subject for subject in entry.subjects if subject.result]
        over = lambda of: str(statistics.summarize(map(of, finished)))
        documented = {subject.config.documented.test_accuracy for subject in entry.subjects}
        theirs = next(iter(documented)) if len(documented) == 1 else None
        low, high = _interval(entry) or (None, None)
        rows.append({
            "model": page.element("span", swatch, entry.name),
            "test accuracy": over(lambda subject: subject.result["test_accuracy"]),
            "training loss": over(lambda subject: subject.tested.get("loss")),
            "training accuracy": over(lambda subject: subject.tested.get("accuracy")),
            "test loss": over(lambda subject: subject.result["test_loss"]),
            "95% interval": "" if low is None else f"{low:.4f} to {high:.4f}",
            "documented": "" if theirs is None else f"{theirs:.4f}",
            "validation accuracy": over(lambda subject: subject.tested.get("val_accuracy")),
            "parameters": next((_parameters(subject) for subject in entry.subjects), ""),
            "epochs": ", ".join(sorted({str(subject.result["epochs"]) for subject in finished}, key=int)),
            "seconds": f"{sum(subject.result.get('seconds') or 0 for subject in finished):,.1f}" if finished else "",
            "runs": f"{len(finished)} of {len(entry.sweep.points[0].members)}" if entry.sweep else "",
        })  # fmt: skip
    words = (
        "Losses in nats, accuracies as fractions, of the weights that were tested; training figures are means over the "
        "epoch. Intervals and documented figures are of test accuracy."
    )
    if any(entry.sweep for entry in entries):
        words += (
            " Of a sweep: mean ± standard deviation over the runs of its best point, and the interval of that mean."
        )
    return page.section("Results", page.table(rows, "Test results"), page.element("p", words, class_="faint"))


def _interval(entry: _Entry) -> tuple[float, float] | None:
    """Wilson's for a run; the one of the mean for several."""
    if entry.sweep:
        return entry.sweep.points[0].summary("test_accuracy").interval()
    return statistics.wilson(*_correct(entry.run)) if entry.run else None


def _correct(subject: Subject) -> tuple[int, int]:
    """How many test images of how many, as result.json has it."""
    n = subject.about["data"]["test"]
    return round(subject.result["test_accuracy"] * n), n


def _parameters(subject: Subject) -> str:
    return f"{sum(row.trainable + row.rest for row in subject.layers):,}"


def _differences(entries: Sequence[_Entry]) -> page.Element:
    """The others' test accuracies minus the first run's, with intervals."""
    first, rows, kinds = entries[0].run, [], {}
    if first is None:
        words = f"{entries[0].name} is no finished run: name one first, and the others are held against it."
        return page.section("Differences", page.element("p", words))
    for entry in entries[1:]:
        if (other := entry.run) is None:
            continue
        if other.about["data"]["digest"] == first.about["data"]["digest"] and first.same_data:
            both, only_other = (int(np.sum(other.right & right)) for right in (first.right, ~first.right))
            only_first, neither = (int(np.sum(~other.right & right)) for right in (first.right, ~first.right))
            low, high = statistics.paired_difference(both, only_other, only_first, neither)
            difference = (only_other - only_first) / len(first.right)
            alone = {"only this one is right": f"{only_other:,}", "only the first is right": f"{only_first:,}"}
            kinds["both runs on the same test images (Newcombe 1998, paired proportions, method 10)"] = None
        else:
            low, high = statistics.difference(*_correct(other), *_correct(first))
            difference = other.result["test_accuracy"] - first.result["test_accuracy"]
            alone = dict.fromkeys(("only this one is right", "only the first is right"), "")
            kinds["two runs on different test images (Newcombe 1998, independent proportions, method 10)"] = None
        cells = {"run": entry.name, "difference": f"{difference:+.4f}", "95% interval": f"{low:+.4f} to {high:+.4f}"}
        rows.append(cells | alone)
    if not rows:
        words = "There is no other finished run. The interval of a sweep's mean is in the table above."
        return page.section("Differences", page.element("p", words))
    words = (
        f"The intervals are of {' or '.join(kinds)}. They speak of these trained networks on more such test images, "
        "not of training again with other seeds, which moves accuracies besides: a sweep over seeds shows how far. "
        "Each holds with 95% by itself; of several, one is more likely to miss."
    )
    table = page.table(rows, f"Test accuracy minus that of {entries[0].name}, the run named first")
    return page.section("Differences", table, page.element("p", words, class_="faint"))


def _curves(entries: Sequence[_Entry]) -> page.Element:
    documented = [subject.documented for entry in entries for subject in entry.subjects]
    # What a notebook printed belongs beside runs of that one experiment only.
    theirs = documented[0] if documented and all(one is documented[0] for one in documented) else None
    runs = {entry.name: list(entry.subjects) if entry.sweep else entry.subjects[0] for entry in entries}
    png = figures.png(figures.curves(runs, theirs))
    alt = "Loss and accuracy over the epochs, a colour for each run"
    return page.section("Curves", page.picture(png, alt))


def _configs(entries: Sequence[_Entry]) -> page.Element:
    """The fields that differ. Of a sweep: of its best point's first member."""
    several = [entry for entry in entries if entry.subjects]
    configs = {entry.name: scalars.flat(entry.subjects[0].config.to_dict()) for entry in several}
    fields = dict.fromkeys(field for config in configs.values() for field in config)
    rows = [
        {"field": f"config.{field}"} | {name: str(config.get(field, "")) for name, config in configs.items()}
        for field in fields
        if len({str(config.get(field)) for config in configs.values()}) > 1 and not field.startswith("documented.")
    ]
    same = page.element("p", "They have the same config.")
    return page.section("Configs", page.table(rows, "Fields that differ") if rows else same)


def _sweep(entry: _Entry) -> page.Element:
    """A sweep's points, and its figure."""
    sweep = entry.sweep
    rows = [{"point": str(i)} | row for i, row in enumerate(tables.points(sweep), start=1)]
    table = page.table(rows, "Points, best first: mean ± standard deviation over their n finished members")
    png = sweep_figure.draw(sweep)
    alt = f"{sweep.chooses} against what was swept"
    picture = page.picture(png, alt) if png else None
    headline = tables.headline(sweep).replace("`", "")  # Markdown's.
    return page.section(
        f"Sweep {entry.name}", page.element("p", f"{headline[0].upper()}{headline[1:]}."), table, picture
    )
