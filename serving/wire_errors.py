"""What broke on the way to an endpoint, told apart where LiteLLM makes one error of it all.

LiteLLM reports a refused connection, one that breaks, and a body that is no JSON as server errors, or as errors of no
kind. Here each gets its own class, all of them such that DSPy asks again: nothing was wrong with the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dspy import lm15


class MalformedReplyError(lm15.TransportError):  # type: ignore[misc]  # DSPy has no type marker
    """The endpoint answered, with something that is no JSON."""


class UnreachableError(lm15.TransportError):  # type: ignore[misc]
    """Nobody listens at the address, or there is no such host."""


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise errors of DSPy's engines by what broke: to be put around `litellm_errors`."""
    try:
        yield
    except lm15.LM15Error as error:
        kind = _kind(error)
        if kind is None:
            raise
        named = kind(
            error.message, provider=error.provider, status=error.status, request_id=error.request_id,
            retry_after=error.retry_after,
        )  # fmt: skip
        raise named from error.__cause__


def is_unreachable(error: BaseException) -> bool:
    """Tell whether an engine's error is that nobody listens at the address, or that there is no such host."""
    return isinstance(error, UnreachableError) or bool(_names_behind(error) & _UNREACHABLE)


_UNREACHABLE = frozenset(
    {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror", "ClientConnectorError"}
)
_BROKEN = frozenset({"TransportError", "ConnectionError", "ClientConnectionError", "ServerDisconnectedError"})
_ANSWERED = frozenset({"HTTPStatusError", "APIStatusError"})


def _kind(error: lm15.LM15Error) -> Any:
    """Return the class that says what broke, None if the error has it."""
    if error.status == 404 and type(error) is lm15.InvalidRequestError:
        return lm15.UnsupportedModelError  # the address is wrong, which every request will hear
    if type(error) not in (lm15.ServerError, lm15.ProviderError, lm15.TransportError, lm15.TimeoutError):
        return None
    names = _names_behind(error)
    if names & _ANSWERED:  # it said itself what is wrong
        return None
    if names & _UNREACHABLE:
        return UnreachableError
    if type(error) is lm15.TimeoutError:
        return None
    if names & _BROKEN:
        return None if type(error) is lm15.TransportError else lm15.TransportError
    return MalformedReplyError if "JSONDecodeError" in names else None


def _names_behind(error: BaseException) -> set[str]:
    """Return the names of all classes of the errors behind one; LiteLLM's own say what it takes them for.

    By name, since which HTTP client LiteLLM uses differs by provider and by its version.
    """
    names: set[str] = set()
    seen = {id(error)}
    link = error.__cause__ or error.__context__
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if not type(link).__module__.startswith("litellm"):
            names |= {kind.__name__ for kind in type(link).__mro__}
        link = link.__cause__ or link.__context__
    return names
