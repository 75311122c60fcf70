"""The commands of `digits`, each with --help.

digits train       trains an experiment, or goes on with it
digits sweep       trains many: seeds, folds, learning rates
digits runs        lists what was trained
digits evaluate    tests a run or a sweep
digits report      writes a page about a run, or compares several
digits predict     reads digits in pictures
digits demo        a page to draw digits on
digits export      writes a run for other programs

`digits help COMMAND` explains one, `digits --version` says which version this
is. `python -m digits` is the same, and so is `python -m digits.main` for
`digits train`, or `python -m digits.sweep` for `digits sweep`, and so on.
"""

import importlib
import sys

from digits.runtime import signals, streams

_MODULES = {"train": "main", "runs": "runs.__main__"}
COMMANDS = tuple(line.split()[1] for line in __doc__.splitlines() if line.startswith("digits "))


def main(argv: list[str] | None = None) -> int:
    """Runs `digits COMMAND ARGUMENTS`; returns the exit code of the command, or 2 for a mistyped one.

    main(["digits", "runs", "--csv"])
    """
    if argv is None:
        streams.open_missing()
        signals.end_at_once()
    from digits import command_line  # A tenth of a second, in which Ctrl-C is quiet already.
    from digits.config.suggestions import nearest, question

    _, *words = sys.argv if argv is None else argv
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("--help", "-h", "-help"):
        return command_line.show(__doc__.rstrip())
    command, *rest = words
    if command == "--version":
        return command_line.show_version()
    if command == "main":
        command = "train"  # As the module is called.
    if command not in COMMANDS:
        what = "the command is missing" if command.startswith("-") else f"there is no command {command!r}"
        hint = question(f"digits {one}" for one in nearest(command, COMMANDS))
        return command_line.refuse(f"{what}{hint if len(hint) > 1 else '; `digits` alone lists the commands.'}")
    return importlib.import_module(f"digits.{_MODULES.get(command, command)}").main([f"digits {command}", *rest])


if __name__ == "__main__":
    sys.exit(main())
