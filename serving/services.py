"""What a run knows of the services that it asks: whether one answers, since when it does not, and what it can take."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable

from .concurrency import Places

logger = logging.getLogger(__name__)


class Service:
    """One endpoint, or several that share the load; shared by all roles and threads of a run.

    Args:
        name: What messages call it.
        clock: Seconds that only grow.
    """

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.places = Places()
        """The calls under way."""
        self.clock = clock
        self.answers = 0
        """How many calls it answered; one that it refused for what it asks was answered too."""
        self._silent_since: float | None = None
        self._warned = self._spared = False
        self._lock = threading.Lock()

    @property
    def silence(self) -> float | None:
        """Seconds since it first failed after its last answer; None if it has not failed since."""
        since = self._silent_since
        return None if since is None else self.clock() - since

    def answered(self) -> None:
        """Say that a call was answered."""
        with self._lock:
            silence, warned = self.silence, self._warned
            self.answers += 1
            self._silent_since, self._warned, self._spared = None, False, False
        if warned:
            logger.warning(f"{self.name} answers again, after {silence or 0:.0f} s")

    def failed(self) -> None:
        """Say that a call came to nothing."""
        with self._lock:
            if self._silent_since is None:
                self._silent_since = self.clock()

    def spare(self) -> bool:
        """Return True once until it answers again: one call may fail by itself, of two in a row nobody would say so."""
        with self._lock:
            spared, self._spared = self._spared, True
            return not spared

    def warn(self, text: str) -> None:
        """Log that it does not answer, once until it does."""
        with self._lock:
            if self._warned:
                return
            self._warned = True
        logger.warning(f"{self.name} {text}")


class Services:
    """The services of a run, by what tells them apart.

    Example:
        >>> services = Services()
        >>> services.of("http://127.0.0.1:8000/v1", "local") is services.of("http://127.0.0.1:8000/v1", "the same")
        True
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Service] = {}
        self._lock = threading.Lock()

    def of(self, key: Hashable, name: str) -> Service:
        """Return the service of a key; it is made, and named, when it is first asked for."""
        with self._lock:
            if key not in self._known:
                self._known[key] = Service(name)
            return self._known[key]
