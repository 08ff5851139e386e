"""What a run may still spend: the caps, read before each step, so that enough is left for the final selection."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..serving.caps import Cap, CapKind
from ..serving.meter import Meter
from ..serving.roles import Role

Calls = Mapping[Role, float]
"""How many calls of each role a step of a run makes."""


def together(*steps: Calls) -> dict[Role, float]:
    """Return the calls of several steps."""
    return {role: sum(step.get(role, 0.0) for step in steps) for role in Role}


def times(number: float, step: Calls) -> dict[Role, float]:
    """Return the calls of a step that is made so often."""
    return {role: number * calls for role, calls in step.items()}


class Budget:
    """What is left under the caps of a run, in steps that the search may make.

    Tokens, money and seconds of a step are what the roles' calls took so far.

    Args:
        meter: The run's counter, with its caps.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    @property
    def unlimited(self) -> bool:
        """Whether there is no cap."""
        return not self._meter.caps

    def fits(self, step: Calls, *, besides: Calls | None = None) -> float:
        """Return how often a step fits into what is left, infinity if no cap bounds it; below 1: not at all.

        Args:
            step: What is to be repeated.
            besides: What has to be paid for as well, once.
        """
        return min([math.inf, *(self._fits(cap, step, besides or {}) for cap in self._meter.caps)])

    def tightest(self, step: Calls) -> Cap:
        """Return the cap that a step fits into least often; there is at least one cap."""
        return min(self._meter.caps, key=lambda cap: self._fits(cap, step, {}))

    def share(self, expected: Calls) -> float:
        """Return by what a plan has to shrink to fit the caps on calls, 0 to 1; 1 if there is none."""
        needed = ((cap, self._need(cap, expected)) for cap in self._meter.caps if cap.kind is CapKind.LM_CALLS)
        return min([1.0, *(cap.limit / need for cap, need in needed if need > 0)])

    def _fits(self, cap: Cap, step: Calls, besides: Calls) -> float:
        used, each = self._meter.used(cap), self._need(cap, step)
        if used is None:  # no price is known, so the next call will be refused
            return 0.0
        return max(0.0, cap.limit - used - self._need(cap, besides)) / each if each > 0 else math.inf

    def _need(self, cap: Cap, step: Calls) -> float:
        """Return how much of what a cap bounds a step takes; 0 while nothing is known of it."""
        roles = [role for role in Role if cap.role in (None, role)]
        if cap.kind is CapKind.LM_CALLS:
            return sum(step.get(role, 0.0) for role in roles)
        if cap.kind is CapKind.SECONDS and cap.role is None:  # calls overlap: what a call of any role takes of the run
            made = self._meter.totals("calls") - self._meter.totals("replayed")
            return sum(step.values()) * self._meter.elapsed / made if made else 0.0
        name = {CapKind.TOKENS: "tokens", CapKind.COST: "cost", CapKind.SECONDS: "seconds"}[cap.kind]
        usage = self._meter.usage
        spent = sum(getattr(usage[role], name) or 0.0 for role in roles)
        calls = sum(usage[role].calls for role in roles)
        return sum(
            step.get(role, 0.0) * (getattr(usage[role], name) or 0.0) / usage[role].calls
            if usage[role].calls
            else step.get(role, 0.0) * (spent / calls if calls else 0.0)
            for role in roles
        )
