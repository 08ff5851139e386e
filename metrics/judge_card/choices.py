"""Choices: whether the criteria that the judge is asked about were chosen, or fell back to the usual ones."""

from __future__ import annotations

from ..ledger import Source
from ..statistics import share_interval
from .evidence import Evidence
from .lights import Bounds, Light, Measure, measure

FALLBACKS = Bounds(0.05, 0.30)
"""Share of prompts whose criteria could not be read, so that the static ones judge them. From 0.30 on, the reward is
dynamic in name only."""


def criteria_choice(evidence: Evidence) -> Measure:
    """Return how often no choice of criteria could be read."""
    count = len(evidence.sources)
    failed = evidence.sources.count(Source.FALLBACK)
    told = f"The criteria of {failed} of {count} prompts could not be read"
    return measure(
        "criteria_choice", "choice of criteria", failed / count if count else None, share_interval(failed, count),
        bounds=FALLBACKS, count=count, details={str(source): evidence.sources.count(source) for source in Source},
        says={
            Light.GREEN: f"{told}." if failed else f"Criteria were found for all {count} prompts.",
            Light.AMBER: f"{told}: they are judged by the usual five. Look at ledger.json.",
            Light.RED: f"{told}: take another criteria model (lms.criteria), or set reward.dynamic: false.",
        },
    )  # fmt: skip
