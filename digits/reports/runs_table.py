"""Lists runs and sweeps in one table. Reads small JSON files alone, and needs no JAX.

    print(text(sort(rows(["runs"]), "test_accuracy"), width=80))

A run that is damaged, or that a process is training in, is a row too, which says so.
"""

from collections.abc import Iterable
import csv
import dataclasses
import datetime
import io
import json
import pathlib
import shlex
import sys
from typing import Any

from digits.config.fields import FIELDS
from digits.config.suggestions import fields_like, nearest, question
from digits.config.values import config_from_json, convert, flat, to_json
from digits.errors import UserError
from digits.runs import documented, files, found, locks
from digits.runs.sweep_folder import VALIDATED_ON_TEST, Sweep, SweptRun, read_sweep
from digits.runs.workdir import Workdir
from digits.runtime import screen

_NUMBER = (int, float)
# The columns that a row can be sorted by, beside the fields of the config; of these the first has the least first.
_SORTED_BY = ("name", "date", "state", "val_accuracy", "test_accuracy", "documented", "seconds", "epochs")
_TEXTS = ("name", "state", "date", "changed")  # Columns that begin at the left; numbers end at the right.
_LEAST_CHANGED = 20  # Narrower, the column says nothing.


@dataclasses.dataclass(frozen=True)
class Row:
    """A run, or a sweep.

    Attributes:
      kind: "run", "sweep", or "member", which is a run of a sweep.
      name: its folder, as a command takes it.
      date: when it was finished, or written last, in local time: 2026-11-27 17:30:00.
      state: "finished", "in use", "interrupted", "diverged" and other failures, "damaged"; "3 of 4" for a sweep.
      epochs: recorded so far.
      of: epochs of the config.
      val_accuracy: of the tested epoch, or of the last one as yet; of a sweep, the mean of its best point.
      documented: the notebook's test accuracy, beside a run of its experiment as it is.
      validation_is_test: whether the test images were the validation set.
      changed: the fields that the command line changed; of a sweep, the values of its best point.
      message: why it is damaged or has failed.
      configs: the fields of its config, or those of a sweep's members.
    """

    kind: str
    name: str
    date: str
    state: str
    epochs: int | None = None
    of: int | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    documented: float | None = None
    seconds: float | None = None
    validation_is_test: bool = False
    changed: dict[str, Any] = dataclasses.field(default_factory=dict)
    message: str = ""
    configs: tuple[dict[str, Any], ...] = dataclasses.field(default=(), repr=False)


_PLAIN = [field.name for field in dataclasses.fields(Row) if field.name != "configs"]  # Of CSV and JSON.


def rows(folders: Iterable[str], members: bool = False) -> list[Row]:
    """Reads the runs and sweeps in some folders, newest first; with `members`, a sweep's runs behind it."""
    made = []
    for folder in map(pathlib.Path, folders):
        expanded = folder.expanduser()
        for path in [expanded] if found.is_run(expanded) else found.find(expanded):
            if not found.is_sweep(path):
                made.append(_run(path))
                continue
            try:
                sweep = read_sweep(path)
            except UserError as error:
                made.append(_damaged("sweep", path, error))
                continue
            runs = [_run(path / member.name, member) for member in sweep.members]
            made += [_sweep(sweep, runs), *(runs if members else ())]
    return made


def _run(folder: pathlib.Path, member: SweptRun | None = None) -> Row:
    """Reads a run; with `member`, that run of a sweep, which may not have begun."""
    kind = "member" if member else "run"
    try:
        if member and not (folder / "config.json").exists():
            return Row(kind, str(folder), "", member.state, changed=member.values, message=member.message)
        workdir = Workdir(folder)
        about, (records, result), failure = workdir.about(), workdir.read(), workdir.failure()
        config, changed = flat(about["config"]), member.values if member else about.get("overrides")
        tested = records[result["tested_epoch"] - 1] if result else records[-1] if records else {}
        state = "finished" if result else failure["kind"] if failure else "interrupted"
    except UserError as error:
        return _damaged(kind, folder, error)
    changed = changed if isinstance(changed, dict) else {}
    return Row(
        kind,
        str(folder),
        _date(folder),
        "in use" if state == "interrupted" and locks.in_use(folder) else state,
        epochs=len(records),
        of=config.get("epochs"),
        val_accuracy=tested.get("val_accuracy"),
        test_accuracy=(result or {}).get("test_accuracy"),
        documented=_documented(about["config"], changed) if result else None,
        seconds=(result or {}).get("seconds"),
        validation_is_test=config.get("data.validation") == "test",
        changed=changed,
        message=failure["message"] if failure and not result else "",
        configs=(config,),
    )


def _documented(config: dict[str, Any], changed: dict[str, Any]) -> float | None:
    """The documented test accuracy, if the run is the experiment that it was printed of."""
    figure = config.get("documented", {}).get("test_accuracy")
    if not files.is_a(figure, _NUMBER) or documented.differing_fields(config_from_json(config), changed):
        return None
    return figure


def _damaged(kind: str, folder: pathlib.Path, error: UserError) -> Row:
    return Row(kind, str(folder), _date(folder), "damaged", message=str(error))


def _sweep(sweep: Sweep, runs: list[Row]) -> Row:
    best = sweep.points[0]
    failed = [member for member in sweep.members if member.state not in ("finished", "unfinished")]
    finished = sum(member.state == "finished" for member in sweep.members)
    return Row(
        "sweep",
        str(sweep.folder),
        max([_date(sweep.folder), *(run.date for run in runs)]),
        f"{finished} of {len(runs)}" + (f", {len(failed)} failed" if failed else ""),
        epochs=sum(run.epochs or 0 for run in runs),
        of=sum(run.of or 0 for run in runs),
        val_accuracy=best.summary("val_accuracy").mean,
        test_accuracy=best.summary("test_accuracy").mean,
        seconds=sum(run.seconds or 0 for run in runs),
        validation_is_test=sweep.validation_is_test,
        changed=best.values if best.count("finished") else {},
        message=failed[0].message if failed else "",
        configs=tuple(config for run in runs for config in run.configs),
    )


