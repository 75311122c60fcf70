"""Trains the runs that studies lack, and keeps their figures. May import `experiments.judging` and `digits`.

    reproduction.py   Reproduction: which members are missing, training them, merging another folder's (needs JAX)
    collected.py      the files results/STUDY.json: reading, writing, one member's entry (needs no JAX)

`reproduction.py` resolves the configs of configs/, so that a change of a config is noticed before members are mixed.
Start with `collected.py`, whose docstring describes the files.
"""
