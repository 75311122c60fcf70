"""Lists runs and sweeps, newest first: state, accuracies, seconds, what was
changed.

    python -m digits.runs
    python -m digits.runs --sort=test_accuracy --filter=optimizer.name=adam
    python -m digits.runs runs/monday --members --csv > monday.csv

A sweep is one row, with the means of its best point; --members lists its runs
too. The documented test accuracy stands beside a run of its experiment as it
is. Trains and evaluates nothing.
"""

import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runs import found
from digits.runtime import screen

_FLAGS = flags.FlagValues()  # Its own, as the other commands.
_SORT = flags.DEFINE_string(
    "sort", "date", "A column, or a field such as optimizer.learning_rate; largest first, with - smallest first.",
    flag_values=_FLAGS,
)  # fmt: skip
_FILTER = flags.DEFINE_multi_string(
    "filter", [], "FIELD=VALUE or state=STATE: only rows with this. May be given several times.", flag_values=_FLAGS
)
_MEMBERS = flags.DEFINE_bool("members", False, "List the runs of sweeps too.", flag_values=_FLAGS)
_CSV = flags.DEFINE_bool("csv", False, "Print CSV, with all digits.", flag_values=_FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, with all digits.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="folders", prints=True)


def _main(folders: list[str]) -> int:
    if _CSV.value and _JSON.value:
        raise UserError("--csv and --json are both given, but only one of them can be printed.")
    from digits.reports import runs_table

    folders = [found.existing(folder) for folder in folders] or ["runs"]
    rows = runs_table.choose(runs_table.rows(folders, _MEMBERS.value), _FILTER.value)
    rows = rows if _SORT.value == "date" and _MEMBERS.value else runs_table.sort(rows, _SORT.value)
    if _JSON.value:
        print(runs_table.as_json(rows))
    elif _CSV.value:
        print(runs_table.as_csv(rows), end="")
    elif rows:
        print(runs_table.text(rows, screen.width()))
    else:
        such = "no such runs" if _FILTER.value else "no runs"
        print(f"There are {such} in {', '.join(folders)}; `digits train --config=quickstart` makes one.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
