"""Reading guidance: which facets a text asks for, and how firmly.

    hits of a facet in a clause    e = sum of the weights of its distinct stems (1, or 0.25 for a vague one)
    firmness of the clause         s = 1 - exp(-1.2 e)
    over all clauses               asked_f = 1 - prod(1 - s) over those that ask, refused_f over those that forbid
    guidance on a criterion        G_c = sign(x) (1 - exp(-|x|)),  x = sum over its facets of asked_f - refused_f

so that more stems, more clauses and more facets each help with diminishing returns, and no single phrase is needed.
A negator before a stem turns it ("avoid jargon", "never give examples"); two cancel ("do not leave out examples").
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from .facets import BY_NAME, CRITERIA, FACETS

VAGUE = 0.25
"""Weight of a stem that only hints at a facet."""
FIRMNESS = 1.2
"""How fast further stems make a clause firmer."""

_STEMS: dict[str, list[tuple[str, float, int]]] = defaultdict(list)
for _facet in FACETS:
    for _listed, _weight, _sign in ((_facet.good, 1.0, 1), (_facet.vague, VAGUE, 1), (_facet.bad, 1.0, -1)):
        for _stem in _listed.split("|"):
            _STEMS[_stem.casefold()].append((_facet.name, _weight, _sign))

_FINDER = re.compile(r"\b(?:" + "|".join(re.escape(stem) for stem in sorted(_STEMS, key=len, reverse=True)) + ")")
_CLAUSES = re.compile(
    r"[.;:!?\n\u2022]+|,? (?:but|however|yet|while|instead,?(?! of)) |, and |"
    r", (?=(?:then )?(?:never|avoid|do not|don't|be|give|use|say|show|keep)\b)"
)
_NEGATORS = re.compile(
    r"\b(?:not(?! only| just)|never|nothing|none|steer clear of|avoid\w*|without|no|nor|neither|don't|doesn't|can't|"
    r"won't|shouldn't|refrain|rather than|instead of|"
    r"skip\w*|omit\w*|leav(?:e|ing) out|stop|less|minimi[sz]e|free of|forbid\w*|ignore|neglect\w*)\b"
)
_TURNED_AFTER = re.compile(r"\b(?:(?:is|are|to|should|must) be (?:avoided|left out)|(?:is|are) unwelcome|not wanted)\b")


@dataclass(frozen=True)
class Guidance:
    """What a text asks of an answer."""

    asked: dict[str, float]
    """Facet to how firmly it is asked for, 0 to 1."""
    refused: dict[str, float]
    """Facet to how firmly it is forbidden, 0 to 1."""
    on: dict[str, float]
    """Criterion to guidance, -1 to 1."""
    load: float
    """How many firm directives the text holds in all: repeated ones count again."""
    conflict: float
    """Sum over the facets of what is both asked for and forbidden."""
    words: int
    """Length in words."""


@lru_cache(maxsize=8192)
def read_guidance(text: str) -> Guidance:
    """Return what an instruction asks for.

    Example:
        >>> round(read_guidance("Avoid jargon. Give an example.").on["Clarity"], 2)
        0.5
        >>> read_guidance("Never give examples.").on["Depth"] < 0
        True
    """
    asked: dict[str, float] = {}
    refused: dict[str, float] = {}
    load = 0.0
    for clause in _CLAUSES.split(text.casefold()):
        for name, (firm, sign) in _read_clause(clause).items():
            into = asked if sign > 0 else refused
            into[name] = 1 - (1 - into.get(name, 0.0)) * (1 - firm)
            load += firm
    sums = dict.fromkeys(CRITERIA, 0.0)
    for name in asked.keys() | refused.keys():
        sums[BY_NAME[name].criterion] += asked.get(name, 0.0) - refused.get(name, 0.0)
    return Guidance(
        asked=asked,
        refused=refused,
        on={name: math.copysign(1 - math.exp(-abs(value)), value) for name, value in sums.items()},
        load=load,
        conflict=sum(min(asked[name], refused[name]) for name in asked.keys() & refused.keys()),
        words=len(text.split()),
    )


def _read_clause(clause: str) -> dict[str, tuple[float, int]]:
    """Return facet -> (firmness, +1 asked or -1 forbidden) of one clause."""
    hits = list(_FINDER.finditer(clause))
    if not hits:
        return {}
    spans = [hit.span() for hit in hits]
    # A negator that is part of a stem ("no longer than") has done its work there.
    negators = [
        match.start()
        for match in _NEGATORS.finditer(clause)
        if not any(start <= match.start() < end for start, end in spans)
    ]
    turners = [match.start() for match in _TURNED_AFTER.finditer(clause)]
    evidence: dict[str, dict[str, float]] = defaultdict(dict)
    for hit in hits:
        turns = sum(place < hit.start() for place in negators) + any(place > hit.start() for place in turners)
        turned = -1 if turns % 2 else 1
        for name, weight, sign in _STEMS[hit.group(0)]:
            evidence[name][hit.group(0)] = weight * sign * turned
    read: dict[str, tuple[float, int]] = {}
    for name, found in evidence.items():
        total = sum(found.values())
        if total:
            read[name] = (1 - math.exp(-FIRMNESS * abs(total)), 1 if total > 0 else -1)
    return read


@lru_cache(maxsize=4096)
def criteria_like(text: str) -> tuple[tuple[str, float], ...]:
    """Return the criteria that a name and definition in free words come near, with weights that sum to 1.

    Example:
        >>> criteria_like("Brevity: says it concisely and without padding")[0][0]
        'Conciseness'
    """
    lowered = text.casefold()
    for name in CRITERIA:  # its own name, in any spelling, settles it
        if re.match(rf"\W*{name.casefold().replace('-', '[ -]?')}\b", lowered):
            return ((name, 1.0),)
    guidance = read_guidance(text)
    found = {name: abs(value) for name, value in guidance.on.items() if value}
    total = sum(found.values())
    if not total:
        return (("Helpfulness", 1.0),)
    return tuple(sorted(((name, value / total) for name, value in found.items()), key=lambda pair: (-pair[1], pair[0])))
