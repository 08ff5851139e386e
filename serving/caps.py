"""The caps of a run: in calls, tokens, dollars or seconds, over all roles together or for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from ..errors import ConfigError
from .roles import Role

RUN = "run"
"""The key of the cap over all roles together, where a cap is given as a mapping."""


class CapKind(StrEnum):
    """What is bounded; the values are the names of the arguments."""

    LM_CALLS = "max_lm_calls"
    """Requests sent, failed ones included."""
    TOKENS = "max_tokens"
    """Tokens read and written, as the servers count them."""
    COST = "max_cost"
    """Dollars."""
    SECONDS = "max_seconds"
    """Over all: seconds since the run began or was resumed. For a role: the sum of its calls' durations."""


@dataclass(frozen=True)
class Cap:
    """One cap."""

    kind: CapKind
    """What is bounded."""
    limit: float
    """How much of it may be used."""
    role: Role | None = None
    """Whose use is bounded; None: that of all roles together."""

    def __str__(self) -> str:
        limit = f"{self.limit:g}" if self.limit < 1e6 else f"{self.limit:.0f}"
        return f"{self.kind}={limit}" if self.role is None else f"{self.kind}[{self.role}]={limit}"


CapValue = float | Mapping[str, float] | None
"""How a cap is given: a number over all roles; or a mapping of `task`, `judge`, `criteria`, `prompt` or `run`."""


def caps_of(values: Mapping[str, CapValue]) -> tuple[Cap, ...]:
    """Return the caps that arguments describe.

    Args:
        values: Argument name to its value; None: no cap.

    Raises:
        ConfigError: If a value is no number of at least 1 (calls, tokens) or 0 (dollars, seconds), or a role unknown.

    Example:
        >>> [str(cap) for cap in caps_of({"max_lm_calls": 400, "max_cost": {"judge": 2.5}, "max_tokens": None})]
        ['max_lm_calls=400', 'max_cost[judge]=2.5']
    """
    return tuple(
        Cap(CapKind(name), _checked(name, scope, limit), None if scope == RUN else Role(scope))
        for name, value in values.items()
        if value is not None
        for scope, limit in _scopes(name, value).items()
    )


def _scopes(name: str, value: CapValue) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        return {RUN: value}  # type: ignore[dict-item]  # checked next
    known = (RUN, *map(str, Role))
    for scope in value:
        if scope not in known:
            raise ConfigError(f"{name}={dict(value)!r}: {scope!r} is no role; choose of {', '.join(known)}")
    return value


def _checked(name: str, scope: str, limit: float) -> float:
    whole = name in (CapKind.LM_CALLS, CapKind.TOKENS)
    lowest = 1 if whole else 0
    if isinstance(limit, bool) or not isinstance(limit, int if whole else (int, float)) or not lowest <= limit < inf:
        where = name if scope == RUN else f"{name}[{scope!r}]"
        raise ConfigError(f"{where}={limit!r}: give {'a whole' if whole else 'a'} number of at least {lowest}, or None")
    return limit
