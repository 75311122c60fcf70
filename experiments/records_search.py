"""Tries candidates for a record on training images alone, and keeps their validation figures.

    python -m experiments.records_search --config=fast_99 --sweep.optimizer.learning_rate=0.005,0.01
    python -m experiments.records_search --config=fast_99 --config.batch_size=128 --sweep.optimizer.name=adam,sgd

It takes the flags of digits.sweep, and trains every candidate on five folds that hold out whole writers. A candidate
becomes a row of experiments/results/searches/CONFIG.csv: its changes of the config, the mean validation accuracy and
loss over the folds, and the seconds of one training. The runs test at their end, as all runs do, and the sweep's table
shows it. The log keeps no test figure, and none may choose.
"""

import csv
import datetime
import io
import json
import pathlib
import statistics
import sys
from typing import Any

from digits import command_line
from digits import sweep as digits_sweep
from digits.config.values import to_json, with_values
from digits.errors import require
from digits.runs import files, sweep_folder
from digits.runtime.signals import Interrupted

FOLDER = pathlib.Path(__file__).parent / "results" / "searches"
VALIDATION = {"data.validation": "writer_folds(5)"}
FOLDS = "--sweep.data.fold=0:5"
COLUMNS = ("date", "commit", "changes", "folds", "val_accuracy", "std", "val_loss", "seconds", "not_finished")


def rows(found: sweep_folder.Sweep, overrides: dict[str, Any], about: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each candidate of a sweep that was tried, if only on one fold; the best first.

    Args:
      found: the sweep; its members differ in the fold.
      overrides: what all its candidates change in the config.
      about: the columns that all rows share.
    """
    fixed = {field: value for field, value in overrides.items() if field not in VALIDATION}
    made = []
    for point in found.points:
        if point.count("unfinished") == len(point.members):
            continue
        accuracy, loss = point.summary("val_accuracy"), point.summary("val_loss")
        seconds = [member.seconds for member in point.members if member.seconds is not None]
        made.append(
            about
            | {"changes": json.dumps(to_json(fixed | point.values), sort_keys=True), "folds": accuracy.n}
            | {"val_accuracy": _rounded(accuracy.mean, 5), "std": _rounded(accuracy.std, 5)}
            | {"val_loss": _rounded(loss.mean, 5), "not_finished": point.rest()}
            | {"seconds": _rounded(statistics.median(seconds) if seconds else None, 2)}
        )
    return made


def _rounded(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits)


def keep(path: pathlib.Path, new: list[dict[str, Any]]) -> None:
    """Adds rows to a log, in place of those of the same candidate at the same commit."""
    old = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    again = {(row["commit"], row["changes"]) for row in new}
    content = io.StringIO()
    writer = csv.DictWriter(content, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([row for row in old if (row["commit"], row["changes"]) not in again] + new)
    files.write(path, content.getvalue().encode())


def search(given, arguments: list[str]) -> int:
    """Trains the candidates of a command line and logs them; returns the exit code.

    A stopped search logs the candidates that were tried. When it goes on, it replaces their rows.
    """
    overrides = given.origin["overrides"]
    for field, value in VALIDATION.items():
        require(field not in overrides, field, overrides.get(field), f"left out: the search holds out {value}")
    origin = given.origin | {"overrides": overrides | VALIDATION}
    plan = digits_sweep.read_plan(given._replace(config=with_values(given.config, VALIDATION), origin=origin))
    try:
        code = digits_sweep.train(plan, "experiments.records_search", arguments)
    except Interrupted:
        log(plan)
        raise
    log(plan)
    return code


def log(plan) -> None:
    """Adds what a plan's folder has to the log of its config."""
    from digits.runtime import environment  # Imports JAX.

    path = FOLDER / pathlib.PurePath(plan.origin["config_file"]).with_suffix(".csv").name
    about = {"date": datetime.date.today().isoformat(), "commit": (environment.checkout()["commit"] or "")[:12]}
    keep(path, rows(sweep_folder.read_sweep(plan.workdir), plan.origin["overrides"], about))
    print(f"logged in {path}", flush=True)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code as digits.sweep does."""
    return command_line.train(
        [*argv, FOLDS],
        lambda: f"{__doc__}\n{digits_sweep.flags_help()}",
        lambda given: search(given, argv[1:]),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
