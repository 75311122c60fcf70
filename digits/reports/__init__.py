"""Runs shown to people: evaluation, pages, tables, figures of sweeps.

Imports `runs` and the rooms below, never `training`; `sweeps` and the commands may import it. Start with judged_run.py:
one run with its data, logits and measures, each read or computed once. evaluation.py makes numbers of it, run_page.py
and comparison_page.py make pages, whose HTML and CSS are in templates/.
"""
