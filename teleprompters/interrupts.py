"""Ctrl-C during a run: the first lets the calls under way end, so that they are on record; the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..serving.meter import Meter

SAID = b"interrupted: waiting for the calls under way, nothing new is sent; Ctrl-C again stops at once\n"
"""What the first Ctrl-C shows."""


@contextmanager
def interruptible(meter: Meter, *, shown: bool) -> Iterator[None]:
    """Halt a run at the first SIGINT, and abandon it at the second; both end in a `KeyboardInterrupt` from here.

    Only in the main thread, and only where nobody else handles SIGINT, which both are conditions of Python's.

    Args:
        meter: The run's counter.
        shown: Whether the first one says on the standard error stream that calls are waited for.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        # It runs between any two steps of the main thread, which may hold any lock: no lock is taken here but the
        # future's, which is reentrant.
        if meter.halted is None:
            meter.halted = KeyboardInterrupt()
            if shown:
                os.write(2, SAID)
            return
        if not meter.abandoned.done():
            meter.abandoned.set_result(None)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
        if isinstance(meter.halted, KeyboardInterrupt):  # it came when the last call was made already
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
