"""Several endpoints that serve one model: the least busy one is asked, and one that fails is left alone for a while.

LiteLLM's Router does the same, but not so that it can be counted on: it answers for endpoints that it rests without
asking any of them, rests none whose connection is refused, and has one fixed time of rest for those that hiccup and
those that are gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dspy import lm15

FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds that an endpoint is left alone after a failure; twice as long after each further one in a row."""

_FAILURES = (lm15.RateLimitError, lm15.ServerError, lm15.TimeoutError, lm15.TransportError)


@dataclass(eq=False)
class _State:
    under_way: int = 0
    asked: int = 0
    failures: int = 0
    """In a row."""
    shaken_until: float = float("-inf")
    """When it may be asked again after failures; an answer that comes earlier ends the rest."""
    told_until: float = float("-inf")
    """When it may be asked again by its own word."""

    @property
    def rests_until(self) -> float:
        return max(self.shaken_until, self.told_until)


class Endpoints:
    """Choose an endpoint for each request; may be shared by threads.

    Args:
        number: How many there are, at least 1.
        clock: Seconds that only grow.

    Example:
        >>> endpoints = Endpoints(2)
        >>> with endpoints.one() as first, endpoints.one() as second:
        ...     first, second
        (0, 1)
    """

    def __init__(self, number: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._states = [_State() for _ in range(number)]
        self._clock = clock
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    @contextmanager
    def one(self) -> Iterator[int]:
        """Give the index of the endpoint to ask; what is raised meanwhile is what came of it.

        Of those that rest, if all do, it is the one whose rest ends first: a request is never refused here. A failure
        that leaves with another endpoint to ask has the attribute `elsewhere` set.
        """
        state = self._chosen()
        try:
            yield self._states.index(state)
        except Exception as error:
            self._ended(state, error)
            raise
        except BaseException:
            self._left(state)
            raise
        self._ended(state, None)

    def _chosen(self) -> _State:
        with self._lock:
            now = self._clock()
            chosen = min(self._states, key=lambda state: (max(state.rests_until, now), state.under_way, state.asked))
            chosen.under_way += 1
            chosen.asked += 1
            return chosen

    def _ended(self, state: _State, error: Exception | None) -> None:
        self._left(state)
        with self._lock:
            if not isinstance(error, _FAILURES):
                state.failures, state.shaken_until = 0, float("-inf")
                return
            now = self._clock()
            if error.retry_after is None:
                state.shaken_until = now + min(FIRST_REST * 2 ** min(state.failures, 10), LONGEST_REST)
            else:
                state.told_until = max(state.told_until, now + error.retry_after)
            state.failures += 1
            error.elsewhere = any(other.rests_until <= now for other in self._states if other is not state)

    def _left(self, state: _State) -> None:
        with self._lock:
            state.under_way -= 1
