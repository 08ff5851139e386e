"""What an LM's error means: that the service failed, that it refused one request, or that one reply came too late."""

from __future__ import annotations

from dspy.utils.exceptions import LMError, LMInvalidRequestError, LMTimeoutError, LMUnsupportedModelError


def is_refusal(error: BaseException) -> bool:
    """Tell whether an LM refused one request: it was too long, or its content or its form was not accepted.

    An unknown model is no such case, though DSPy counts it among them: it refuses every request.
    """
    return isinstance(error, LMInvalidRequestError) and not isinstance(error, LMUnsupportedModelError)


def is_timeout(error: BaseException) -> bool:
    """Tell whether the reason of an error is that a run's patience with one call was over.

    It says nothing about other calls, unlike a time-out that the endpoint reports after all retries, which is an
    outage. A program may dress it up as an error of its own, so what an error was raised from is looked at too.
    """
    return _is_late(_lm_error_in(error))


def outage_in(error: BaseException) -> LMError | None:
    """Return the failure of a service behind an error, None if it has another reason.

    A program may dress the failure up as an error of its own, so what an error was raised from is looked at too.
    """
    found = _lm_error_in(error)
    return None if found is None or is_refusal(found) or _is_late(found) else found


def _is_late(error: BaseException | None) -> bool:
    return isinstance(error, LMTimeoutError) and error.code == "call_timeout"  # the code that `serving/roles.py` gives


def _lm_error_in(error: BaseException) -> LMError | None:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, LMError):
            return found
        found = found.__cause__ or found.__context__
    return None
