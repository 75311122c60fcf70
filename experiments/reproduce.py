"""Trains the runs that the studies lack, keeps their figures, and renders the
pages of results.

    python -m experiments.reproduce
    python -m experiments.reproduce dense_study regularisation_study --seeds=10
    python -m experiments.reproduce five_conv five_conv,honest
    python -m experiments.reproduce --render
    python -m experiments.reproduce --merge=../other_checkout/experiments

Names are those of studies, or of arms as the pages of results have them;
without names, all arms are trained. The missing members of an arm are trained
as one population in WORKDIR/ARM. A member whose figures experiments/results
has is not trained again. Ctrl-C saves, and the same command goes on.

The figures of every member are kept in experiments/results/STUDY.json. From
these files alone experiments/RESULTS.md, results/STUDY.md, figures/, the results
in README.md and the figures in the docstrings of configs/ are written.
--render does only this: it trains nothing and needs neither JAX nor data.
--merge adds the members that another folder's results/ has, which may be of an
earlier version, and renders.
"""

import difflib
import pathlib
import shlex
import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runtime.signals import Interrupted
from experiments.collecting import collected
from experiments.judging.study import Study

_FLAGS = flags.FlagValues()  # The flags of digits.main have the same names.
_SEEDS = flags.DEFINE_integer(
    "seeds", None, "Members of every arm, in place of each arm's own number.", lower_bound=1, flag_values=_FLAGS
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/studies", "The folder of the runs.", flag_values=_FLAGS)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)
_RESULTS = flags.DEFINE_string(
    "results",
    None,
    "The folder of results/, RESULTS.md and figures/; an empty one begins anew. Default: that of this module.",
    flag_values=_FLAGS,
)
_RENDER = flags.DEFINE_bool("render", False, "Only write the pages and figures.", flag_values=_FLAGS)
_MERGE = flags.DEFINE_string(
    "merge", None, "Add the members that another folder's results/ has, and train nothing.", flag_values=_FLAGS
)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 1 if a run failed, otherwise as digits.main."""
    from experiments.studies import ALL

    def body(names: list[str]) -> int:
        return reproduce(ALL, names, argv[1:])

    return command_line.run(argv, __name__, _FLAGS, body, files="studies and arms")


def reproduce(studies: tuple[Study, ...], names: list[str], arguments: list[str]) -> int:
    """Trains, or merges, and renders, as the flags say; returns the exit code.

    Args:
      studies: all studies of the project.
      names: those of studies or arms to train; none for all.
      arguments: the words of the command line, for the command that goes on after an interruption.
    """
    from experiments.rendering import pages

    arms = _named(studies, names)
    folder = pathlib.Path(_RESULTS.value).expanduser() if _RESULTS.value else collected.FOLDER
    if names and (_RENDER.value or _MERGE.value):
        flag = "--render renders" if _RENDER.value else "--merge merges"
        raise UserError(f"{names[0]!r} is named, but {flag} all studies: leave it out.")
    failures = []
    if not _RENDER.value:
        from experiments.collecting.reproduction import Reproduction

        wanted = [study for study in studies if any(arm.name in arms for arm in study.arms)]
        command = " ".join(map(shlex.quote, ["python", "-m", "experiments.reproduce", *arguments]))
        work = Reproduction(wanted, folder, pathlib.Path(_WORKDIR.value).expanduser(), _SEEDS.value)
        if _MERGE.value:
            print(work.merge(pathlib.Path(_MERGE.value).expanduser()), flush=True)
        else:
            try:
                failures = work.train(arms, _DATA_DIR.value, command)
            except Interrupted as interrupted:
                print(interrupted, flush=True)
                return interrupted.exit_code
    print(pages.write(studies, folder), flush=True)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _named(studies: tuple[Study, ...], names: list[str]) -> set[str]:
    """The arms that are named, themselves or with their study; all without names. UserError for an unknown name."""
    by_name = {study.name: {arm.name for arm in study.arms} for study in studies}
    every = set().union(*by_name.values())
    for name in names:
        if name not in by_name and name not in every:
            near = difflib.get_close_matches(name, [*by_name, *sorted(every)], 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(
                f"{name!r} is no study, which must be one of {', '.join(by_name)}, and no arm that RESULTS.md "
                f"names{hint}"
            )
    return set().union(*(by_name.get(name, {name}) for name in names)) if names else every


if __name__ == "__main__":
    sys.exit(main(sys.argv))
