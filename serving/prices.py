"""What a call costs: so much a token, by the config or by LiteLLM's list, or a share of a server's hour.

A server that is paid by the hour costs money while it works, whoever it works for. So its busy time is metered: the
time in which at least one call is under way. At each moment it is shared equally among the calls that are:

    share of a call = integral of dt / n(t) from its beginning to its end,    n(t): calls under way at t

The shares of all calls add up to the busy time, whatever roles make them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .simulated import SIMULATED

if TYPE_CHECKING:
    from dspy.lm15 import Usage  # configs read prices, and are cheap to import

    from .settings import LMSettings

PER_TOKENS = 1_000_000
"""How many tokens a price is for."""
SECONDS_PER_HOUR = 3600.0

_MOST_UNCLAIMED = 1024  # as many calls as a run can have under way


class ServerClock:
    """The busy time of one server, shared out to its calls.

    Args:
        now: Tells the time in seconds; it never goes back.

    Example:
        >>> times = iter([0.0, 1.0, 3.0, 7.0])
        >>> clock = ServerClock(lambda: next(times))
        >>> with clock.call("a"), clock.call("b"):  # b ends first
        ...     pass
        >>> clock.claim("a"), clock.claim("b")
        (6.0, 1.0)
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._under_way, self._since = 0, 0.0
        self._for_each = 0.0  # the integral of dt / n(t)
        self._answered: dict[str, float] = {}
        self._unpaid = 0.0

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Meter a call while it is under way; `claim` gives its share afterwards.

        Args:
            name: The call's name.
        """
        with self._lock:
            self._advance(1)
            begin = self._for_each
        answered = False
        try:
            yield
            answered = True
        finally:
            with self._lock:
                self._advance(-1)
                share = self._for_each - begin
                if answered:
                    self._answered[name] = self._answered.get(name, 0.0) + share
                else:
                    self._unpaid += share
                if len(self._answered) > _MOST_UNCLAIMED:  # of calls that were given up before they were answered
                    self._unpaid += self._answered.pop(next(iter(self._answered)))

    def claim(self, name: str) -> float:
        """Return the seconds that a call has to pay for: its share, and what calls that failed have left to pay."""
        with self._lock:
            unpaid, self._unpaid = self._unpaid, 0.0
            return self._answered.pop(name, 0.0) + unpaid

    def _advance(self, change: int) -> None:
        now = self._now()
        if self._under_way:
            self._for_each += (now - self._since) / self._under_way
        self._since, self._under_way = now, self._under_way + change


class Prices:
    """The prices of one LM.

    Args:
        settings: The LM. Its token prices come before LiteLLM's list, each for itself.
        clock: The server's clock. None: the one that all LMs of this address share.

    Example:
        >>> from drpo.serving.settings import LMSettings
        >>> Prices(LMSettings(model="hosted_vllm/llama", input_price=0.5, output_price=1.5)).tokens(2_000_000, 0)
        1.0
    """

    def __init__(self, settings: LMSettings, *, clock: ServerClock | None = None) -> None:
        self._settings = settings
        self._listed = not settings.model.startswith(SIMULATED)
        self._clock = (clock or _clock_of(settings)) if settings.hourly_price is not None else None

    @contextmanager
    def metered(self, call: str) -> Iterator[None]:
        """Meter a call while it is under way, if the server is paid by the hour.

        Args:
            call: The call's name.
        """
        if self._clock is None:
            yield
        else:
            with self._clock.call(call):
                yield

    def of(self, usage: Usage, call: str) -> float | None:
        """Return the price of a call that was answered, in dollars; None if it is unknown.

        Args:
            usage: What it read and wrote.
            call: Its name.
        """
        if self._clock is None or self._settings.hourly_price is None:
            cached = {"cache_read_input_tokens": usage.cache_read_tokens or 0}
            return self.tokens(usage.input_tokens or 0, usage.output_tokens or 0, **cached)
        return self._clock.claim(call) * self._settings.hourly_price / SECONDS_PER_HOUR

    def tokens(self, read: int, written: int, **cached: int) -> float | None:
        """Return the price of so many tokens in dollars; None if it is unknown, or the server is paid by the hour.

        Args:
            read: Tokens of the request.
            written: Tokens of the reply.
            cached: Which of those read were cheaper, as LiteLLM has it; only its own list knows by how much.
        """
        given = self._settings.input_price, self._settings.output_price
        if self._settings.hourly_price is not None:
            return None
        listed = (None, None) if None not in given else self._list_price(read, written, cached)
        parts = [
            one if price is None else price * count / PER_TOKENS
            for price, count, one in zip(given, (read, written), listed, strict=True)
        ]
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]

    def _list_price(self, read: int, written: int, cached: dict[str, int]) -> tuple[float | None, float | None]:
        if not self._listed:  # looking for what is not there takes LiteLLM longer than the rest of our side of a call
            return None, None
        try:
            found: Any = _litellm().cost_per_token(
                model=self._settings.model, prompt_tokens=read, completion_tokens=written, **cached
            )
        except Exception:  # LiteLLM raises a bare Exception for a model without a price
            self._listed = False
            return None, None
        return float(found[0]), float(found[1])


def server_of(settings: LMSettings) -> tuple[str, ...]:
    """Return what tells an LM's server from others: its addresses, else its provider.

    Example:
        >>> from drpo.serving.settings import LMSettings
        >>> server_of(LMSettings(model="hosted_vllm/llama", api_base="http://127.0.0.1:8000/v1/"))
        ('http://127.0.0.1:8000/v1',)
    """
    bases = (settings.api_base,) if isinstance(settings.api_base, str) else settings.api_base or ()
    return tuple(sorted(base.rstrip("/") for base in bases)) or (settings.model.partition("/")[0],)


_CLOCKS: WeakValueDictionary[tuple[str, ...], ServerClock] = WeakValueDictionary()
_CLOCKS_LOCK = threading.Lock()


def _clock_of(settings: LMSettings) -> ServerClock:
    with _CLOCKS_LOCK:
        return _CLOCKS.setdefault(server_of(settings), ServerClock())


def _litellm() -> Any:
    from .engine import _litellm as imported  # it imports this module

    return imported()
