"""What a run may still spend: the caps, read before each step, so that enough is left for the final selection."""

from __future__ import annotations

import math

from ..serving.roles import Meter


class Budget:
    """Calls that are left under the caps of a run.

    Tokens and money are turned into calls by what a call took so far.

    Args:
        meter: The run's counter, with its caps.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    @property
    def left(self) -> float:
        """How many calls the tightest cap leaves, infinity without one."""
        meter = self._meter
        calls = meter.totals("calls")
        cost = sum(usage.cost or 0.0 for usage in meter.usage.values())
        left = math.inf if meter.max_lm_calls is None else float(meter.max_lm_calls - calls)
        for cap, spent in ((meter.max_tokens, meter.totals("tokens")), (meter.max_cost, cost)):
            if cap is not None and spent > 0:
                left = min(left, calls * (cap - spent) / spent)
        return max(0.0, left)

    def share(self, expected: int) -> float:
        """Return by what a plan of so many calls has to shrink to fit, 0 to 1; 1 if there is no cap on calls."""
        cap = self._meter.max_lm_calls
        return 1.0 if cap is None or cap >= expected else cap / expected
