"""Statistics of paired rewards: two programs judged on the same queries under the same criteria."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PairedDifference:
    """How much higher the second of two programs scores."""

    mean: float
    """Mean difference; positive: the second is better."""
    low: float | None
    """Lower end of the 95 % interval; None with fewer than two pairs."""
    high: float | None
    """Upper end of the 95 % interval; None with fewer than two pairs."""
    count: int
    """How many pairs there are; a query where either has no reward makes none."""

    @property
    def significant(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low is not None and self.low > 0


def paired_difference(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int
) -> PairedDifference | None:
    """Return the mean of `second - first` with a bootstrap interval over the queries.

    Args:
        first: The first program's reward per query; None where it is missing.
        second: The second program's, in the same order.
        seed: Seed of the resampling.

    Returns:
        The difference, or None if no query has both rewards.

    Source:
        Efron's percentile bootstrap over items, 9,999 resamples (`scipy.stats.bootstrap`), with the quantiles moved
        outwards as far as Student's t is wider than the normal distribution in a sample of this size: the plain
        percentiles are too narrow in small ones (Hesterberg 2015, "expanded percentile interval").

    Example:
        >>> paired_difference([0.5, 0.25, None], [0.75, 0.5, 1.0], seed=0).mean
        0.25
    """
    differences = [two - one for one, two in zip(first, second, strict=True) if one is not None and two is not None]
    if not differences:
        return None
    mean = sum(differences) / len(differences)
    low, high = mean_interval(differences, seed=seed) or (None, None)
    return PairedDifference(mean, low, high, len(differences))


def mean_interval(values: Sequence[float], *, seed: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean, None with fewer than two values.

    Args:
        values: Independent values.
        seed: Seed of the resampling.

    Source:
        As `paired_difference`.

    Example:
        >>> mean_interval([0.5, 0.5, 0.5], seed=0)
        (0.5, 0.5)
    """
    if len(values) < 2:
        return None
    if len(set(values)) == 1:  # nothing to resample; scipy would warn of a degenerate distribution
        return float(values[0]), float(values[0])
    from scipy import stats

    interval = stats.bootstrap(
        (values,), _mean, method="percentile", confidence_level=_expanded(len(values)), rng=seed
    ).confidence_interval
    return float(interval.low), float(interval.high)


def interval_over(
    count: int, statistic: Callable[[Sequence[int]], float | None], *, seed: int, resamples: int = 999
) -> tuple[float, float] | None:
    """Return the 95 % interval of any statistic of independent groups, such as queries with several judgements each.

    Args:
        count: How many groups there are.
        statistic: Its value from the numbers of the groups that are drawn, some of them several times; None where these
            do not tell.
        seed: Seed of the resampling.
        resamples: How often they are drawn, at least 99.

    Returns:
        The interval; None with fewer than two groups, or if more than one in ten draws does not tell.

    Source:
        As `paired_difference`, with whole groups drawn instead of values (the cluster bootstrap).

    Example:
        >>> interval_over(3, lambda drawn: float(len(drawn)), seed=0)
        (3.0, 3.0)
    """
    if count < 2:
        return None
    import numpy

    draw = numpy.random.default_rng(seed)
    found = [statistic([int(group) for group in draw.integers(count, size=count)]) for _ in range(resamples)]
    told = [value for value in found if value is not None]
    if len(told) < 0.9 * resamples:
        return None
    tail = (1 - _expanded(count)) / 2
    low, high = numpy.quantile(told, [tail, 1 - tail])
    return float(low), float(high)


def _expanded(count: int) -> float:
    """Return the share of resamples that stands for 95 % in a sample of this size, at least 2."""
    from scipy import stats

    quantile = math.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1)
    return 1 - 2 * float(stats.norm.cdf(-quantile))


def share_interval(successes: float, count: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share, None if there is nothing to count.

    Args:
        successes: How many of them, 0 to `count`; halves may stand for ties. The interval is then wider than it need
            be, since a number in [0, 1] varies at most as a yes or no of the same mean does.
        count: Of how many.

    Source:
        Wilson's score interval (1927), which says something sensible of 0 of 20 too.

    Example:
        >>> low, high = share_interval(0, 20)
        >>> round(low, 2), round(high, 2)
        (0.0, 0.16)
    """
    if not count:
        return None
    share, z = successes / count, 1.959964
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_reward(rewards: Sequence[float | None]) -> float | None:
    """Return the mean of the rewards that are there, None if there is none."""
    known = [reward for reward in rewards if reward is not None]
    return sum(known) / len(known) if known else None


def _mean(sample: object, axis: int) -> object:
    import numpy

    return numpy.mean(sample, axis=axis)  # type: ignore[call-overload]
