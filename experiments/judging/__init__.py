"""What a study is, and how the figures of its runs decide its claims. Imports `digits.statistics` and no JAX.

    study.py        Study, Arm, Member, Claim, and the metrics that most claims use
    metrics.py      metrics of training curves that claims of several studies use
    verdicts.py     the test of a claim: differences, p-values, Holm's correction, the prediction interval
    comparison.py   a documented figure beside the reproduced ones

May import from `digits` only what needs no JAX. Start with `study.py`.
"""
