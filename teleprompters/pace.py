"""How fast a run goes, and how long the calls that are left will about take."""

from __future__ import annotations

from collections import deque

WINDOW = 120.0
"""Seconds over which the pace is measured: models, and how many calls are under way, change during a run."""
FEWEST_CALLS, FEWEST_SECONDS = 10, 2.0
"""Below either of them nothing is said."""


class Pace:
    """Calls per second, as of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def left(self, *, calls: float, made: float, now: float) -> float | None:
        """Return about how many seconds are left; None while too little is known.

        Args:
            calls: Calls that are still to be made.
            made: Calls that were made so far, without those taken from the record.
            now: Seconds on any clock that goes forward.

        Example:
            >>> pace = Pace()
            >>> pace.left(calls=100, made=0, now=0.0), pace.left(calls=60, made=40, now=20.0)
            (None, 30.0)
        """
        if len(self._seen) == 1 and made == self._seen[0][1]:
            self._seen.clear()  # libraries are imported, servers wake up: that is no pace
        if not self._seen or now - self._seen[-1][0] >= 1:
            self._seen.append((now, made))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        if made - before < FEWEST_CALLS or now - then < FEWEST_SECONDS:
            return None
        return max(0.0, calls) * (now - then) / (made - before)


def in_words(seconds: float) -> str:
    """Return a time with no more digits than an estimate deserves.

    Example:
        >>> [in_words(seconds) for seconds in (0, 42, 100, 3000, 5000, 90000)]
        ['5 s', '40 s', '2 min', '50 min', '1.5 h', '25 h']
    """
    if seconds < 58:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 58 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{round(seconds / 1800) / 2:g} h"


def clock(seconds: float) -> str:
    """Return a time that has passed as a clock shows it.

    Example:
        >>> clock(5), clock(754), clock(7384)
        ('0:05', '12:34', '2:03:04')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
