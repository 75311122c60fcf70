"""Reads command lines: flags, --help, an experiment with its changes, and each mistake as one sentence. Needs no JAX.

`run` serves the commands that train nothing, each with flags of its own. `train` serves those that train an experiment:

    sys.exit(train(sys.argv, lambda: __doc__, lambda given: print(given.config.epochs)))
"""

import collections
from collections.abc import Callable, Iterable
import contextlib
import functools
import re
import shlex
import sys
import textwrap
from types import ModuleType

from absl import flags

import digits
from digits.config.experiment_files import Given, load
from digits.config.suggestions import fields_called, fields_like, nearest, question, several
from digits.config.values import convert, field_type
from digits.errors import UserError, refusals
from digits.runtime import characters, screen, streams
from digits.runtime.signals import Interrupted


class _Flags(flags.FlagValues):
    """Flags that a module may define again, as it does when a notebook runs it a second time."""

    def __setitem__(self, name: str, flag: flags.Flag) -> None:
        flag.allow_override = True
        super().__setitem__(name, flag)


# The flags of the commands that train. Other commands have flags of their own, some of the same names, and so may have
# the program that imports digits.
FLAGS = _Flags()
_string, _integer, _bool = (
    functools.partial(define, flag_values=FLAGS)
    for define in (flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_bool)
)
CONFIG = _string("config", None, "The experiment: a name in configs/, FILE.py, or FILE.py:ARGUMENT.")
WORKDIR = _string(
    "workdir", None, "The run's folder; a run in it goes on. Default: runs/, the config's name and the changes."
)
DATA_DIR = _string("data_dir", None, "A folder with the four IDX files of the dataset.")
COORDINATOR = _string(
    "coordinator", None, "HOST:PORT of the first of several processes that train one run; schedulers are detected."
)
NUM_PROCESSES = _integer("num_processes", None, "With --coordinator: how many processes.", lower_bound=1)
PROCESS_ID = _integer("process_id", None, "With --coordinator: which of them this is, from 0.")
INITIALIZATION_TIMEOUT = _integer("initialization_timeout", 60, "Seconds for several processes to start.", 1)
PROFILE = _bool("profile", False, "Write a trace of the training around the end of an epoch to WORKDIR/profile.")
TRACK = _string("track", None, "Trackers that get the metrics too: mlflow, wandb, trackio, or several with commas.")
REPORT = _bool("report", True, "Write report.html and figures/ into the run's folder at its end.")
LIST_FIELDS = _bool("fields", False, "List the fields of the config, what they mean and accept; train nothing.")
_OF_ONE_RUN = (COORDINATOR, NUM_PROCESSES, PROCESS_ID, INITIALIZATION_TIMEOUT, PROFILE, REPORT, LIST_FIELDS)

_FIELDS_HELP = """

Some fields of the config; `digits train --config=NAME --fields` lists all:
  --config.epochs=3
  --config.optimizer.learning_rate=3e-3
  --config.model.hidden=128,64
  --config.data.name=fashion_mnist --config.data.validation="last(10000)"
"""


def run(
    argv: list[str],
    module: str,
    own: flags.FlagValues,
    body: Callable[[list[str]], int],
    files: str = "",
    prints: bool = False,
) -> int:
    """Runs a command that trains nothing.

        sys.exit(run(sys.argv, __name__, own_flags, lambda arguments: 0))

    Args:
      argv: the program's name and its arguments.
      module: the `__name__` of the command's module, whose docstring is the help.
      own: the command's flags.
      body: does the work with the arguments that are no flags, and returns the exit code.
      files: describes these arguments; by default there must be none.
      prints: whether its output is its result, so that it fails where that cannot be written.

    Returns:
      The exit code: that of `body`, 0 for --help, or 2 for a user's mistake.
    """

    def help_text() -> str:
        return f"{sys.modules[module].__doc__}\n{describe(own.get_key_flags_for_module(sys.modules[module]))}"

    def parse_and_run() -> int:
        own.set_gnu_getopt(bool(files))  # Flags may stand behind files.
        own.unparse_flags()  # Of an earlier call.
        try:
            rest = own(argv)[1:]
        except flags.Error as error:
            raise UserError(_sentence(error, own)) from error
        if rest and not files:
            raise UserError(f"{rest[0]!r} is no flag: flags start with --.")
        return body(rest)

    return _exit_code(argv, help_text, parse_and_run, prints)


