"""Arrays in, numbers or figures out: statistics, classification measures, robustness, figures.

Knows no folder and no config: its arrays may come from anywhere. Imports `data`; every room above may import it. Start
with classification.py: `measure` computes everything that is shown about the predictions of one network.
"""
