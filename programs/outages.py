"""What an LM's error means: that the service failed, that it refused one request, or that one call was given up."""

from __future__ import annotations

from dspy.utils.exceptions import LMError, LMInvalidRequestError, LMUnsupportedModelError

_GIVEN_UP = ("call_timeout", "call_failed")  # the codes that `serving/retrying.py` gives


def is_refusal(error: BaseException) -> bool:
    """Tell whether an LM refused one request: it was too long, or its content or its form was not accepted.

    An unknown model is no such case, though DSPy counts it among them: it refuses every request.
    """
    return isinstance(error, LMInvalidRequestError) and not isinstance(error, LMUnsupportedModelError)


def is_given_up(error: BaseException) -> bool:
    """Tell whether the reason of an error is that one call was given up: it came too late, or failed too often.

    It says nothing about other calls, unlike an outage. A program may dress it up as an error of its own, so what an
    error was raised from is looked at too.
    """
    return _is_given_up(_lm_error_in(error))


def outage_in(error: BaseException) -> LMError | None:
    """Return the failure of a service behind an error, None if it has another reason.

    A program may dress the failure up as an error of its own, so what an error was raised from is looked at too.
    """
    found = _lm_error_in(error)
    return None if found is None or is_refusal(found) or _is_given_up(found) else found


def _is_given_up(error: LMError | None) -> bool:
    return error is not None and error.code in _GIVEN_UP


def _lm_error_in(error: BaseException) -> LMError | None:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, LMError):
            return found
        found = found.__cause__ or found.__context__
    return None
