"""The caps over a whole study, whoever works on it: no compile begins that could take more than is left.

Before a compile its worker writes down what the compile may take at most, then adds up what all compiles of the study
took or may still take. More than the cap: it takes its own line back, and the compile does not begin. As the line is
written before the sum is read, two workers can at worst both step back: the caps are never exceeded by more than the
calls under way, as in a single compile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...serving.caps import RUN, CapKind

KINDS = (CapKind.LM_CALLS, CapKind.TOKENS, CapKind.COST)
"""What a study may be capped in."""
_SPENT = {CapKind.LM_CALLS: "lm_calls", CapKind.TOKENS: "tokens", CapKind.COST: "cost"}
_FIRST, _MARGIN, _PLANNED = 4, 2.0, 1.5
"""Without an earlier compile to go by a quarter of the cap, else twice the most that one took; in calls, one and a half
times that or the plan."""

Bounds = dict[CapKind, float]
"""What a compile may take at most."""


def bounds(
    caps: Mapping[CapKind, float], *, own: Mapping[str, Any], expected: int | None, folds: Iterable[Mapping[str, Any]]
) -> Bounds:
    """Return what a compile is to take at most, so that the caps of the study can hold; nothing without caps.

    Args:
        caps: The study's.
        own: The caps that the config gives each compile.
        expected: Calls that it is planned to make. None: unknown.
        folds: What the compiles before it took.

    Example:
        >>> bounds({CapKind.LM_CALLS: 5000}, own={}, expected=400, folds=[])
        {<CapKind.LM_CALLS: 'max_lm_calls'>: 600}
    """
    found: Bounds = {}
    before = list(folds)
    for kind, cap in caps.items():
        most = max((fold[_SPENT[kind]] or 0 for fold in before), default=0)
        if kind is CapKind.LM_CALLS and expected is not None:
            bound = _PLANNED * max(expected, most)
        else:
            bound = _MARGIN * most if most else cap / _FIRST
        if kind is not CapKind.COST:
            bound = math.ceil(bound)
        limit = own_cap(own, kind)
        found[kind] = bound if limit is None else min(bound, limit)
    return found


def own_cap(own: Mapping[str, Any], kind: CapKind) -> float | None:
    """Return the cap over all roles that a config gives each compile."""
    value = own.get(kind.value)
    return value.get(RUN) if isinstance(value, Mapping) else value


def with_bounds(own: Mapping[str, Any], given: Bounds) -> dict[str, Any]:
    """Return the caps of a compile: the config's, and the bounds over all roles where those are lower."""
    merged = dict(own)
    for kind, bound in given.items():
        limit, value = own_cap(own, kind), own.get(kind.value)
        if limit is None or bound < limit:
            merged[kind.value] = {**value, RUN: bound} if isinstance(value, Mapping) else bound
    return merged


def exceeded(caps: Mapping[CapKind, float], uses: Iterable[Mapping[str, Any]]) -> str | None:
    """Return which cap the study would exceed, in words; None if it keeps all.

    Args:
        caps: The study's.
        uses: What each compile took or may still take.
    """
    every = list(uses)
    for kind, cap in caps.items():
        amounts = [use[_SPENT[kind]] for use in every]
        if None in amounts:
            return f"tune.{kind}={cap:g}: a call has no known price; give the LM a price, or cap tune.max_lm_calls"
        if sum(amounts) > cap:
            return f"tune.{kind}={cap:g} leaves no room for another compile"
    return None


def reserved(given: Bounds) -> dict[str, float]:
    """Return bounds under the names that uses have."""
    return {_SPENT[kind]: given.get(kind, 0) for kind in KINDS}
