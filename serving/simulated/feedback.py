"""Reading feedback: which criteria it finds wanting, and what it says is missing.

Scores beside a criterion's name are read wherever they stand ("Clarity: 3 of 5", `"Clarity": 3`, "Clarity - 3/5").
Feedback without such scores is read by meaning: complaints about a facet, by the words of the lexicon.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from .facets import BY_NAME, CRITERIA, FACETS
from .lexicon import read_guidance

_MARKED = re.compile(r"<<(query|answer|instruction|error) ([0-9a-f]{8})>>.*?<</\1 \2>>", re.S)
_SCORED = re.compile(
    r"\b("
    + "|".join(name.replace("-", "[- ]?") for name in CRITERIA)
    + r")\b[\"'`*]*\s*(?:[:=\u2013-]|is|got|scored)\s*[\"']?([1-5])(?:\.0)?\b(?!\d)",
    re.IGNORECASE,
)
_COMPLAINS = re.compile(
    r"\b(?:lack|miss|no\b|not\b|n't|too |should|could|needs?|fails?|without|poor|weak|instead|more )", re.IGNORECASE
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
_CANONICAL = {name.casefold().replace("-", ""): name for name in CRITERIA}


@dataclass(frozen=True)
class Weaknesses:
    """What feedback finds wanting."""

    deficits: dict[str, float]
    """Criterion to how many levels it falls short of 5, greatest first; those without fault are left out."""
    facets: tuple[str, ...]
    """Facets that are named as missing."""
    informed: bool
    """Whether the feedback said anything that can be used, praise included."""


def read_weaknesses(text: str) -> Weaknesses:
    """Return what a feedback text finds wanting.

    Example:
        >>> read_weaknesses("- Depth: 2 of 5. It gives no example and no specifics.").facets
        ('examples',)
    """
    said = _MARKED.sub(" ", text)
    scores: dict[str, list[int]] = defaultdict(list)
    for name, score in _SCORED.findall(said):
        scores[_CANONICAL[re.sub(r"[- ]", "", name.casefold())]].append(int(score))
    lowered = said.casefold()
    complained = list(_complaints(said))
    facets = [facet.name for facet in FACETS if facet.lacks in lowered] or complained
    deficits = {name: 5 - sum(found) / len(found) for name, found in scores.items()}
    if not scores:
        for name in facets:
            criterion = BY_NAME[name].criterion
            deficits[criterion] = deficits.get(criterion, 0.0) + 1.0
    ranked = sorted((pair for pair in deficits.items() if pair[1] > 0), key=lambda pair: -pair[1])
    return Weaknesses(dict(ranked), tuple(facets), informed=bool(scores or facets))


def _complaints(text: str) -> dict[str, None]:
    found: dict[str, None] = {}
    for sentence in _SENTENCES.split(text[:20_000]):
        if len(sentence) < 400 and _COMPLAINS.search(sentence):
            guidance = read_guidance(sentence)
            firm = guidance.asked | guidance.refused
            found.update(dict.fromkeys(name for name, value in firm.items() if value > 0.5))
    return found
