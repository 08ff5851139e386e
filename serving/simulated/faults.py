"""Faults on demand: what goes wrong between a client and a model, and when, decided by a seed.

A fate depends on the seed, the request's text and how often that request was tried, never on the order in which
requests arrive: sixty-four clients at once meet the same faults as one client that asks sixty-four times in a row.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from statistics import NormalDist

from ...errors import ConfigError


class FaultKind(StrEnum):
    """What can go wrong with one request."""

    RATE_LIMITED = "rate_limited"
    """Refused with status 429 and a `Retry-After`."""
    SERVER_ERROR = "server_error"
    """Refused with status 500, 502 or 503."""
    TIMED_OUT = "timed_out"
    """Never answered: the client's patience ends it, or `Faults.longest`."""
    DROPPED = "dropped"
    """The connection breaks before an answer."""
    MALFORMED = "malformed"
    """Answered with status 200 and JSON that breaks off."""
    REFUSED = "refused"
    """Answered by a content filter: no text, and `content_filter` as the reason."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How often each fault strikes and how long replies take; without arguments nothing goes wrong.

    Args:
        rate_limited: Share of requests refused with 429, in [0, 1]. All shares together are at most 1.
        server_error: Share refused with 500, 502 or 503.
        timed_out: Share never answered.
        dropped: Share whose connection breaks.
        malformed: Share answered with broken JSON.
        refused: Share answered by a content filter.
        retry_after: Seconds that a 429 asks to wait. At least 0.
        latency: Median seconds before any reply, log-normally distributed. At least 0; 0: at once.
        latency_sigma: Standard deviation of the latency's logarithm, in [0, 10]; 0: always the median.
        longest: Most seconds that a request is kept, by its latency or by a time-out. Above 0.
        seed: Decides which requests are struck.

    Raises:
        ConfigError: If a value is out of its range.

    Example:
        >>> Faults(rate_limited=0.1, retry_after=0.5, latency=0.02, latency_sigma=0.8).latency
        0.02
    """

    rate_limited: float = 0.0
    server_error: float = 0.0
    timed_out: float = 0.0
    dropped: float = 0.0
    malformed: float = 0.0
    refused: float = 0.0
    retry_after: float = 1.0
    latency: float = 0.0
    latency_sigma: float = 0.0
    longest: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = (int,) if field.name == "seed" else (int, float)
            if isinstance(value, bool) or not isinstance(value, allowed) or not math.isfinite(value):
                raise ConfigError(
                    f"{field.name}={value!r}: give a {'whole' if field.name == 'seed' else 'finite'} number"
                )
        for kind, share in self.shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"{kind}={share!r}: a share of the requests, give a number from 0 to 1")
        total = math.fsum(self.shares.values())
        if total > 1 + 1e-9:
            raise ConfigError(f"the shares of all faults add up to {total:g}: lower them, together they are at most 1")
        for name in ("retry_after", "latency"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)!r}: give the seconds as a number of at least 0")
        if not 0 <= self.latency_sigma <= 10:
            raise ConfigError(f"latency_sigma={self.latency_sigma!r}: give a number from 0 to 10; 1 is a wide spread")
        if self.longest <= 0:
            raise ConfigError(f"longest={self.longest!r}: give the seconds as a number above 0")

    @property
    def shares(self) -> Mapping[FaultKind, float]:
        """The share of requests that each kind strikes."""
        return {kind: getattr(self, kind) for kind in FaultKind}


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to one try of one request."""

    latency: float
    """Seconds before whatever happens."""
    fault: FaultKind | None
    """What goes wrong; None: nothing."""
    status: int = 0
    """The HTTP status of a refusal; 0 where the fault has none of its own."""
    retry_after: float | None = None
    """Seconds to wait before the next try; None: not said."""


class FaultPlan:
    """Deals the fates, and counts them; may be shared by threads.

    Args:
        faults: Shares and durations. None: nothing ever goes wrong.

    Example:
        >>> plan = FaultPlan(Faults(server_error=1.0))
        >>> plan.next("a request").fault
        <FaultKind.SERVER_ERROR: 'server_error'>
        >>> plan.counts[FaultKind.SERVER_ERROR]
        1
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._quiet = self.faults.latency == 0 and not any(self.faults.shares.values())
        self._tries: Counter[bytes] = Counter()
        self._counts: Counter[FaultKind] = Counter()
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[FaultKind, int]:
        """How often each kind struck so far, all kinds present."""
        with self._lock:
            return {kind: self._counts[kind] for kind in FaultKind}

    def next(self, request: str) -> Fate:
        """Return the fate of the next try of a request.

        Args:
            request: Whatever tells requests apart; a repeated one is another try, with a fate of its own.
        """
        if self._quiet:
            return Fate(latency=0.0, fault=None)
        digest = hashlib.blake2b(request.encode("utf-8", "backslashreplace"), digest_size=16).digest()
        with self._lock:
            number = self._tries[digest]
            self._tries[digest] += 1
            fate = self._fate(digest, number)
            if fate.fault is not None:
                self._counts[fate.fault] += 1
        return fate

    def _fate(self, digest: bytes, number: int) -> Fate:
        drawn = hashlib.blake2b(digest + f"/{number}/{self.faults.seed}".encode(), digest_size=17).digest()
        # 52 bits and a half step: never 0 nor 1, where the normal distribution's quantiles are infinite.
        struck, slow = (((int.from_bytes(part, "big") >> 12) + 0.5) / 2**52 for part in (drawn[:8], drawn[8:16]))
        slowness = math.exp(self.faults.latency_sigma * NormalDist().inv_cdf(slow))
        latency = min(self.faults.latency * slowness, self.faults.longest)
        fault = self._strike(struck)
        if fault is FaultKind.RATE_LIMITED:
            return Fate(latency=latency, fault=fault, status=429, retry_after=self.faults.retry_after)
        if fault is FaultKind.SERVER_ERROR:
            return Fate(latency=latency, fault=fault, status=(500, 502, 503)[drawn[16] % 3])
        return Fate(latency=latency, fault=fault)

    def _strike(self, struck: float) -> FaultKind | None:
        for kind, share in self.faults.shares.items():
            if struck < share:
                return kind
            struck -= share
        return None


