"""Means with error bars, for pages that show thousands of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any


def interval_of(values: Sequence[float], *, low: float = -math.inf, high: float = math.inf) -> dict[str, Any] | None:
    """Return a mean with its 95 % interval as plain data: `mean`, `low`, `high`, `count`; None without values.

    Student's interval, since a page shows one for each candidate and criterion; the decision of a run has the bootstrap
    interval of `metrics/statistics.py`. `low` and `high` are None where one value tells nothing of the spread.

    Args:
        values: Numbers of any unit.
        low: Lowest value of the scale, which the interval does not pass.
        high: Highest value of the scale.

    Example:
        >>> interval_of([0.5, 0.5])
        {'mean': 0.5, 'low': 0.5, 'high': 0.5, 'count': 2}
        >>> interval_of([0.25])
        {'mean': 0.25, 'low': None, 'high': None, 'count': 1}
    """
    count = len(values)
    if not count:
        return None
    mean = sum(values) / count
    if count == 1:
        return {"mean": _short(mean), "low": None, "high": None, "count": 1}
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    half = _quantile(count - 1) * math.sqrt(variance / count)
    ends = max(low, mean - half), min(high, mean + half)
    return {"mean": _short(mean), "low": _short(ends[0]), "high": _short(ends[1]), "count": count}


def _short(number: float) -> float:
    return round(number, 5)  # a page of thousands of them need not carry their noise


@cache
def _quantile(freedom: int) -> float:
    from scipy import special  # the same number as `stats.t.ppf`, which takes a second to import

    return float(special.stdtrit(freedom, 0.975))
