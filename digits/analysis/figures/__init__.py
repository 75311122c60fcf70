"""Figures by matplotlib, and contact sheets of images; nothing is written to files here.

style.py has the look that all share. curves.py draws the record of a training, classes.py the errors of a network,
images.py filters and augmentation, sheet.py a grid of small images with captions. All but sheet.py import matplotlib,
which takes half a second: whoever may do without figures imports them inside a function.
"""
