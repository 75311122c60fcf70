"""From a config to a finished run.

Imports `runs` and the rooms below; only `sweeps` and the commands may import it. docs/tour.md shows the lines that
matter. Start with step.py: the training step is one pure function, the epoch one compiled loop over it. program.py
compiles it, loop.py calls the program, run.py ends each epoch and tests, recorder.py reports, resume.py saves and
restores, train.py puts them together, session.py does so from Python: `digits.train`.
"""
