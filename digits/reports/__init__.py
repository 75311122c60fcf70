"""Runs shown to people: evaluation, pages, tables, figures of sweeps.

Imports `runs` and the rooms below, never `training`; `sweeps` and the commands may import it. Start with judged_run.py:
a run with its data, logits and measures, each read or computed once. evaluation.py returns its numbers, pages.py writes
pages; run_page.py and comparison_page.py compute their content, compared_runs.py says which of several is best, and
templates/ has the HTML and CSS.
"""
