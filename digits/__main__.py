"""The commands of `digits`, each with --help.

python -m digits.main       trains an experiment, or goes on with it
python -m digits.sweep      trains many: seeds, folds, learning rates
python -m digits.evaluate   tests a run or a sweep
python -m digits.predict    reads digits in pictures
python -m digits.report     writes a page about a run, or compares several
python -m digits.export     writes a run for other programs
python -m digits.demo       a page to draw digits on
"""

import sys

if __name__ == "__main__":
    print(__doc__)
    sys.exit(0 if {"--help", "-h"} & set(sys.argv) or len(sys.argv) == 1 else 2)
