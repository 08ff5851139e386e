"""What an LM's error means: that the service failed, or that it refused this one request."""

from __future__ import annotations

from dspy.utils.exceptions import LMError, LMInvalidRequestError, LMUnsupportedModelError


def is_refusal(error: BaseException) -> bool:
    """Tell whether an LM refused one request: it was too long, or its content or its form was not accepted.

    An unknown model is no such case, though DSPy counts it among them: it refuses every request.
    """
    return isinstance(error, LMInvalidRequestError) and not isinstance(error, LMUnsupportedModelError)


def outage_in(error: BaseException) -> LMError | None:
    """Return the failure of a service behind an error, None if it has another reason.

    A program may dress the failure up as an error of its own, so what an error was raised from is looked at too.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, LMError):
            return None if is_refusal(found) else found
        found = found.__cause__ or found.__context__
    return None
