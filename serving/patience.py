"""Patience with one call: how long its reply is waited for, whatever the engine behind it does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def within(seconds: float | None, function: Callable[[T], R], item: T, *, unless: Future[None] | None = None) -> R:
    """Return `function(item)` if it ends in time; else leave it behind in a thread of its own, and drop what it gives.

    Nothing can stop a call that reads a trickle of bytes or sleeps, so only the waiting ends. The thread is a daemon:
    the process does not wait for it either. Making one costs some 60 microseconds.

    Args:
        seconds: How long it is waited for, above 0. None: until it ends.
        function: What is called; it sees the caller's context variables.
        item: What it is called with.
        unless: Ends the waiting once it is done. None: nothing does.

    Raises:
        CallTimeout: If the time is over.
        CallAbandoned: If `unless` is done first.
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
    awaited: list[Future[Any]] = [future] if unless is None else [future, unless]
    wait(awaited, timeout=seconds, return_when=FIRST_COMPLETED)
    if future.done():
        return future.result()
    raise CallTimeout if unless is None or not unless.done() else CallAbandoned


class CallTimeout(Exception):
    """The time for a call is over; never seen outside of the door that made the call."""


class CallAbandoned(Exception):
    """Nobody waits for a call any longer; never seen outside of the door that made the call."""
