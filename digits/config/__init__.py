"""Configs: the fields and what they accept, values from text and files, the numbers that programs share.

Beside `errors` the only part that every room may import; imports no room, and no JAX. Start with fields.py, the one
declaration of every field. values.py converts and checks, numbers.py separates a config's numbers from its structure,
experiment_files.py finds and executes configs/*.py.
"""
