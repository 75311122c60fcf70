"""Shows what was collected: RESULTS.md, a page a study, figures, docstrings of configs. Needs no JAX.

    pages.py           writes all files; start here
    results.md.jinja   the text of RESULTS.md
    study.md.jinja     the text of a study's page, results/STUDY.md
    findings.py        the sentences on top of RESULTS.md
    rows.py            the rows of tables, and the lists below them
    results.py         the collected results of all studies
    charts.py          the figures
    docstrings.py      the line of reproduced figures in the docstring of a config

Only the command `reproduce` imports it. It imports `experiments.judging`, `experiments.collecting.collected` and
`digits`. The same results give the same bytes.
"""
