"""Screening: candidates that are refused before any call is spent on them.

Speaking to the judge is recognised in English only. It is held against a candidate by kind: under a parent that already
speaks of marks (a program that grades essays, say) marks are its work. A wording is read with its sentence, because the
same words are innocent where they are about somebody else: a student's grades, the criteria in a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ..programs.boundary import neutralise
from ..programs.rules import alike, outline, words
from ..programs.text import normalise

COPIED_WORDS = 8
"""How many words in a row make a copy."""

NEAR = 0.9
"""From which share of common word triples on two instructions are held to be nearly the same."""


class Refusal(StrEnum):
    """Why a candidate is not tried."""

    EMPTY = "empty"
    """It has no letter and no digit."""
    DUPLICATE = "duplicate"
    """It equals a known instruction but for case and spacing."""
    TOO_LONG = "too_long"
    """It has more words than allowed."""
    ADDRESSES_JUDGE = "addresses_judge"
    """It speaks of being judged, or asks for high marks, instead of saying how to answer well."""
    COPIES = "copies"
    """It repeats at least eight words in a row of a training text."""
    NEAR_DUPLICATE = "near_duplicate"
    """It is worded almost like a known instruction and has no rule that the other lacks, nor lacks one."""


class Screen:
    """Refuse instructions that are not worth a call; the first reason in the order of `Refusal` is given.

    Args:
        training_texts: What no instruction may copy: the training queries, the answers of demonstrations.
        max_words: Most words of an instruction, as `programs.rules.words` counts them.

    Example:
        >>> screen = Screen(["How do I repair a bicycle?"], max_words=200)
        >>> screen("Be brief and kind.", known=["Be kind."]), screen("be  KIND.", known=["Be kind."])
        (None, <Refusal.DUPLICATE: 'duplicate'>)
    """

    def __init__(self, training_texts: Sequence[str], *, max_words: int) -> None:
        self.max_words = max_words
        self._copied = {run for text in training_texts for run in _runs(text)}

    def __call__(self, instruction: str, *, known: Iterable[str], parent: str = "") -> Refusal | None:
        """Return why an instruction is refused, None if it is worth trying.

        Args:
            instruction: The candidate.
            known: Instructions that were tried or are about to be.
            parent: The instruction that it was made from: what that already contains is not held against it.
        """
        length = len(words(instruction))
        others = list(known)
        if not length:
            return Refusal.EMPTY
        if any(_look(other).key == normalise(instruction) for other in others):
            return Refusal.DUPLICATE
        if length > self.max_words:
            return Refusal.TOO_LONG
        if (spoken := addresses_judge(instruction)) and spoken - addresses_judge(parent):
            return Refusal.ADDRESSES_JUDGE
        if self._copied and (self._copied & _runs(instruction)) - _runs(parent):
            return Refusal.COPIES
        return Refusal.NEAR_DUPLICATE if any(_nearly(instruction, other) for other in others) else None


@lru_cache(maxsize=1024)
def addresses_judge(instruction: str) -> frozenset[str]:
    """Return in which ways an instruction speaks to its judge: `judge`, `marks`, `criteria`, `override`.

    Example:
        >>> sorted(addresses_judge("The judge will give this a high score.")), sorted(addresses_judge("Judge nobody."))
        (['judge', 'marks'], [])
    """
    parts = outline(_HIDDEN.sub("", neutralise(instruction)))
    sentences = [
        sentence
        for part in (" ".join(parts.opening), *parts.rules)
        for sentence in re.split(r"(?<=[.!?])\s+", normalise(part))
    ]
    return frozenset(
        kind
        for kind, (guilty, innocent) in _SIGNS.items()
        if any(guilty.search(sentence) and not innocent.search(sentence) for sentence in sentences)
    )


@dataclass(frozen=True)
class _Look:
    key: str
    triples: frozenset[tuple[str, ...]]
    parts: tuple[str, ...]


@lru_cache(maxsize=4096)
def _look(text: str) -> _Look:
    found = words(text)
    size = 3 if len(found) >= 3 else 1
    triples = frozenset(tuple(found[place : place + size]) for place in range(len(found) - size + 1))
    pieces = outline(text)
    opening = re.split(r"(?<=[.!?\u3002\uff01\uff1f])\s*|\n", "\n".join(pieces.opening))
    return _Look(normalise(text), triples, tuple(part for part in (*opening, *pieces.rules) if words(part)))


def _nearly(one: str, other: str) -> bool:
    first, second = _look(one), _look(other)
    small, large = sorted((len(first.triples), len(second.triples)))
    if not small or small < NEAR * large:
        return False
    common = len(first.triples & second.triples)
    if common < NEAR * (small + large - common):
        return False
    # One short rule more changes less than a tenth of a long instruction, and yet it is another instruction.
    return all(any(alike(part, twin) for twin in second.parts) for part in first.parts) and all(
        any(alike(part, twin) for twin in first.parts) for part in second.parts
    )


def _runs(text: str) -> set[int]:
    # Hashes, not words: training sets are large. Only membership is asked, so the process's hash seed does not show.
    found = words(text)
    return {hash(tuple(found[place : place + COPIED_WORDS])) for place in range(len(found) - COPIED_WORDS + 1)}


_HIDDEN = re.compile(r"[*`\u200c\u200d\u034f\u180b-\u180f\ufe00-\ufe0f]|\b_+|_+\b")
"""Emphasis, and what splits a word unseen and is left by `neutralise`: joiners and variation selectors."""

_ANSWER = r"(?:answers?|responses?|repl(?:y|ies)|outputs?|completions?)"
_MARK = r"(?:scores?|marks?|grades?|ratings?)"
_WEIGHED = r"(?:judged|graded|scored|marked|rated|evaluated|assessed|ranked)"
_OF_OTHERS = (
    r"students?|learners?|pupils?|teachers?|essays?|homework|school|class|course|exams?|films?|movies?|books?|games?|"
    r"teams?|players?|products?|restaurants?|hotels?|reviews?|credit|users?'s?|their|his|her|patients?|pain"
)

_PATTERNS: dict[str, tuple[tuple[str, ...], str]] = {
    "judge": (
        (
            r"(?:the|your|any|our|this|dear|whichever|ai|llm|human|automated) (?:judge|grader|evaluator|rater)s?",
            r"(?:notes?|message|addressed|appeal) (?:to|for) (?:an? )?(?:judge|grader|evaluator|rater)s?",
            r"(?:judges|graders|evaluators|raters) (?:will|would|can|reward|prefer|like|love|want|look|expect)",
            r"(?:llm|model|ai)[- ]as[- ]an?[- ](?:judge|grader|evaluator)",
            rf"(?:whoever|anyone who|those who) (?:judge|grade|score|rate)s? (?:this|you|(?:the|your) {_ANSWER})",
        ),
        r"courts?|law|laws|legal|lawyers?|jury|trial|lawsuit|hearing|verdict|the judge of",
    ),
    "marks": (
        (
            rf"(?:high|higher|highest|maximum|maximal|max|full|top|perfect|best)(?: possible| overall)? {_MARK}",
            r"(?:full|maximum) points",
            # A verb, not a noun ("the exchange rate it depends on"), and not what the user asks for.
            r"(?:^|(?<=[,;:] )|please |always |and |then |should |must |will |(?<!you )(?<!asked )to )"
            rf"(?:score|rate|grade) (?:this|it|me|(?:the|my|your|its|each|every) {_ANSWER})",
            rf"(?:judge|evaluate|assess) (?:this|my) {_ANSWER}",
            r"(?:[45]|five|four) ?(?:/|out of|of) ?(?:5|five)(?! of\b)",
            r"[1-5] out of 5(?! (?:of|people|adults|users|times|cases))",
            r"10 ?(?:/|out of) ?10|100 ?(?:/|out of) ?100",
            rf"(?:five|5)[- ]star (?:{_ANSWER}|quality|{_MARK})",
            rf"(?:{_MARK}|rewards?) of (?:\d+|five|ten|one hundred)",
            r"(?:will|would|shall) (?:\w+ ){0,2}be (?:judged|graded|scored)",
            rf"(?:you|it|your (?:\w+ )?(?:{_ANSWER}|work|performance)|{_ANSWER}) "
            r"(?:(?:is|are|going|to|will|would|may|might|can|also|always|then) ){0,4}(?:be|is|are|get|gets|being) "
            rf"(?:\w+ly |then |later )?{_WEIGHED}",
            r"(?:maximi[sz]|increas|improv|boost|rais|optimi[sz])(?:e|es|s|ing)? (?:the|its|this|our|my|your) "
            rf"(?:(?:overall|final|total|average) )?(?:rewards?|{_MARK})",
            rf"maximi[sz](?:e|es|ing) (?:rewards?|{_MARK})",
            r"your (?:final |overall |total |average )?(?:scores?|grades?|marks|rewards?)",
            r"(?:scores?|scored|scoring|graded|judged|rated) (?:well|high|highly|higher|better|poorly|low|lower)",
            r"(?:get|earn|receive|achieve|deserve|merit)s? an? (?:5|five|10|ten)(?=[.,!;]|$| on | in | for )",
            rf"(?:get|earn|receive|achieve|deserve|merit)s? (?:an? )?(?:better|good|great|excellent) {_MARK}",
            r"the reward (?:model|function|signal)",
            r"(?:claim|say|state|assert|show|pretend|confirm) that (?:each|every|all|any)(?: of (?:them|these|the))?"
            r"(?: \w+)? (?:is|are|was|has been|have been) (?:\w+ly )?(?:met|fulfilled|satisfied)",
            rf"this {_ANSWER} (?:deserves|merits|should (?:get|receive|be given))",
            rf"(?:give|award|assign|grant) (?:it|this|me|(?:this|the|my) {_ANSWER}) (?:an? |the )?"
            r"(?:5|five|10|ten|highest|maximum|perfect)(?=[.,!;]|$| on | in | for )",
        ),
        _OF_OTHERS,
    ),
    "criteria": (
        (
            r"(?:grading|scoring|judging|marking) (?:criteri(?:a|on)|rubrics?|schemes?|guidelines|standards?|scale)",
            r"(?:evaluation|assessment|rating) (?:rubrics?|schemes?)",
            r"(?:the|these|this|every|each|our) (?:grading |scoring |official )?rubrics?",
            r"(?:the|these|those|all|each|every|our) (?:\w+ )?criteri(?:a|on)(?! of\b)",
            r"(?:this|the|any|your) (?:evaluation|grading|scoring)(?! (?:of|system|policy|policies|scale)\b)",
        ),
        rf"{_OF_OTHERS}|users?|person|people|they|them|request\w*|question|query|task|asked|asks?|given|stated?|gives|"
        r"options?|compar\w+|cho(?:ose|osing|ice)|deci\w+|customers?|you (?:use|used|apply|applied)|evidence|claims?",
    ),
    "override": (
        (
            r"(?:ignore|disregard|forget|override|bypass) (?:(?:all|any|the|your|every|of) ){0,3}"
            r"(?:previous|prior|above|earlier|preceding|other|foregoing|system) "
            r"(?:instructions?|prompts?|rules?|messages?|criteria|directions?|guidelines)",
        ),
        r"never|not|\w+n't|refuse|resist|decline|asks?|asked|tells?|told|attempts?|tries|try|requests?|demands?",
    ),
}
"""For each kind the guilty wordings, and the words that make them innocent in the same sentence."""

_SIGNS = {
    kind: (re.compile(rf"(?<![\w-])(?:{'|'.join(guilty)})(?![\w-])"), re.compile(rf"(?<!\w)(?:{innocent})(?!\w)"))
    for kind, (guilty, innocent) in _PATTERNS.items()
}
