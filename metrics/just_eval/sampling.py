"""A part of a suite that stands for the whole: drawn by a seed, each group in proportion."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def stratified(items: Sequence[T], groups: Sequence[Hashable], *, limit: int | None, seed: int) -> list[T]:
    """Return so many items, in their order, each group in proportion to its size (largest remainders).

    Args:
        items: What is drawn from.
        groups: The group of each.
        limit: How many are drawn, at least 1. None, or as many as there are: all.
        seed: Which ones are drawn.

    Example:
        >>> stratified("aaaaaaaabb", "aaaaaaaabb", limit=5, seed=0)
        ['a', 'a', 'a', 'a', 'b']
    """
    if limit is None or limit >= len(items):
        return list(items)
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    shares = {group: limit * len(members) / len(items) for group, members in places.items()}
    counts = {group: int(share) for group, share in shares.items()}
    by_remainder = sorted(shares, key=lambda group: counts[group] - shares[group])  # stable: the first group first
    for group in by_remainder[: limit - sum(counts.values())]:
        counts[group] += 1
    draw = random.Random(f"sample {seed}")
    chosen = {place for group, members in places.items() for place in draw.sample(members, counts[group])}
    return [item for place, item in enumerate(items) if place in chosen]
