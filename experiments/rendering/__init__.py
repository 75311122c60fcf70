"""Shows what was collected: RESULTS.md, a page a study, figures, docstrings of configs. Needs no JAX.

    pages.py           reads results/, writes all files; start here
    results.md.jinja   the text of RESULTS.md
    study.md.jinja     the text of a study's page, results/STUDY.md
    rows.py            the rows and notes of the pages' tables
    findings.py        the sentences on top of RESULTS.md
    charts.py          the figures
    docstrings.py      the line of reproduced figures in the docstring of a config

May import `experiments.judging`, `experiments.collecting.collected` and `digits`. The same results give the same bytes.
"""
