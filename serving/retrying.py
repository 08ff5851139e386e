"""Whether and when a call that failed is tried again, and what becomes of it if not: the kind of error decides.

    too many requests      after as long as the endpoint says, else after longer and longer waits; as often as it takes
    hiccup, broken line    after longer and longer waits, as often as the LM's `num_retries` allow
    too late (our limit)   once more
    refused                never: another try would be refused as well
    wrong key, no credit,  never, and nothing further is sent: every call of the run would fail
      unknown model

Once a call has used up its retries, others tell what it means. If the endpoint answered any of them since the last
retry, it is this call that cannot be answered: it is given up, and its judgement is missing. So it is if the error may
be of its own making (`may_be_its_own`) and others were answered since its first try. Else it is an outage: all calls
wait until one is answered or the patience with an outage is over, which ends the run. Only if the last call that is
left may have itself to blame, it is given up then, and the next one tells.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum

from dspy.clients.errors import wrap_error
from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMError,
    LMInvalidRequestError,
    LMLockTimeoutError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedModelError,
)

from .services import Service
from .wire_errors import MalformedReplyError, is_unreachable

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds that the first wait is at most, and any: each is drawn between 0 and a bound that doubles every time."""

PATIENCE = 300.0
"""Seconds that an outage is waited for if nothing else is said."""

UNANSWERED_PATIENCE = 10.0
"""Seconds for an address at which nobody has ever listened: most likely it is mistyped."""

LATE, GIVEN_UP = "call_timeout", "call_failed"
"""Codes of the errors of one call that is given up: it came too late, or failed too often. `programs/outages.py` knows
them."""

_MEANWHILE = "and answered others meanwhile"

_BRIEF = 3  # waits that an endpoint may ask to be short; after so many in a row it does not know its own load

_random = random.Random()  # of its own: nobody's seed is used up, and no seed makes all clients wait alike


class Trouble(StrEnum):
    """What an error says of the calls to come."""

    LIMITED = "limited"
    """There were too many; the endpoint lives."""
    PASSING = "passing"
    """The same call may go through later."""
    LATE = "late"
    """The limit of the run for one call was reached; it may be this call's own matter."""
    REFUSED = "refused"
    """This call will never be answered; others will."""
    LASTING = "lasting"
    """No call will be answered before a person has changed something."""
    UNKNOWN = "unknown"
    """Nothing: an engine's own failure, for example."""


_PASSING = (LMTimeoutError, LMServerError, LMTransportError, LMLockTimeoutError)


def trouble_of(error: Exception) -> Trouble:
    """Return what an error of an engine says of the calls to come."""
    known = wrap_error(error, model="")
    if isinstance(known, (LMAuthError, LMBillingError, LMUnsupportedModelError)):
        return Trouble.LASTING
    if isinstance(known, LMRateLimitError):
        return Trouble.LIMITED
    if isinstance(known, _PASSING):
        return Trouble.LATE if known.code == LATE else Trouble.PASSING
    if isinstance(known, LMInvalidRequestError):
        return Trouble.REFUSED
    if type(known) is LMProviderError and not 400 <= (known.status or 0) < 500:
        return Trouble.PASSING  # a body that is no JSON, for example
    return Trouble.UNKNOWN


def may_be_its_own(error: Exception) -> bool:
    """Tell whether an error may be of the call's own making: the endpoint is there and took the request, but failed."""
    known = wrap_error(error, model="")
    late = isinstance(known, LMTimeoutError) and not is_unreachable(error)
    return late or isinstance(error, MalformedReplyError) or (isinstance(known, LMServerError) and known.status == 500)


@dataclass(frozen=True)
class Next:
    """What follows a try that failed."""

    wait: float = 0.0
    """Seconds until the next try, if there is one."""
    error: Exception | None = None
    """What is raised in its place; None: there is a next try."""
    given_up: bool = False
    """Whether only this call is given up."""
    for_good: bool = False
    """Whether a resumed run is not to ask again either: the endpoint answered others, so it is this call's matter."""
    ends_run: bool = False
    """Whether nothing further is to be sent."""
    too_many: bool = False
    """Whether the endpoint refused the try because it had too many."""