def train(argv: list[str], help_text: Callable[[], str], body: Callable[[Given], int], sweeps: bool = True) -> int:
    """Runs a command that trains an experiment; refuses `--sweep.FIELD` unless it `sweeps`.

    Returns:
      The exit code: that of `body`, 0 for --help, 2 for a user's mistake, or 128 + signal for an interrupted run.
    """

    def read_and_train() -> int:
        given = read(argv)
        if given.swept and not sweeps:
            this = f"--sweep.{next(iter(given.swept))} is given, but digits.main trains one run"
            raise UserError(f"{this}; to sweep:\n  python -m digits.sweep {shlex.join(argv[1:])}")
        return body(given)

    return _exit_code(argv, help_text, read_and_train, prints=False)


def _exit_code(argv: list[str], help_text: Callable[[], str], work: Callable[[], int], prints: bool) -> int:
    """Prints the help if the arguments ask for it. Otherwise does the work."""
    if {"--help", "-h", "--helpshort", "--helpfull", "-help"} & set(argv):
        return show(help_text())
    if "--version" in argv:
        return show_version()
    return _done(work, prints)


def _done(work: Callable[[], int], prints: bool) -> int:
    """Does the work, or prints why it was refused or stopped; returns the exit code."""
    characters.replace_missing()
    with streams.guarded(needed=prints):
        try:
            with refusals():
                code = work()
                sys.stdout.flush()
                return code
        except UserError as error:
            return refuse(error)
        except Interrupted as interrupted:
            print(interrupted, flush=True)
            return interrupted.exit_code
        except KeyboardInterrupt:  # Only where Python handles Ctrl-C, see runtime/signals.py.
            return 130


def show(text: str) -> int:
    """Prints a text; returns the exit code: 0, or 2 if it cannot be written."""

    def printed() -> int:
        print(text)
        return 0

    return _done(printed, prints=True)


def show_version() -> int:
    """Prints the version of digits; returns the exit code 0."""
    return show(f"digits {digits.__version__}")


def read(argv: list[str]) -> Given:
    """Reads the command line of a command that trains: read(["main", "--config=simple_cnn", "--config.epochs=3"]).

    Raises:
      UserError: for any mistake in it, or in the config file.
    """
    FLAGS.unparse_flags()  # Of an earlier call.
    try:
        argv = [argv[0], *FLAGS.read_flags_from_files(argv[1:], force_gnu=False)]
        rest, changed, swept = _without_fields(argv)
        positional = FLAGS(rest)[1:]
    except flags.Error as error:
        raise UserError(_sentence(error, FLAGS, fields=True)) from error
    if positional:
        meant = [] if CONFIG.value else [f"--config={positional[0]}"]
        hint = question(meant, ": flags start with --, fields with --config.")
        raise UserError(f"{positional[0]!r} is no flag{hint}")
    places = [index for index, argument in enumerate(argv) if re.fullmatch("--?config(=.*)?", argument, re.DOTALL)]
    if not CONFIG.value:
        name_one = "name an experiment, such as --config=quickstart; digits.main without arguments lists them."
        raise UserError(f"--config is missing: {name_one}")
    if len(places) > 1:
        raise UserError("--config is given twice: name one experiment, and change its fields behind it.")
    for argument in argv[: places[0]]:
        if re.match(r"--?(no)?config\.", argument):
            raise UserError(f"{argument} stands before --config: name the experiment first, then its changes.")
    file, config, module = load(CONFIG.value)
    overrides = {}
    for field, value in changed:
        overrides.pop(field, None)  # The last one counts.
        overrides[field] = convert(field, value, "config")
    with config.ignore_type():
        config.update_from_flattened_dict(overrides)
    return Given(config.lock(), module, {"config_file": file, "overrides": overrides}, swept)


