"""Configs: the fields and what they accept, values from text and files, the numbers that programs share.

Every room may import it. It imports `errors` alone, and no JAX. Start with fields.py, which declares every field.
values.py converts and checks, numbers.py separates a config's numbers from its structure,
experiment_files.py finds and executes configs/*.py.
"""
