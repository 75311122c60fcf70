"""The machine: devices, processes, signals, memory, versions, the cache folder.

Imports no other room; every room may import it. Start with devices.py: one step on one device or on many. machine.py,
atomic.py and signals.py need no JAX, so that a command can use them before it imports JAX. private.py has everything
that this project uses of other libraries although it is private there.
"""
