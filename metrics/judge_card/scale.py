"""The scale: whether the judge uses it, or gives the same to everything."""

from __future__ import annotations

from collections import Counter

from ..statistics import share_interval
from .evidence import Evidence, Kind
from .lights import Bounds, Light, Measure, measure

SAMENESS = Bounds(0.75, 0.90)
"""Share of all scores, those of broken-off and off-topic answers and canaries included, that are one and the same
number. Two in seven answers are bad by construction, and canaries come on top, so nine in ten equal scores tell
nothing apart."""
TIES = Bounds(0.50, None)
"""Share of queries whose two samples get the same reward. Up to half is usual (35 % of the published sibling triples
tie); it costs information, but is no fault: never red."""
CEILING = Bounds(0.50, None)
"""Share of the task model's answers with full marks. 36 to 40 % is usual in the published runs; above half there is
little left to gain, which may be the truth about the answers: never red."""


def sameness(evidence: Evidence) -> Measure:
    """Return how many of all scores are the judge's favourite one."""
    scores = Counter(score for one in evidence.readings for score in one.scores if score is not None)
    count = sum(scores.values())
    favourite, often = scores.most_common(1)[0] if scores else (0, 0)
    value = often / count if count else None
    told = f"{often / max(1, count):.0%} of all its scores are {favourite}, those of bad answers included"
    return measure(
        "sameness", "always the same", value, share_interval(often, count), bounds=SAMENESS, count=count,
        details={"favourite": favourite, "scores": {str(score): scores[score] for score in range(1, 6)}},
        says={
            Light.GREEN: f"It uses its scale: {favourite} is the most frequent score, in {often / max(1, count):.0%}.",
            Light.AMBER: f"{told}. Give criteria with stricter anchors, or take a stricter judge.",
            Light.RED: f"{told}: it tells nothing apart. Take another judge.",
        },
    )  # fmt: skip


def ties(evidence: Evidence) -> Measure:
    """Return how often two samples of the task model get exactly the same reward."""
    pairs = [
        (own, other)
        for query in evidence.queries
        if (own := evidence.reward(Kind.OWN, query)) is not None
        and (other := evidence.reward(Kind.OTHER, query)) is not None
    ]
    tied = sum(own == other for own, other in pairs)
    told = f"Two samples of the task model tie on {tied} of {len(pairs)} prompts"
    return measure(
        "ties", "ties", tied / len(pairs) if pairs else None, share_interval(tied, len(pairs)), bounds=TIES,
        count=len(pairs), decides=False,
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}: the search learns nothing there; take harder prompts or more criteria, or a judge "
            "that tells more answers apart.",
        },
    )  # fmt: skip


def ceiling(evidence: Evidence) -> Measure:
    """Return how many of the task model's answers have full marks on every criterion."""
    rewards = [
        reward
        for query in evidence.queries
        for kind in (Kind.OWN, Kind.OTHER)
        if (reward := evidence.reward(kind, query)) is not None
    ]
    full = sum(reward >= 1 for reward in rewards)
    told = f"{full} of {len(rewards)} answers of the task model have full marks already"
    return measure(
        "ceiling", "ceiling", full / len(rewards) if rewards else None, share_interval(full, len(rewards)),
        bounds=CEILING, count=len(rewards), decides=False,
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}: little is left to gain on these prompts; take harder ones, or a stricter judge.",
        },
    )  # fmt: skip