class Tries:
    """The tries of one call.

    Args:
        service: Who is asked; it is told what becomes of each try.
        who: What messages call the LM, `the judge LM` for example.
        retries: How often it is tried again, at least 0. With 0 it is asked once, whatever happens.
        endpoints: Among how many the engine chooses. Those that are left are tried at once, beyond `retries`.
        patience: Seconds that an outage is waited for, at least 0.
    """

    def __init__(self, service: Service, *, who: str, retries: int, endpoints: int = 1, patience: float) -> None:
        self._service, self._who, self._retries, self._patience = service, who, retries, patience
        self._endpoints = endpoints
        self._mark = self._seen = service.answers
        self._answered_lately = False  # somebody else, between the last failure and the one before
        self._number = self._limited = self._passing = self._late = self._elsewhere = 0
        self._limited_since = 0.0
        self._in_outage = self._recovered = False

    @property
    def longest(self) -> float | None:
        """Return how many seconds the next try may take at most, during an outage; None: as many as any."""
        silence = self._service.silence
        return None if silence is None or not self._retries else max(0.01, self._patience - silence)

    def failed(self, error: Exception) -> Next:
        """Return what follows a try that came back with an error."""
        self._number += 1
        trouble = trouble_of(error)
        return replace(self._after(error, trouble), too_many=trouble is Trouble.LIMITED)

    def _after(self, error: Exception, trouble: Trouble) -> Next:
        if trouble is Trouble.REFUSED:
            self._service.answered()
        if trouble in (Trouble.LIMITED, Trouble.PASSING):
            self._service.failed()
            if getattr(error, "elsewhere", False) and self._elsewhere < self._endpoints - 1:
                self._elsewhere += 1
                return Next()
            self._elsewhere = 0
            self._answered_lately = self._service.answers > self._seen
            self._seen = self._service.answers
        if trouble is Trouble.LASTING:
            return Next(error=error, ends_run=True)
        if trouble in (Trouble.REFUSED, Trouble.UNKNOWN):
            return Next(error=error)
        if not self._retries:
            return self._too_late(error) if trouble is Trouble.LATE else Next(error=error)
        silence, patience = self._service.silence, self._patience_with(error)
        left = None if silence is None else patience - silence - _margin(patience)
        if silence is not None and left is not None and left <= 0.001:  # a wait may end a moment early
            if may_be_its_own(error) and self._service.spare():
                return self._given_up(error, f"in {silence:.0f} s, in which nobody was answered", for_good=False)
            return self._outage(error, "has answered nobody for {silence}, as long as an outage is waited for")
        if trouble is Trouble.LATE:
            return self._after_late(error)
        return self._after_failure(error, trouble, left)

    def _after_late(self, error: Exception) -> Next:
        self._late += 1
        return Next() if self._late == 1 else self._too_late(error)

    def _too_late(self, error: Exception) -> Next:
        return Next(error=error, given_up=True, for_good=self._others_are_answered)

    def _after_failure(self, error: Exception, trouble: Trouble, left: float | None) -> Next:
        told = getattr(error, "retry_after", None)
        if told is not None and left is not None and told > left:
            return self._outage(error, f"asks for a wait of {told:g} s, longer than an outage is waited for")
        if trouble is Trouble.LIMITED:
            self._limited += 1
            if self._limited == 1:
                self._limited_since = self._service.clock()
            elif self._others_are_answered and self._service.clock() - self._limited_since > self._patience:
                return self._given_up(error, _MEANWHILE)  # it is too large for the endpoint, for example
            wait = _drawn(self._limited - 1) if told is None else told
            if told is not None and self._limited > _BRIEF:
                wait = max(told, _drawn(self._limited - 1 - _BRIEF))
        else:
            if self._passing >= self._retries and (end := self._used_up(error)) is not None:
                return end
            self._passing += 1
            wait = _drawn(self._passing - 1) if told is None else told
        return Next(wait=wait if left is None or told is not None else min(wait, left))

    def _used_up(self, error: Exception) -> Next | None:
        """Return the end of a call whose retries are used up; None: it goes on, in an outage or after one."""
        # A service that goes down answers calls under way after the first ones have failed: so answers before the last
        # wait say nothing of a connection that is refused.
        if not self._answered_lately and not (self._others_are_answered and may_be_its_own(error)):
            self._in_outage = True
            self._warn(error, self._patience)
            return None
        if self._in_outage and not self._recovered:  # it is just back, and may stumble
            self._in_outage, self._recovered, self._passing = False, True, 0
            return None
        return self._given_up(error, _MEANWHILE)

    def _given_up(self, error: Exception, how: str, *, for_good: bool = True) -> Next:
        text = (
            f"{self._who} failed {self._number} times on this call {how}, so it is given up; "
            f"the last error: {_said(error)}"
        )
        return Next(error=given_up(GIVEN_UP, text), given_up=True, for_good=for_good)

    @property
    def _others_are_answered(self) -> bool:
        return self._service.answers > self._mark

    def _patience_with(self, error: Exception) -> float:
        """Return the seconds that the service may be silent."""
        if self._service.answers or not is_unreachable(error):
            return self._patience
        patience = min(self._patience, UNANSWERED_PATIENCE)
        self._warn(error, patience)
        return patience

    def _warn(self, error: Exception, patience: float) -> None:
        self._service.warn(f"gives no answer to {self._who}; it is asked again for {patience:g} s: {_said(error)}")

    def _outage(self, error: Exception, what: str) -> Next:
        name, silence = self._service.name, f"{self._service.silence or 0:.0f} s"
        if is_unreachable(error) and not self._service.answers:
            text = f"nobody listens at {name}, nor did in {silence}: check whether {self._who} runs, and its api_base. "
        else:
            text = f"{name} {what.format(silence=silence)}; {self._who} is needed, so the run ends. "
            text += "Once it is back, run again: with the same log_dir nothing that was answered is asked again. "
        return Next(error=_error(error, f"{text}The last error: {_said(error)}"), ends_run=True)


def _margin(patience: float) -> float:
    """Return the seconds before the end of a patience in which no further try begins: it takes some time itself."""
    return min(5.0, patience / 10)


def _drawn(number: int) -> float:
    return _random.uniform(0.0, min(FIRST_WAIT * 2 ** min(number, 30), LONGEST_WAIT))


def given_up(code: str, message: str, *, model: str | None = None) -> LMError:
    """Return the error of a call that is given up.

    Args:
        code: `LATE` or `GIVEN_UP`.
        message: Why.
        model: Whose call it is.
    """
    made: LMError = (LMTimeoutError if code == LATE else LMProviderError)(message, code=code, model=model)
    return made


def _error(error: Exception, message: str) -> LMError:
    """Return an error of the same kind with another message."""
    known = wrap_error(error, model="")
    kinds = (LMRateLimitError, *_PASSING, LMProviderError)
    kind = next(kind for kind in kinds if isinstance(known, kind))
    told = {name: getattr(known, name) for name in ("provider", "provider_code", "status", "request_id", "retry_after")}
    made: LMError = kind(message, model=known.model or None, **told)
    made.__cause__ = error
    return made


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
