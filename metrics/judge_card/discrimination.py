"""Discrimination: whether an answer scores above what is surely worse than it."""

from __future__ import annotations

from collections.abc import Sequence

from ..statistics import interval_over
from .evidence import Evidence, Kind
from .lights import Bounds, Light, Measure, measure

TOLD = Bounds(0.90, 0.75)
"""Chance that the answer scores above the bad one, ties counted half: 0.5 is a coin. Both cases are easy for a person;
a judge below 0.75 misses every second one."""
DECENT = 0.6
"""Reward from which an answer counts as one that a bad one can be told from. What the judge itself thinks poor may be
no better than its own first words."""
ENOUGH = 5
"""Prompts that it takes to say something."""

_WHAT = {
    Kind.OFF_TOPIC: ("off_topic", "tells off-topic answers", "an answer to another prompt"),
    Kind.BROKEN_OFF: ("broken_off", "tells broken-off answers", "an answer broken off after some words"),
}


def discrimination(evidence: Evidence, kind: Kind, *, seed: int) -> Measure:
    """Return how often an answer scores above a bad version of it.

    Args:
        evidence: What was judged.
        kind: Which bad version: `OFF_TOPIC` or `BROKEN_OFF`.
        seed: Seed of the interval.

    The prompts are chosen by one judgement of the answer (`DECENT`) and compared by the other one, drawn anew, so that
    luck in the first does not count for the second.
    """
    name, title, what = _WHAT[kind]
    points = []
    for query in evidence.queries:
        chosen = evidence.reward(Kind.OWN, query)
        own, bad = evidence.reward(Kind.OWN, query, sample=1), evidence.reward(kind, query)
        if chosen is not None and chosen >= DECENT and own is not None and bad is not None:
            points.append(1.0 if own > bad else 0.5 if own == bad else 0.0)

    def mean(drawn: Sequence[int]) -> float:
        return sum(points[number] for number in drawn) / len(drawn)

    value = mean(range(len(points))) if len(points) >= ENOUGH else None
    told = f"It scores the whole answer above {what} on {sum(points):g} of {len(points)} prompts"
    return measure(
        name, title, value, interval_over(len(points), mean, seed=seed), bounds=TOLD, count=len(points),
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Look at the judgements of short and strange answers in trace.md.",
            Light.RED: f"{told}: it cannot tell good from bad here. Take a stronger judge.",
        },
        unmeasured=f"The judge thinks fewer than {ENOUGH} of the answers decent, so there is little to tell apart.",
    )  # fmt: skip
