"""Stands for the package where one of its files is started as a script: `python digits/main.py`.

Python then looks for modules in the script's own folder first, and finds this one. It puts the package in its place.
"""

import importlib
import pathlib
import sys

if __name__ == "digits":
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
    del sys.modules["digits"]
    importlib.import_module("digits")
    from digits.runtime import signals, streams

    streams.open_missing()
    signals.end_at_once()
