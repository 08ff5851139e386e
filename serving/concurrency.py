"""How many calls are under way at once: as many as are made, until an endpoint says that they are too many.

The rule is that of congestion control: a fifth less at once, then slowly more. Many refusals at a time are one word of
the endpoint's, so the limit is cut once per episode, which lasts until the calls that were under way at the cut have
ended. Failures of other kinds say nothing of how many calls are too many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SHRINK = 0.8
"""What is left of the limit after a cut."""

ROUND = 10
"""Fewest answers after which the limit grows by one; as many as the limit itself, if that is more. An endpoint that
takes one or two calls would refuse every other one if each answer made room for another."""

_TURN = 0.2  # seconds between two looks at whether the call is still wanted

_WITHIN: ContextVar[bool] = ContextVar("drpo_has_place", default=False)


class Place:
    """The place of one call among those under way; `Places.one` gives it."""

    def __init__(self, places: Places, number: int) -> None:
        self._places, self._number = places, number

    def refused(self) -> None:
        """Say that the endpoint refused the call because there were too many."""
        self._places._cut()

    def answered(self) -> None:
        """Say that the endpoint answered the call."""
        self._places._grow()


class Places:
    """The calls under way at one endpoint, or at several that share the load; shared by all roles and threads.

    Example:
        >>> places = Places()
        >>> with places.one() as place:
        ...     place.refused()
        >>> places.limit
        1
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        """Most calls under way at once, at least 1; None: as many as are made."""
        self.under_way = 0
        """Calls under way."""
        self.cuts = 0
        """How often the limit was cut."""
        self._peak = 0
        self._begun = 0
        # Calls with lower numbers were under way at the last cut; so many of them are left.
        self._before_cut, self._left_of_cut = 0, 0
        self._answers = 0
        self._free = threading.Condition()

    @contextmanager
    def one(self, wanted: Callable[[], object] = lambda: None) -> Iterator[Place]:
        """Take a place, as soon as there is one, and free it in the end.

        A call that is made to answer another call has a place already: it could wait for itself.

        Args:
            wanted: Called now and then while there is none; what it raises ends the waiting.
        """
        if _WITHIN.get():
            yield Place(self, self._begun)
            return
        place = self._take(wanted)
        token = _WITHIN.set(True)
        try:
            yield place
        finally:
            _WITHIN.reset(token)
            self._give_back(place)

    def _take(self, wanted: Callable[[], object]) -> Place:
        with self._free:
            while self.limit is not None and self.under_way >= self.limit:
                self._free.wait(_TURN)
                wanted()
            self.under_way += 1
            self._peak = max(self._peak, self.under_way)
            self._begun += 1
            return Place(self, self._begun)

    def _give_back(self, place: Place) -> None:
        with self._free:
            self.under_way -= 1
            self._left_of_cut -= place._number <= self._before_cut
            self._free.notify()

    def _cut(self) -> None:
        with self._free:
            if self._left_of_cut:
                return
            self.limit = max(1, int(SHRINK * (self._peak if self.limit is None else self.limit)))
            self.cuts += 1
            self._answers = 0
            self._before_cut, self._left_of_cut = self._begun, self.under_way

    def _grow(self) -> None:
        with self._free:
            if self.limit is None:
                return
            self._answers += 1
            if self._answers < max(self.limit, ROUND):
                return
            self._answers = 0
            self.limit += 1
            if self.limit > self._peak:  # as many as were ever made at once: nothing is held back any longer
                self.limit = None
            self._free.notify_all()
