"""The command lines of the benchmarks: the flags that they share, and what happens to a mistake or Ctrl-C."""

from collections.abc import Callable
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import app, flags

from benchmarks import driver, results
from digits import command_line
from digits.errors import UserError

MODEL = flags.DEFINE_string("model", None, "The experiment: the name of a file of configs/, such as deep_cnn.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each is measured.", lower_bound=1)
SET = flags.DEFINE_multi_string("set", [], "Changes a field of the config: --set=batch_size=64. May be repeated.")
JSON = flags.DEFINE_string("json", None, "Write the measurements to this file.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "A folder with the four IDX files. Default: DIGITS_DATA_DIR.")
PEERS_PYTHON = flags.DEFINE_string(
    "peers_python", str(driver.PEERS_PYTHON), "The Python that has the peers' libraries."
)

NOT_INSTALLED = "not installed"  # Why a contestant that was left out is missing from the results.


def say(text: str) -> None:
    """Prints at once, also into a file or a pipe."""
    print(text, flush=True)


def digits_line(workdir: pathlib.Path, *more: str) -> list[str]:
    """The command that trains the config of the flags into `workdir`, to be run in driver.ROOT."""
    line = [sys.executable, "-m", "digits.main", f"--config=configs/{MODEL.value}.py", f"--workdir={workdir}", *more]
    line += [f"--config.{override}" for override in SET.value]
    return line + ([f"--data_dir={os.path.abspath(DATA_DIR.value)}"] if DATA_DIR.value else [])


def time_digits(workdir: pathlib.Path, timeout: float, seed: int | None = None, **environment: str) -> float:
    """Seconds of the whole command without a report, from the start of its process to the end.

    Args:
      workdir: of the run.
      timeout: the most seconds.
      seed: in place of the config's.
      environment: variables that the process has beside this one's.
    """
    more = ["--noreport"] + ([] if seed is None else [f"--config.seed={seed}"])
    began = time.monotonic()
    subprocess.run(
        digits_line(workdir, *more), cwd=driver.ROOT, env=os.environ | environment, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout,
    )  # fmt: skip
    return time.monotonic() - began


def beside_a_peer(
    peer: str, time_digits: Callable[[int], dict[str, Any]], time_peer: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
    """Times whole processes of digits and of a peer in turns, in an order that alternates.

    digits runs once before the rounds, which fills its compilation cache. A peer without its libraries is left out.

    Args:
      peer: its name.
      time_digits, time_peer: given the number of a round, 0 before the first; the answer has `seconds` and what else
        belongs to the round, and under "about" what belongs to the contestant.

    Returns:
      What the file of the measurements has of it.
    """
    left_out = driver.missing_libraries(PEERS_PYTHON.value, [peer])
    for name, reason in left_out.items():
        say(f"{name} is left out: {reason}")
    ways = {"digits": time_digits} | ({} if left_out else {peer: time_peer})
    first = time_digits(0)
    say(f"digits, before the rounds: {first['seconds']:.2f} s")
    reports: dict[str, dict[str, Any]] = {name: {"rounds": []} for name in ways}
    for number in range(1, ROUNDS.value + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            answer = ways[name](number)
            reports[name] |= answer.pop("about", {})
            reports[name]["rounds"].append({"round": number, **answer})
            say(f"round {number} of {ROUNDS.value}: {name} {answer['seconds']:.2f} s")
    return {
        "before_the_rounds_s": first["seconds"],
        "contestants": reports,
        "failed": dict.fromkeys(left_out, NOT_INSTALLED),
        "machine": results.computer(reports),
        "versions": results.own_versions(),
    }


def run(
    argv: list[str],
    words: str,
    module: Any,
    compare: Callable[[pathlib.Path], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
    platform: str | None = "cpu",
) -> int:
    """Parses the flags, measures in a temporary folder, prints the table and writes the file.

    This process itself uses `platform`: by default it only prepares the data, and leaves an accelerator alone.

    Returns:
      The exit code: 0, 1 if a contestant died or nobody trained, 2 for a user's mistake, 130 for Ctrl-C.
    """
    app.define_help_flags()
    if {"--help", "-h", "--helpshort", "-help"} & set(argv):
        shown = map(flags.FLAGS.get_key_flags_for_module, (module, sys.modules[__name__]))
        return command_line.show(f"{words}\n{command_line.describe(itertools.chain(*shown))}")
    if "--version" in argv:
        return command_line.show_version()
    try:
        _check(flags.FLAGS(argv))
        import jax

        jax.config.update("jax_platforms", platform)
        with tempfile.TemporaryDirectory(prefix="digits-benchmark-") as folder:
            measured = compare(pathlib.Path(folder))
    except (flags.Error, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except driver.WorkerError as error:
        print(f"error: {error}. Its last words:\n{error.tail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: all processes are ended, nothing was written", file=sys.stderr)
        return 130
    say("\n" + table(measured))
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(measured, indent=1) + "\n")
    died = set(measured["failed"].values()) - {NOT_INSTALLED}
    return 0 if any(report["rounds"] for report in measured["contestants"].values()) and not died else 1


def _check(rest: list[str]) -> None:
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag: flags start with --.")
    if MODEL.value is None:
        raise UserError("--model is missing: name an experiment, such as --model=deep_cnn.")
    if JSON.value and not pathlib.Path(JSON.value).absolute().parent.is_dir():
        raise UserError(f"--json is {JSON.value!r}, but there is no such folder.")
