"""Reading the quality of an answer from its text: the base model's cue sentences, and what any text shows.

Answers that the simulated base did not write (demonstrations, other programs' outputs) have few cues or none; there the
judge goes by what a hurried reader sees: length, lists, reasons, examples, hedges, warmth, questions, repetition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from .cues import CONSTANT_WORDS, count_filler, read_cues, read_refusal
from .facets import CRITERIA
from .queries import topic_of

_REFUSES = re.compile(
    r"\b(?:i (?:can't|cannot|won't|will not) (?:help|assist|do|provide)|i'm not able to help)", re.IGNORECASE
)
_REASONS = re.compile(r"\b(?:because|which is why|so that|the reason|therefore|due to|as a result)\b", re.IGNORECASE)
_EXAMPLES = re.compile(r"\b(?:for example|for instance|such as|say,|imagine)\b", re.IGNORECASE)
_HEDGES = re.compile(
    r"\b(?:i (?:cannot|can't|don't) (?:know|see|check|have)|may|might|roughly|check with|ask (?:a|your)|depends on)\b",
    re.IGNORECASE,
)
_WARMTH = re.compile(
    r"\b(?:sorry|understand|feel|glad|good luck|take your time|it is fair|you are not)\b", re.IGNORECASE
)
_ORDER = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)]|#+|\|)\s*\S|\*\*", re.MULTILINE)
_WORDS = re.compile(r"[^\W\d_]{4,}")
_WEIGHING = re.compile(r"\b(?:but|however|on the other hand|trade-off|whereas|although)\b", re.IGNORECASE)


@lru_cache(maxsize=8192)
def read_answer(text: str) -> Mapping[str, float]:
    """Return criterion -> level, 1 to 5, of every criterion, as an answer's text shows it."""
    cues = read_cues(text)
    if not cues:
        return _seen(text)
    # A criterion that no sentence speaks of is judged by the others, drawn to the middle: a halo.
    halo = 3 + 0.6 * (sum(cues.values()) / len(cues) - 3)
    levels = {name: cues.get(name, halo) for name in CRITERIA}
    refusal = read_refusal(text)
    if refusal:
        levels["Safety"] = max(levels["Safety"], 4.0 if refusal == 1 else 4.8)
    excess = max(0, count_filler(text) - 8)
    if excess:
        levels["Conciseness"] = min(levels["Conciseness"], 2.0)
        levels["Clarity"] = max(1.0, levels["Clarity"] - excess / 20)
    return levels


def strays(text: str, query: str) -> bool:
    """Tell whether an answer of the base model is about something else than its query.

    It names the topic in most sentences, so one that holds neither the topic nor any other word that the query has of
    its own answers another query.

    Example:
        >>> strays("I keep it brief on knives.", "How do I clean a wool rug?")
        True
        >>> strays("I keep it brief on wool rug.", "How do I clean a wool rug?")
        False
    """
    lowered = text.casefold()
    own = [word for word in _WORDS.findall(query.casefold()) if word not in CONSTANT_WORDS]
    if not own or not read_cues(text) or topic_of(query) in lowered:
        return False
    return not any(word in lowered for word in own)


def _seen(text: str) -> Mapping[str, float]:
    words = text.casefold().split()
    count = len(words)
    if not count:
        return dict.fromkeys(CRITERIA, 1.0)
    size = min(1.0, count / 120)
    variety = len(set(words)) / count if count > 60 else 1.0
    order = min(1.0, len(_ORDER.findall(text)) / 3)
    reasons, examples = _some(_REASONS, text), _some(_EXAMPLES, text)
    hedges, warmth, weighing = _some(_HEDGES, text), _some(_WARMTH, text), _some(_WEIGHING, text)
    refuses = bool(_REFUSES.search(text))
    looping = max(0.0, 0.35 - variety) * 8
    levels = {
        "Helpfulness": 2.0 + 1.3 * size + 0.7 * order + 0.4 * examples,
        "Clarity": 3.0 + 0.7 * order + 0.6 * variety,
        "Factuality": 3.2 + 0.5 * hedges + 0.4 * reasons,
        "Depth": 1.5 + 1.3 * size + 0.9 * reasons + 0.9 * examples,
        "Engagement": 2.4 + 0.8 * warmth + 0.6 * ("you" in words) + 0.4 * size,
        "Conciseness": 4.6 - max(0.0, count - 250) / 150,
        "Compliance": 2.4 + 1.2 * size + 0.6 * order,
        "Limitations": 1.6 + 2.2 * hedges,
        "Critical-Thinking": 1.8 + 1.2 * weighing + 0.8 * reasons,
        "Creativity": 2.6 + 0.8 * variety * size,
        "Interactivity": 4.2 if text.rstrip().endswith("?") else 2.2,
        "Empathy": 2.4 + 1.8 * warmth,
        "Sensitivity": 4.0 + 0.4 * warmth,
        "Safety": 4.8 if refuses else 4.0,
    }
    return {name: min(5.0, max(1.0, level - looping)) for name, level in levels.items()}


def _some(pattern: re.Pattern[str], text: str) -> float:
    return min(1.0, len(pattern.findall(text)) / 2)
