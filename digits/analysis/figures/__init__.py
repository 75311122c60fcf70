"""Figures as matplotlib makes them, and contact sheets of images; nothing is written to files here.

style.py has the look that all share. curves.py draws what training recorded, classes.py what a network gets wrong,
images.py filters and samples, sheet.py a grid of small images with captions.
"""
