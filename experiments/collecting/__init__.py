"""Trains the runs that studies lack, and keeps their figures.

    collected.py      the files results/STUDY.json: reading, writing, one member's entry (needs no JAX); start here
    reproduction.py   Reproduction: the missing members, their training, another folder's results (needs JAX)

`reproduction.py` resolves the configs of configs/, so that a changed config is noticed before members are mixed.
It imports `experiments.judging`, `configs` and `digits`. The command `reproduce` imports both modules, `rendering` only
`collected.py`.
"""
