"""Serves one page to draw digits on, which shows what a trained network reads
while one draws.

    python -m digits.demo
    python -m digits.demo runs/simple_cnn

Without a run, it takes the newest one that is finished. The page takes
pictures too (dropped, pasted or chosen), and a sweep's folder stands for the
ensemble of its runs. It answers this machine alone unless --host says
otherwise, asks nothing of any other, and keeps no picture. Ctrl-C ends it.
"""

import contextlib
import ctypes
import importlib.util
import os
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

_M_MMAP_THRESHOLD = -3  # From malloc.h: blocks of so many bytes are given back to the system when they are freed.


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 2 for a user's mistake. Ctrl-C ends the server with 0."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="a run")


def _main(runs: list[str]) -> int:
    if not runs and not _WORKDIR.value:
        finished = (run for run in found.find() if (run / "result.json").is_file())
        if newest := next(finished, None):
            print(f"the newest run: {newest}", flush=True)
            runs = [str(newest)]
    workdir = found.one_run(_WORKDIR.value, runs)
    missing = [name for name in ("flask", "waitress") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The demo needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    # The matrices of a drawing are small: handing them to several threads takes four times the time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # C's library would keep the memory of large pictures, in each thread, once it has seen some of them freed.
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Another one than glibc.
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)
    from digits.serving import demo_server  # Imports JAX.

    demo_server.serve(workdir, _HOST.value, _PORT.value, _OPEN.value)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
