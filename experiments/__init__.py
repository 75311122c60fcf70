"""Studies: a question, the runs that answer it, and the documented figures (`reported.json`).

    reproduce, kernel_size_search, progress_bar    commands: each imports from all rooms
    rendering/     RESULTS.md, a page a study, figures, the line in the docstring of a config
    collecting/    trains what studies lack, keeps the figures of every run in results/STUDY.json
    studies/       the five studies: arms, claims, lessons
    judging/       what a study is, and how the figures of its runs decide a claim

A room imports from the rooms below it and from `digits`, which imports nothing from here. Only collecting/reproduction.py
needs JAX. RESULTS.md, results/*.md and figures/ are written by `python -m experiments.reproduce --render`: do not edit
them. Start reading with `studies/regularisation.py`, then `judging/study.py`.
"""
