"""Trains an experiment, or goes on training it, and tests it.

    python -m digits.main --config=configs/simple_cnn.py
    python -m digits.main --config=configs/two_conv.py --config.model.kernel_size=5 --config.epochs=3

Every field of configs/base.py can be changed after --config. Runs are kept in runs/; the same command goes on with one.
"""

import importlib.machinery
import importlib.util
import itertools
import pathlib
import re
import sys
import traceback

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from configs import base
from digits import commands
from digits.errors import UserError, paths

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file of configs/.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run is kept, or goes on. Default: runs/, the config's name and what was changed."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "A folder with the four IDX files of the dataset.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of the first of several processes that train one run; schedulers are detected."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator: how many processes.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: which of them this is, from 0.")
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Write a trace of the training around the end of an epoch to WORKDIR/profile."
)
_REPORT = flags.DEFINE_bool("report", True, "Write report.html and figures/ into the run's folder at its end.")
_OF_ONE_RUN = (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID, _PROFILE, _REPORT)
_TYPES = {"int()": "a whole number", "to float": "a number", "boolean": "true or false"}


def read_config(argv: list[str]) -> tuple[ConfigDict, dict]:
    """Parses the command line into the config and {"config_file", "overrides"}; UserError for any mistake in it."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise UserError(f"{rest[1]!r} is no flag: flags start with --, fields with --config.")
        config, file = _CONFIG.value, _config_file(argv)
        if not file:
            raise UserError("--config is missing: name an experiment, such as --config=configs/quickstart.py.")
        if not isinstance(config, ConfigDict):
            if pathlib.Path(file).is_file():
                raise UserError(
                    f"get_config() of {file} must return a config, as base.get_config() of configs/ makes it."
                )
            # ml_collections hands out a stand-in for a file that is not there.
            raise UserError(f"--config is {file!r}, but there is no such file.")
        if missing := sorted(set(base.get_config()) - set(config)):
            raise UserError(
                f"The config of {file} has no field {missing[0]!r}: begin with base.get_config() of configs/."
            )
    except flags.Error as error:
        raise UserError(_flag_mistake(str(error), argv)) from error
    except UserError:
        raise
    except Exception as error:  # Whatever a config file raises, and AttributeError for an unknown field.
        raise UserError(_config_mistake(error, argv)) from error
    flag = flags.FLAGS["config"]
    overrides = config_flags.get_override_values(flag)
    return config, {"config_file": config_flags.get_config_filename(flag), "overrides": overrides}


def _config_file(argv: list[str]) -> str | None:
    """What --config names, also where it cannot be read; None if it is missing."""
    values = [argument.partition("=")[2] for argument in argv if re.match("--?config=", argument)]
    values += [after for before, after in itertools.pairwise(argv) if before in ("--config", "-config")]
    return values[0] if values else None


def _flag_mistake(message: str, argv: list[str]) -> str:
    if match := re.match(r"flag --(config\.\S+?)=(.*?): (.*)", message, re.DOTALL):
        accepted = next((name for hint, name in _TYPES.items() if hint in match[3]), None)
        if accepted is None and (sentence := _override_mistake(argv)):
            return sentence
        accepted = accepted or match[3].splitlines()[0].rstrip(".")
        return f"{match[1]} is {match[2]!r}, but it must be {accepted}."
    if "Error whilst parsing config file" in message:  # A TypeError or ValueError in it; the traceback is in the text.
        frames = re.findall(r'File "(.*)", line (\d+), in (?:get_config|<module>)', message)
        frames = [frame for frame in frames if "ml_collections" not in frame[0] and frame[0][0] != "<"]
        where = "{}, line {}".format(*frames[-1]) if frames else "--config"
        return f"{where}: {message.strip(' .').splitlines()[-1]}."
    if "is defined twice" in message:
        return "--config is given twice: name one experiment, and change its fields behind it."
    return message.rstrip(" .?") + ("?" if message.rstrip().endswith("?") else ".")


def _override_mistake(argv: list[str]) -> str | None:
    """A sentence for the first override that names no field, or has no value for it; None if there is none.

    Asked only where ml_collections has refused one and speaks of its own parsing.
    """
    from digits import points

    try:
        loader = importlib.machinery.SourceFileLoader("config_alone", _config_file(argv))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(module)
        config = module.get_config()
    except Exception:  # Then that is the mistake.
        return None
    for argument in argv:
        if match := re.match(r"--?config\.([^=]+)=(.*)", argument, re.DOTALL):
            try:
                points.convert(config, match[1], match[2], "config")
            except UserError as error:
                return str(error)
    return None


def _config_mistake(error: Exception, argv: list[str]) -> str:
    """A sentence for an error in a config file, with its line, or for an override of a field that does not exist."""
    message, file = str(error), _config_file(argv)
    if message.endswith("has no attribute 'get_config'"):
        return f"{file} has no function get_config(), which must return the config."
    if unknown := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', message):
        message = f"there is no field {unknown[2]!r}; did you mean {unknown[1]!r}?"
    elif unknown := re.match(r"[\"'\\]*(?:Key \")?(\w+)", message) if isinstance(error, AttributeError) else None:
        message = f"there is no field {unknown[1]!r}; configs/base.py lists them all."
    else:
        message = f"{type(error).__name__}: {message.splitlines()[0] if message else ''}"
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}, line {error.lineno or 1}: {error.msg}."
    config_files = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if f.name == "get_config" or "/configs/" in f.filename or f.filename == file
    ]
    if not config_files:
        return _override_mistake(argv) or f"--config: {message}"
    return f"{config_files[-1].filename}, line {config_files[-1].lineno}: {message}"


def default_workdir(config_file: str, overrides: dict) -> str:
    """runs/two_conv, or runs/two_conv,epochs=3,model.kernel_size=5: the same command finds its run again."""
    from digits import points

    stem = pathlib.Path(config_file).stem
    return str(pathlib.Path("runs") / ",".join(filter(None, [stem, points.name(dict(sorted(overrides.items())))])))


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 128 + signal for an interrupted run."""
    app.define_help_flags()
    if commands.asks_for_help(argv):
        print(f"{__doc__}\n{flags_help()}")
        return 0
    try:
        config, origin = read_config(argv)
        folder = workdir() or default_workdir(origin["config_file"], origin["overrides"])
        from digits import startup  # Imports NumPy: not for --help, not for a mistyped flag.

        start = startup.Start(config.data.name, _DATA_DIR.value).early()
        from digits import processes, train  # Imports JAX.

        processes.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    except UserError as error:
        return commands.refuse(error)
    try:
        with processes.failing_at_once(), paths():
            train.train_and_evaluate(config, folder, origin=origin, start=start, profile=_PROFILE.value)
    except UserError as error:
        return commands.refuse(error)
    except train.Interrupted as interrupted:
        print(interrupted, flush=True)
        return interrupted.exit_code
    if _REPORT.value and processes.first() and not (pathlib.Path(folder).expanduser() / "report.html").exists():
        _write_report(folder)
    return 0


def _write_report(folder: str) -> None:
    """The run is whole without it: a report that cannot be written is a line, and no failure."""
    from digits import pages

    try:
        print(f"report: {pages.write(folder, _DATA_DIR.value)}", flush=True)
    except UserError as error:
        print(f"no report was written: {error}", flush=True)


def workdir() -> str | None:
    """The value of --workdir."""
    return _WORKDIR.value


def data_dir() -> str | None:
    """The value of --data_dir."""
    return _DATA_DIR.value


def refuse_flags_of_one_run() -> None:
    """Raises UserError if a flag is given that a sweep would ignore."""
    for flag in _OF_ONE_RUN:
        if flag.present:
            raise UserError(f"--{flag.name} is for one run: leave it out, or train that run with digits.main.")


def flags_help(of_one_run: bool = True) -> str:
    """The flags that every command that trains has; with or without those that a sweep refuses."""
    shown, hidden = flags.FlagValues(), set() if of_one_run else {flag.name for flag in _OF_ONE_RUN}
    for flag in flags.FLAGS.get_key_flags_for_module(sys.modules[__name__]):
        if flag.name not in hidden:
            flags.DEFINE_flag(flag, shown, module_name="digits.main")
    return shown.module_help("digits.main")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
