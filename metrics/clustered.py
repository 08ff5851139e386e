"""Means of rewards that hang together: several seeds answer the same queries, so queries are what is drawn anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""How often an interval holds the true mean, by default."""


@dataclass(frozen=True)
class ClusteredMean:
    """A mean over all values, with an interval that takes those of one query as one observation."""

    mean: float
    """The mean of all values."""
    low: float | None
    """Lower end of the interval; None with fewer than two queries."""
    high: float | None
    """Upper end of the interval; None with fewer than two queries."""
    count: int
    """How many values there are."""
    queries: int
    """How many queries they belong to."""


def clustered_mean(
    values: Sequence[Sequence[float | None]], *, seed: int, level: float = LEVEL
) -> ClusteredMean | None:
    """Return the mean of values that come in clusters, with a bootstrap interval over the clusters.

    Args:
        values: Query to its values, one per seed; None where one is missing. A query without any does not count.
        seed: Seed of the resampling.
        level: How often the interval is to hold the true mean, above 0 and below 1.

    Returns:
        The mean, or None if there is no value at all.

    Source:
        The cluster bootstrap: whole clusters are drawn with replacement, and the mean is the ratio of their sums
        (Davison and Hinkley 1997, sections 2.4 and 3.8), 9,999 resamples (`scipy.stats.bootstrap`). The quantiles are
        moved outwards for few clusters as in `statistics.paired_difference` (Hesterberg 2015).

    Example:
        >>> clustered_mean([[0.5, 0.25], [0.75, None], []], seed=0).mean
        0.5
    """
    clusters = [known for cluster in values if (known := [value for value in cluster if value is not None])]
    if not clusters:
        return None
    sums, counts = [math.fsum(cluster) for cluster in clusters], [float(len(cluster)) for cluster in clusters]
    number, count = len(clusters), int(sum(counts))
    mean = math.fsum(sums) / count
    if number < 2:
        return ClusteredMean(mean, None, None, count, number)
    if all(math.isclose(total, mean * size, abs_tol=1e-12) for total, size in zip(sums, counts, strict=True)):
        # Nothing to resample; scipy would warn of a degenerate distribution.
        return ClusteredMean(mean, mean, mean, count, number)
    from scipy import stats

    quantile = math.sqrt(number / (number - 1)) * stats.t.ppf((1 + level) / 2, number - 1)
    interval = stats.bootstrap(
        (sums, counts), _ratio, method="percentile", paired=True, rng=seed,
        confidence_level=1 - 2 * float(stats.norm.cdf(-quantile)),
    ).confidence_interval  # fmt: skip
    return ClusteredMean(mean, float(interval.low), float(interval.high), count, number)


def _ratio(sums: object, counts: object, axis: int) -> object:
    import numpy

    return numpy.sum(sums, axis=axis) / numpy.sum(counts, axis=axis)  # type: ignore[call-overload]
