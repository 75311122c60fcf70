"""Arrays in, numbers or figures out: statistics, classification measures, robustness, figures.

Knows no folder and no config's file: whatever it is given may come from anywhere. Imports `data`; every room above may
import it. Start with classification.py: `measure` tells everything about the predictions of one network.
"""
