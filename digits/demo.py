"""Serves one page to draw digits on, which shows what a trained network reads while one draws.

    python -m digits.demo
    python -m digits.demo runs/simple_cnn

Without a run, it takes the newest one that is finished. The page takes pictures too (dropped, pasted or chosen), and a
sweep's folder stands for the ensemble of its runs. It answers this machine alone unless --host says otherwise, asks
nothing of any other, and keeps no picture. Ctrl-C ends it.
"""

import importlib.util
import signal
import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runs import found

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of a run or of a sweep; the flag may be left out.", flag_values=_FLAGS
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "The address to serve at; 0.0.0.0 lets the whole network in.", flag_values=_FLAGS
)
_PORT = flags.DEFINE_integer("port", 8000, "The port to serve at; 0: any free one.", 0, 65535, flag_values=_FLAGS)
_OPEN = flags.DEFINE_bool("open", True, "Open the page in the browser.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    try:
        return command_line.run(argv, __name__, _FLAGS, _main, files="a run")
    except KeyboardInterrupt:
        return 130


def _main(runs: list[str]) -> int:
    if not runs and not _WORKDIR.value:
        finished = (run for run in found.find() if (run / "result.json").is_file())
        if newest := next(finished, None):
            print(f"the newest run: {newest}", flush=True)
            runs = [str(newest)]
    workdir = command_line.one_run(_WORKDIR.value, runs)
    if importlib.util.find_spec("flask") is None:
        raise UserError('The demo needs Flask, which is not installed: pip install "flask>=3.1".')
    from digits.serving import demo_server  # Imports JAX.

    signal.signal(signal.SIGINT, signal.default_int_handler)  # It ends the server; the exit code is 0.
    demo_server.serve(workdir, _HOST.value, _PORT.value, _OPEN.value)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
