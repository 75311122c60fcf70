"""From a config to a finished run.

Imports `runs` and the rooms below; only `sweeps` and the commands may import it. Start with step.py: the training step
is one pure function, the epoch one compiled loop over it. program.py compiles it, run.py has the end of each epoch and
the result, loop.py calls the program, recorder.py reports, resume.py saves and restores, train.py puts them together.
"""
