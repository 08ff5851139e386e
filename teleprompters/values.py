"""The value of a candidate: how much better than the seed it is, estimated from all its judgements at once.

Rewards of different queries do not compare: 78 % of their variance is the query's (algorithm, section 8). So a reward
is read as a sum of what the query gives to everybody and what the candidate adds,

    r(c, q) = b(q) + v(c) + noise,       v(seed) = 0,       v(c) ~ Normal(v(parent of c), sigma^2 / shrinkage)

and b and v are estimated together. A candidate judged on few queries stays near its parent; one judged on many goes its
own way. Without shrinkage the best of many noisy means is mostly the luckiest one.

Source: best linear unbiased prediction in a mixed model (Henderson 1975), with the tree of rewrites as the prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHRINKAGE = 6.0
"""How many judgements a candidate's parent counts for: noise variance over the variance of one rewrite's effect."""


def shrunken_values(
    rewards: Mapping[tuple[int, int], float], parents: Sequence[int | None], *, shrinkage: float = SHRINKAGE
) -> list[float]:
    """Return the value of each candidate relative to the first, to nine digits, so that equals are equal.

    Args:
        rewards: (candidate, query) to the reward, in any unit; missing judgements are left out.
        parents: For each candidate the number of its parent, None for one without. The first is the seed.
        shrinkage: How many judgements the parent counts for, above 0.

    Example:
        >>> rewards = {(0, 0): 0.2, (0, 1): 0.8, (1, 0): 0.6, (1, 1): 0.8}
        >>> [round(value, 2) for value in shrunken_values(rewards, [None, 0], shrinkage=2.0)]
        [0.0, 0.07]
    """
    import numpy

    if not rewards:
        return [0.0] * len(parents)
    size = len(parents)
    column = {query: size + place for place, query in enumerate(sorted({query for _, query in rewards}))}
    normal, right = numpy.zeros((size + len(column),) * 2), numpy.zeros(size + len(column))
    for (candidate, query), reward in sorted(rewards.items()):
        pair = [candidate, column[query]]
        normal[numpy.ix_(pair, pair)] += 1.0
        right[pair] += reward
    for candidate, parent in enumerate(parents):
        if candidate == 0 or parent is None:  # the seed is the origin, and so is the parent of an orphan
            normal[candidate, candidate] += _FIXED if candidate == 0 else shrinkage
        else:
            pair = [candidate, parent]
            normal[numpy.ix_(pair, pair)] += shrinkage * numpy.array([[1.0, -1.0], [-1.0, 1.0]])
    values = numpy.linalg.solve(normal, right)[:size]
    return [round(float(value - values[0]), 9) for value in values]


_FIXED = 1e9
