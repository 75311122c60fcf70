"""Trains what the studies lack, keeps its figures, and renders the page of results.

    python -m experiments.reproduce
    python -m experiments.reproduce dense_study regularisation_study --seeds=10
    python -m experiments.reproduce five_conv five_conv,honest
    python -m experiments.reproduce --render

Every arm of the studies named, or that is named itself as in RESULTS.md, or without names every arm there is, is trained
with its seeds as one population in WORKDIR/ARM; members whose figures experiments/results holds are not trained again.
Ctrl-C saves, the same command goes on. Then experiments/results/STUDY.json holds every member's figures, and
experiments/RESULTS.md and figures/, the table in README.md and the figures in the docstrings of configs/ are written from
these files alone, which is all that --render does: it trains nothing and needs neither JAX nor data.
"""

import difflib
import pathlib
import shlex
import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from experiments import collected
from experiments.study import Study

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_SEEDS = flags.DEFINE_integer(
    "seeds", None, "Members of every arm, in place of each arm's own number.", lower_bound=1, flag_values=_FLAGS
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/studies", "Where the runs are kept, or go on.", flag_values=_FLAGS)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_RESULTS = flags.DEFINE_string(
    "results",
    None,
    "The folder of results/, RESULTS.md and figures/; an empty one begins anew. Default: that of this module.",
    flag_values=_FLAGS,
)
_RENDER = flags.DEFINE_bool("render", False, "Only write RESULTS.md and figures/.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 1 if a run failed, otherwise as digits.main."""
    from experiments.studies import ALL

    body = lambda names: reproduce(ALL, names, argv[1:])
    return command_line.run(argv, __name__, _FLAGS, body, files="studies and arms")


def reproduce(studies: tuple[Study, ...], names: list[str], arguments: list[str]) -> int:
    """What the command line does with the `studies` of the project, given the names of some, or of arms."""
    from experiments import rendering

    by_name = {study.name: {arm.name for arm in study.arms} for study in studies}
    every = set().union(*by_name.values())
    for name in names:
        if name not in by_name and name not in every:
            near = difflib.get_close_matches(name, [*by_name, *sorted(every)], 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(
                f"{name!r} is no study, which must be one of {', '.join(by_name)}, and no arm that RESULTS.md names{hint}"
            )
    folder = pathlib.Path(_RESULTS.value).expanduser() if _RESULTS.value else collected.FOLDER
    failures = []
    if not _RENDER.value:
        from digits.interrupt import Interrupted
        from experiments import training

        arms = set().union(*(by_name.get(name, {name}) for name in names)) if names else every
        wanted = [study for study in studies if by_name[study.name] & arms]
        command = " ".join(map(shlex.quote, ["python", "-m", "experiments.reproduce", *arguments]))
        try:
            work = training.Reproduction(wanted, folder, pathlib.Path(_WORKDIR.value).expanduser(), _SEEDS.value)
            failures = work.train(arms, _DATA_DIR.value, command)
        except Interrupted as interrupted:
            print(interrupted, flush=True)
            return interrupted.exit_code
    elif names:
        raise UserError(f"{names[0]!r} is named, but --render renders all studies: leave it out.")
    print(rendering.write(studies, folder), flush=True)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