def _without_fields(argv: list[str]) -> tuple[list[str], list[tuple[str, str]], dict[str, str]]:
    """Takes `--config.FIELD` and `--sweep.FIELD` out of the arguments.

    Returns:
      The other arguments, the changes as (field, text), and the sweeps' texts by field.
    """
    rest, changed, swept = [], [], {}
    pending = collections.deque(argv)
    while pending:
        argument = pending.popleft()
        match = re.fullmatch(r"--?(no)?(config|sweep)\.([^=]*)(?:=(.*))?", argument, re.DOTALL)
        if not match:
            rest.append(argument)
            continue
        no, flag, field, text = match.groups()
        if text is None and not no and pending and not re.match("--?[A-Za-z]", pending[0]):
            text = pending.popleft()  # --config.FIELD VALUE.
        if flag == "config":
            changed.append((field, _value(field, bool(no), text)))
        elif no or text is None:
            raise UserError(f"--sweep.{field} has no values: --sweep.{field}=VALUE,VALUE.")
        elif field in swept:
            raise UserError(f"--sweep.{field} is given twice: list its values after one.")
        else:
            swept[field] = text
    return rest, changed, swept


def _value(field: str, no: bool, text: str | None) -> str:
    """The text of a change: `--config.FIELD` alone is true, `--noconfig.FIELD` is false."""
    takes_switch = field_type(field, "config") in (bool, object)
    if no:
        if text is not None or not takes_switch:
            raise UserError(f"--noconfig.{field} switches off a field that is true or false: --config.{field}=VALUE.")
        return "false"
    if text is None and not takes_switch:
        raise UserError(f"--config.{field} has no value: --config.{field}=VALUE.")
    return "true" if text is None else text


def refuse_flags_of_one_run() -> None:
    """Raises UserError if a flag is given that a sweep would ignore."""
    for flag in _OF_ONE_RUN:
        if flag.present:
            raise UserError(f"--{flag.name} is for one run: leave it out, or train that run with digits.main.")


def flags_help(more: ModuleType | None = None) -> str:
    """Describes the flags of commands that train; with those of a module, such as a sweep's, for many runs."""
    shown = FLAGS.get_key_flags_for_module(__name__)
    if more:
        refused = {flag.name for flag in _OF_ONE_RUN}
        shown = [*FLAGS.get_key_flags_for_module(more), *(flag for flag in shown if flag.name not in refused)]
    return describe(shown) + _FIELDS_HELP


def describe(shown: Iterable[flags.Flag]) -> str:
    """Describes flags, each with its default if it has one."""
    lines = ["Flags:"]
    for flag in shown:
        choices = getattr(flag.parser, "enum_values", None)
        value = "" if flag.boolean else f"={'|'.join(choices) if choices else 'VALUE'}"
        value_by_default = ", ".join(flag.default) if isinstance(flag.default, list) else flag.default
        default = f" (default: {value_by_default})" if value_by_default else ""
        lines.append(f"  --{'[no]' if flag.boolean else ''}{flag.name}{value}")
        text = flag.help.rpartition(f"<{'|'.join(choices)}>: ")[2] if choices else flag.help
        text = re.split(r";\s+repeat this option", text)[0]  # absl's words.
        lines += textwrap.wrap(text + default, 79, initial_indent="      ", subsequent_indent="      ")
    return "\n".join([*lines, "  --help", "  --version"])


def refuse(error: UserError | str) -> int:
    """Prints a user's mistake; returns the exit code for it."""
    with contextlib.redirect_stderr(streams.Output(sys.stderr)):
        print(screen.wrap(f"error: {error}", screen.width(sys.stderr)), file=sys.stderr)
    return 2


def _sentence(error: flags.Error, known: flags.FlagValues, fields: bool = False) -> str:
    """absl's message, with one full stop at its end; for an unknown flag, the flags or `fields` that may be meant."""
    if not isinstance(error, flags.UnrecognizedFlagError):
        return str(error).rstrip(" .?\n") + "."
    name, value = error.flagname, error.flagvalue.partition("=")[2]
    given = f"={shlex.quote(value)}" if value else ""
    section, _, field = name.partition(".")
    if section in ("config", "sweep") and field:
        return f"--{name}{given} is for digits.main and digits.sweep alone, which train."
    if fields and field and (sections := nearest(section, ["config", "sweep"])):
        return f"there is no flag {name!r}{question(f'--{one}.{field}{given}' for one in sections)}"
    meant = [f"--{flag}" for flag in ([] if fields and fields_called(name) else nearest(name, known))]
    if fields and not meant:
        meant = [f"--{'sweep' if several(one, value) else 'config'}.{one}{given}" for one in fields_like(name)]
    return f"there is no flag {name!r}{question(meant)}"
