"""Reads the digits of a person's own pictures with a trained run, or with the
ensemble of a sweep.

    python -m digits.predict runs/simple_cnn photo.png more/*.jpg
    python -m digits.predict runs/simple_cnn --csv photo.png > digits.csv

Shows for every digit the image that the network saw, and the probability of
each class; last, the digits of every picture, as "photo.png: 2 7 0 4", with a
row for each line of writing. Reports a file that cannot be read, and reads the
others; the exit code is then 1.
"""

import csv
import json
import pathlib
import sys

from absl import flags

import digits
from digits import command_line
from digits.errors import UserError
from digits.runs import found

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of a run or of a sweep; it may also stand before the pictures.", flag_values=_FLAGS
)
_BRIEF = flags.DEFINE_bool("brief", False, "Print only the digits of each picture.", flag_values=_FLAGS)
_CSV = flags.DEFINE_bool("csv", False, "Print CSV, a row a digit, instead of text.", flag_values=_FLAGS)
_JSON = flags.DEFINE_bool("json", False, "Print JSON, also with the pixels, instead of text.", flag_values=_FLAGS)
_FLAGS.set_gnu_getopt()  # Files may stand before flags.


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, 1 if a file could not be read, 2 for another mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="pictures", prints=True)


def _main(files: list[str]) -> int:
    workdir = _WORKDIR.value
    if not workdir and files and found.is_run(pathlib.Path(files[0]).expanduser()):
        workdir, *files = files
    workdir = found.one_run(workdir, [])
    given = [f"--{flag.name}" for flag in (_BRIEF, _CSV, _JSON) if flag.value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} are given, but only one of them can be printed.")
    if not files:
        raise UserError("there is no picture to read: name image files, such as photo.png more/*.jpg.")
    from digits.serving import reading  # Imports JAX.

    run = digits.load(workdir)
    if warning := reading.other_form(run):
        print(warning, file=sys.stderr)
    readings, problems = reading.read_files(run, files)
    if _JSON.value:
        print(json.dumps([reading.record(one) for one in readings]))
    elif _CSV.value:
        csv.writer(sys.stdout, lineterminator="\n").writerows(reading.rows(readings, run.class_names))
    else:
        characters = reading.BLOCKS if _can_print(reading.BLOCKS) else reading.ASCII
        for one in () if _BRIEF.value else readings:
            print(reading.text(one, characters))
        for line in reading.answers(readings):  # Last, so that they are seen at the prompt.
            print(line)
    for problem in problems:
        command_line.refuse(problem)
    return 1 if problems else 0


def _can_print(characters: str) -> bool:
    try:
        characters.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv))
