"""Patience with one call: how long its reply is waited for, whatever the engine behind it does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def within(seconds: float, function: Callable[[T], R], item: T) -> R:
    """Return `function(item)` if it ends in time; else leave it behind in a thread of its own, and drop what it gives.

    Nothing can stop a call that reads a trickle of bytes or sleeps, so only the waiting ends. The thread is a daemon:
    the process does not wait for it either. Making one costs some 60 microseconds.

    Args:
        seconds: How long it is waited for, above 0.
        function: What is called; it sees the caller's context variables.
        item: What it is called with.

    Raises:
        CallTimeout: If the time is over.
        BaseException: What the function raised in time.

    Example:
        >>> within(5.0, str.upper, "soon")
        'SOON'
    """
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function(item))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(work,), name="drpo-call", daemon=True).start()
    if not wait([future], timeout=seconds).done:
        raise CallTimeout
    return future.result()


class CallTimeout(Exception):
    """The time for a call is over; never seen outside of the door that made the call."""
