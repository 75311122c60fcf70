"""What the commands on trained runs share: flags of their own, --help, and a user's mistake as one sentence."""

from collections.abc import Callable
import sys

from absl import flags

from digits.errors import UserError, paths


def run(argv: list[str], module: str, own: flags.FlagValues, body: Callable[[list[str]], int], files: str = "") -> int:
    """Runs a command line.

    Args:
      argv: the program's name and its arguments.
      module: the `__name__` of the module that the command is: its docstring is the help.
      own: the command's flags; not those of `digits.main`, some of which have the same names.
      body: does the work with the arguments that are no flags, and returns the exit code.
      files: what these arguments may be; by default there must be none.

    Returns:
      The exit code: that of `body`, 0 for --help, or 2 for a user's mistake.
    """
    if asks_for_help(argv):
        print(f"{sys.modules[module].__doc__}\n{own.module_help(sys.modules[module])}")
        return 0
    own.set_gnu_getopt(bool(files))  # Flags may stand behind files.
    own.unparse_flags()  # Of an earlier call.
    try:
        try:
            rest = own(argv)[1:]
        except flags.Error as error:
            hint = f"; name {files} without a flag." if files and "flag 'workdir'" in str(error) else ""
            raise UserError(str(error).replace(" ?", "?") + hint) from error
        if rest and not files:
            hint = f"; did you mean --workdir={rest[0]}?" if "workdir" in own and not own["workdir"].present else "."
            raise UserError(f"{rest[0]!r} is no flag: flags start with --{hint}")
        with paths():
            return body(rest)
    except UserError as error:
        return refuse(error)


def asks_for_help(argv: list[str]) -> bool:
    """Whether --help is among the arguments."""
    return bool({"--help", "-h", "--helpshort", "-help"} & set(argv))


def given(workdir: str | None) -> str:
    """The value of --workdir; UserError if it is missing."""
    if not workdir:
        raise UserError("--workdir is missing: name a run or a sweep, such as --workdir=runs/simple_cnn.")
    return workdir


def refuse(error: UserError) -> int:
    """Says what the user did wrong; returns the exit code for it."""
    print(f"error: {error}", file=sys.stderr)
    return 2
