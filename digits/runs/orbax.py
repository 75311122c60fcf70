"""Orbax without words of its own: it reads and writes all arrays to their ends, and only raises its errors."""

import asyncio
from collections.abc import Awaitable, Sequence
import functools
import logging
import threading
from typing import Any

import numpy as np


@functools.cache
def imported():
    """Imports Orbax, which takes a second: only where a checkpoint is written or read. Returns its module.

    imported().CheckpointManager(folder).all_steps()
    """
    import orbax.checkpoint as ocp

    # Orbax warns of its own defaults, reports every step of a save, and prints the errors of its threads, which it also
    # raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)

    class Arrays(ocp.type_handlers.NumpyHandler):
        """Reads and writes all arrays to their ends before it raises the first error.

        Orbax's own handler raises at once. The other arrays then end in a closed event loop and print a traceback each.
        """

        async def deserialize(self, infos, args=None):
            read, args = super().deserialize, args or [ocp.RestoreArgs()] * len(infos)
            return [array for (array,) in await _all([read([info], [arg]) for info, arg in zip(infos, args)])]

        async def metadata(self, infos):
            read = super().metadata
            return [array for (array,) in await _all([read([info]) for info in infos])]

        async def _background_serialize(self, values, infos, args=None):
            write = super()._background_serialize
            await _all([write([value], [info], [arg]) for value, info, arg in zip(values, infos, args)])

    ocp.type_handlers.register_type_handler(np.ndarray, Arrays(), override=True)
    return ocp


async def _all(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Waits for calls of one array each, for all of them even if one fails; then raises the first error."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return found


def await_threads() -> None:
    """Waits for Orbax's threads. If one fails to write its part of a checkpoint, the others still write theirs."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            threading.Thread.join(thread)  # Its own `join` raises its error.
