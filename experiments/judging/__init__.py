"""Defines studies, and decides their claims by the figures of their runs. Needs no JAX.

    study.py        Study, Arm, Member, Claim, Finding, and the metrics that most claims use; start here
    metrics.py      metrics of training curves that claims of several studies use
    verdicts.py     the test of a claim: differences, p-values, Holm's correction, intervals
    comparison.py   a documented figure beside the reproduced ones

All other rooms of `experiments` import it. It imports from none of them, and from `digits` only what needs no JAX.
"""