def _date(folder: pathlib.Path) -> str:
    return datetime.datetime.fromtimestamp(found.written(folder)).isoformat(" ", "seconds")


def sort(given: list[Row], by: str) -> list[Row]:
    """Sorts rows by a column or a field: names from a, all others largest first; "-seconds" turns the order round.

    Rows without a value stand last.

    Raises:
      UserError: there is no such column or field.
    """
    name = by.removeprefix("-")
    if name not in (*_SORTED_BY, *FIELDS):
        meant = nearest(name, _SORTED_BY) or fields_like(name)
        columns = ", ".join(_SORTED_BY)
        raise UserError(f"--sort is {by!r}, but it must be a field or one of {columns}{question(meant)}")

    def key(row: Row) -> Any:
        value = getattr(row, name) if name in _SORTED_BY else row.configs[0].get(name) if row.configs else None
        return value if value is None or files.is_a(value, _NUMBER) else str(value)

    known = [row for row in given if key(row) is not None]
    numbers = all(files.is_a(key(row), _NUMBER) for row in known)
    ordered = sorted(known, key=key if numbers else lambda row: str(key(row)))
    if (name == "name") == by.startswith("-"):
        ordered.reverse()
    return ordered + [row for row in given if key(row) is None]


def choose(given: list[Row], filters: Iterable[str]) -> list[Row]:
    """The rows that pass all filters: choose(rows, ["optimizer.name=adam", "state=finished"]).

    A sweep passes if one of its runs has all the values of fields.

    Raises:
      UserError: a filter is no FIELD=VALUE.
    """
    fields, states = {}, set()
    for text in filters:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--filter is {text!r}, but it must be FIELD=VALUE, such as optimizer.name=adam.")
        if name == "state":
            states.add(value)
        elif name in FIELDS:
            fields[name] = to_json(convert(name, value, "config"))
        else:
            raise UserError(f"--filter is {text!r}, but there is no field {name!r}{question(fields_like(name))}")

    def passes(row: Row) -> bool:
        right = any(all(config.get(name) == value for name, value in fields.items()) for config in row.configs)
        return states <= {row.state} and (right or not fields)

    return list(filter(passes, given))


def text(given: list[Row], width: int | None = None) -> str:
    """Writes rows as a table that a terminal of so many characters shows, by default as long lines.

        print(text(given, width=79))

    Where a name and its figures have no room in a line, the name has one of its own. It stays whole, for commands.
    """
    table = [_cells(row, short=width is not None) for row in given]
    names = [name for name in table[0] if any(cells[name] for cells in table)]
    widths = {name: max(len(name), *(len(cells[name]) for cells in table)) for name in names}
    changed = widths.get("changed", 0)
    free = (width or sys.maxsize) - sum(widths[name] + 2 for name in names if name != "changed")
    apart = free < min(changed, _LEAST_CHANGED)
    if apart:
        free += widths["name"] - 2  # The figures begin four characters further to the right.
        names.remove("name")
    widths["changed"] = max(len("changed"), min(changed, free))

    def line(cells: dict[str, str]) -> str:
        return "  ".join(
            screen.cut(cells[name], widths[name]).ljust(widths[name])
            if name in _TEXTS
            else cells[name].rjust(widths[name])
            for name in names
        ).rstrip()

    lines = [line({name: name for name in names}), *map(line, table)]
    if apart:
        heading, *figures = (f"    {one}" for one in lines)
        lines = [heading, *(one for cells, row in zip(table, figures) for one in (cells["name"], row))]
    if any(row.validation_is_test for row in given):
        lines.append(f"* {VALIDATED_ON_TEST}")
    return "\n".join(lines)


def _cells(row: Row, short: bool) -> dict[str, str]:
    """The texts of a row's columns; `short` ones leave out a member's sweep, the year, and the sections of fields."""
    name = f"  {pathlib.Path(row.name).name}" if short and row.kind == "member" else shlex.quote(row.name)
    part = row.state in ("interrupted", "in use") or (row.kind != "sweep" and row.epochs != row.of and row.epochs)
    changed = {field.rpartition(".")[2] if short else field: value for field, value in row.changed.items()}
    test = "*" * row.validation_is_test
    return {
        "name": name,
        "state": f"{row.state}, {row.epochs}/{row.of}" if part else row.state,
        "val": "" if row.val_accuracy is None else f"{row.val_accuracy:.4f}{test}",
        "test": "" if row.test_accuracy is None else f"{row.test_accuracy:.4f}{test}",
        "documented": "" if row.documented is None else f"{row.documented:.4f}",
        "seconds": f"{row.seconds:,.0f}" if row.seconds else "",
        "date": row.date[5:16] if short else row.date,
        "changed": row.message or _changed(changed),
    }


def _changed(changed: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}".replace(" ", "") for name, value in changed.items())


def as_json(given: list[Row]) -> str:
    """Writes rows as a JSON list of objects."""
    return json.dumps([_plain(row) for row in given], indent=2)


def as_csv(given: list[Row]) -> str:
    """Writes rows as CSV, with a line of names."""
    content = io.StringIO()
    writer = csv.DictWriter(content, _PLAIN, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(row) | {"changed": _changed(row.changed)} for row in given)
    return content.getvalue()


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _PLAIN}
