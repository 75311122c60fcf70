"""Orbax is made to read and write to the end, and to be quiet."""

import asyncio
import concurrent.futures
import logging
import threading
import types

import pytest

from digits.runs import orbax


def test_all_calls_end_before_the_first_error_is_raised():
    ended = []

    def run(coroutine):  # In a thread of its own: a browser that another test uses leaves its event loop in this one.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return pool.submit(asyncio.run, coroutine).result()

    async def call(number):
        await asyncio.sleep(0.01 * number)
        ended.append(number)
        if number in (1, 2):
            raise OSError(f"call {number}")
        return number

    async def together(numbers):
        return await orbax._all(map(call, numbers))

    with pytest.raises(OSError, match="call 2"):  # The first of the list.
        run(together([3, 2, 1, 0]))
    assert sorted(ended) == [0, 1, 2, 3]
    assert run(together([0, 3])) == [0, 3]


def test_orbax_is_imported_once_and_says_nothing():
    assert orbax.imported() is orbax.imported()
    assert not logging.getLogger("absl").isEnabledFor(logging.ERROR)


def test_orbaxs_threads_are_awaited_and_their_errors_are_not_raised():
    """Orbax's threads raise their error when they are joined; the other threads of the process are left alone."""
    go_on, written, others = threading.Event(), [], threading.Event()

    class Thread(threading.Thread):
        def join(self, timeout=None):
            raise OSError("of the thread")

    of_orbax = types.new_class("Writer", (Thread,), {}, lambda body: body.update(__module__="orbax.checkpoint.made"))

    def write():
        go_on.wait(10)
        written.append(True)

    thread = of_orbax(target=write)
    other = threading.Thread(target=others.wait, daemon=True)
    for one in (thread, other):
        one.start()
    threading.Timer(0.05, go_on.set).start()
    orbax.await_threads()
    assert written == [True] and other.is_alive()
    others.set()