def suffer(fate: Fate, *, model: str, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Let a fate happen to a caller in this process, as its client would have reported it.

    Args:
        fate: What `FaultPlan.next` dealt.
        model: The name of the model, for the error.
        sleep: Waits out the latency.

    Returns:
        Whether a content filter takes the place of the reply.

    Raises:
        dspy.lm15.LM15Error: The error that DSPy's own clients make of this fault. A time-out is not waited for.

    Example:
        >>> suffer(FaultPlan().next("a request"), model="sim/base")
        False
    """
    if fate.latency > 0:
        sleep(fate.latency)
    if fate.fault is None or fate.fault is FaultKind.REFUSED:
        return fate.fault is not None
    from dspy import lm15

    error = {
        FaultKind.RATE_LIMITED: lm15.RateLimitError,
        FaultKind.SERVER_ERROR: lm15.ServerError,
        FaultKind.TIMED_OUT: lm15.TimeoutError,
        FaultKind.DROPPED: lm15.TransportError,
        FaultKind.MALFORMED: lm15.ProviderError,
    }[fate.fault]
    status, retry_after = fate.status or None, fate.retry_after
    raise error(f"{model}: a simulated fault, {describe(fate)}", status=status, retry_after=retry_after)


def describe(fate: Fate) -> str:
    """Say in a few words what goes wrong."""
    words = {
        FaultKind.RATE_LIMITED: f"too many requests; try again in {fate.retry_after or 0:g} s",
        FaultKind.SERVER_ERROR: f"the server fails with status {fate.status}",
        FaultKind.TIMED_OUT: "no answer comes",
        FaultKind.DROPPED: "the connection breaks",
        FaultKind.MALFORMED: "the reply is no valid JSON",
        FaultKind.REFUSED: "a content filter keeps the reply",
    }
    return "none" if fate.fault is None else words[fate.fault]
