"""Steadiness: what the judge says of the same answer a second time, and how often it says nothing that can be read."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from ..statistics import interval_over, share_interval
from .evidence import Evidence, Kind
from .lights import Bounds, Light, Measure, measure

NOISE = Bounds(0.05, 0.10)
"""Standard deviation of one judgement, in rewards. Two candidates that are judged on 12 common queries then differ by
chance by 0.02 (green) and 0.04 (red): a gain worth having is about 0.05."""
MISSING = Bounds(0.01, 0.05)
"""Share of scores that are missing after a second try. Up to 1 % is a rare hiccup; from 5 % on, which ones are missing
is no longer chance, and most searches would lose some queries altogether."""


def noise_floor(evidence: Evidence, *, seed: int) -> Measure:
    """Return how much one judgement of the same answer differs from the next.

    The standard deviation is sqrt(mean d^2 / 2) over the differences d of two judgements of one answer, the second
    drawn anew (at temperature 0.7 if the judge's own is near 0: what repeats itself is not therefore sure).
    """
    gaps: dict[int, list[float]] = defaultdict(list)
    changed = compared = 0
    for first, again in evidence.twice(Kind.OWN, Kind.OTHER):
        scores = [pair for pair in zip(first.scores, again.scores, strict=True) if None not in pair]
        changed += sum(one != two for one, two in scores)
        compared += len(scores)
        if first.reward is not None and again.reward is not None:
            gaps[first.query].append(first.reward - again.reward)
    queries = list(gaps.values())

    def deviation(drawn: Sequence[int]) -> float | None:
        found = [gap for number in drawn for gap in queries[number]]
        return math.sqrt(sum(gap * gap for gap in found) / len(found) / 2) if found else None

    value = deviation(range(len(queries))) if len(queries) > 1 else None
    share = changed / compared if compared else 0.0
    told = f"Asked again it changes {share:.0%} of its scores; one judgement is off by {value or 0:.3f} of 1"
    return measure(
        "noise", "noise floor", value, interval_over(len(queries), deviation, seed=seed), bounds=NOISE,
        count=sum(map(len, queries)), details={"changed_scores": share},
        says={
            Light.GREEN: f"{told}: small beside the gains that a search looks for.",
            Light.AMBER: f"{told}. Hold out more prompts (data.num_val) to see small gains.",
            Light.RED: f"{told}: as much as a usual gain. Take a steadier judge, or many more prompts.",
        },
    )  # fmt: skip


def missing_rate(evidence: Evidence) -> Measure:
    """Return the share of scores and comparisons that could not be read, the second try included."""
    scores = [score for one in evidence.readings for score in one.scores]
    verdicts = [said for pair in evidence.pairs for said in (pair.duel.forward, pair.duel.backward)]
    count = len(scores) + len(verdicts)
    missing = scores.count(None) + verdicts.count(None)
    value = missing / count if count else None
    told = f"{missing} of {count:,} verdicts could not be read"
    return measure(
        "missing", "missing verdicts", value, share_interval(missing, count), bounds=MISSING, count=count,
        details={"missing": missing},
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Set structured_output: true for the judge if its endpoint can.",
            Light.RED: f"{told}: set structured_output: true, raise max_tokens, or take another judge.",
        },
    )  # fmt: skip
