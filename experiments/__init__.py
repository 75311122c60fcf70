"""Studies: a question, the runs that answer it, and the documented figures (`reported.json`).

    reproduce, kernel_size_search, progress_bar   commands; they may import from all rooms
    rendering/    RESULTS.md, a page a study, figures, the line of figures in the docstring of a config
    collecting/   trains the runs that studies lack, keeps the figures of every run in results/STUDY.json
    studies/      the five studies: arms, claims, lessons
    judging/      what a study is, and how the figures of its runs decide a claim

A room imports from rooms below it and from `digits`; nothing in `digits` imports from here. Only reproduction.py needs
JAX. RESULTS.md, results/*.md and figures/ are written by `python -m experiments.reproduce --render`: do not edit them.
Start reading with `studies/regularisation.py`, then `judging/study.py`.
"""

import digits  # noqa: F401  # First of all: a command, which `-m` starts, then ends at Ctrl-C without a traceback.
