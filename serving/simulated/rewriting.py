"""Rewriting an instruction as a fallible model does: it fixes, forgets, garbles, bloats, and sometimes repeats.

An instruction is a head (sentences) and rules (bullets). A rewrite takes up at most two weaknesses, each with chance
`fix`, by a rule for a facet that the instruction does not ask for yet; each other rule is lost with chance `forget` and
spoilt with chance `garble`. At most eight rules stay: of those that say the same the older goes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from .facets import BY_NAME, OF_CRITERION, Facet
from .feedback import Weaknesses
from .lexicon import read_guidance
from .world import World

MOST_RULES = 8
"""How many rules an instruction is allowed, as the rewriter's prompt says."""

POPULAR = {
    "usable": 4.0, "real need": 3.0, "order": 5.0, "plain words": 6.0, "true": 6.0, "marked doubt": 1.0, "causes": 3.0,
    "examples": 3.0, "breadth": 4.0, "voice": 4.0, "draw in": 1.5, "short": 4.0, "no padding": 2.0, "each part": 3.0,
    "asked form": 2.0, "cannot know": 0.7, "refer on": 0.7, "test premise": 0.5, "weigh": 1.0, "fresh ideas": 1.5,
    "imagery": 0.5, "ask back": 1.5, "offer": 1.0, "feelings": 1.5, "no preaching": 0.7, "respect": 1.5,
    "no assumption": 0.5, "refuse": 1.2, "better way": 0.6,
}  # fmt: skip
"""How readily a model thinks of each facet when nothing tells it what is missing; an assumption."""

_HEADS = (
    "You are the one whom many people turn to with many kinds of questions, day after day.",
    "You answer whatever people bring to you, from small tasks at home to matters that weigh on them for weeks.",
    "Read each message in full, then settle on what a good answer to it would be, and only then begin to write.",
    "Every answer you give stands on its own, and the person who reads it may never write to you twice.",
    "People come to you with different ages, moods and amounts of time, and you meet each of them where they are.",
    "What you write is read on small screens and large ones, in a hurry and at leisure.",
)
_TAILS = (
    ", whatever the subject may be", " in every reply you write", ", also where the message is only a line or two",
    ", from the first sentence to the last", " whenever the occasion arises", ", in small matters as in large ones",
    ", and do so without being told", " each time somebody turns to you",
)  # fmt: skip
_BLOAT = (
    "Keep in mind at all times that the quality of the outcome is of the utmost importance to everybody involved.",
    "As an advanced system you bring considerable capability to any number of subjects, and you apply it throughout.",
    "Bear the overall situation in mind and take all pertinent aspects into account in a suitable manner.",
    "Strive for excellence in whatever you undertake, and hold yourself to the highest standard in each reply.",
)
_GARBLED = (
    "Take the pertinent aspects into account as appropriate.",
    "Handle such points in the usual manner.",
    "Proceed with the points above where it applies.",
)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+(.*\S)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass
class Draft:
    """An instruction in parts."""

    head: list[str]
    """Its sentences outside of rules."""
    rules: list[str]
    """Its rules."""
    bulleted: bool
    """Whether the rules are written as bullets; else they follow the head as prose."""

    def text(self) -> str:
        """Return the instruction as it is written."""
        if not self.bulleted:
            return " ".join([*self.head, *self.rules])
        return "\n".join([" ".join(self.head), *(f"- {rule}" for rule in self.rules)]).strip()


def parse(instruction: str, *, bulleted: bool) -> Draft:
    """Return an instruction in parts; sentences that ask for something count as rules."""
    head: list[str] = []
    rules: list[str] = []
    for line in instruction.splitlines():
        bullet = _BULLET.match(line)
        if bullet:
            rules.append(bullet.group(1))
            continue
        for sentence in _SENTENCE.split(line.strip()):
            if not sentence:
                continue
            firm = max(read_guidance(sentence).asked.values(), default=0.0) > 0.5
            (rules if firm else head).append(sentence)
    return Draft(head, rules, bulleted)


def rewrite(
    world: World, instruction: str, weaknesses: Weaknesses, draw: Random, *, bulleted: bool = True, warmth: float = 0.2
) -> str:
    """Return the next instruction.

    Args:
        world: Its fix, forget, garble, bloat, repeat and guess chances are used.
        instruction: The one in use.
        weaknesses: What feedback says of it.
        draw: Where chance comes from.
        bulleted: Whether rules are written as bullets.
        warmth: Sampling temperature; above 1 the model is more careless.
    """
    if draw.random() < world.repeat:
        return instruction
    careless = 1 + max(0.0, warmth - 1)
    draft = parse(instruction, bulleted=bulleted)
    asked = dict(read_guidance(instruction).asked)
    new = _fixes(world, weaknesses, asked, draw) if weaknesses.informed else _guesses(world, asked, draw)
    draft.rules = [
        _garbled(rule, draw) if draw.random() < world.garble * careless else rule
        for rule in draft.rules
        if draw.random() >= world.forget * careless
    ]
    draft.rules += new
    unused = [head for head in _HEADS if head not in draft.head]
    if unused and (not draft.head or draw.random() < 0.35):
        draft.head.append(draw.choice(unused))
    if draw.random() < world.bloat:
        if draft.rules and draw.random() < 0.4:
            draft.rules.append(draw.choice(draft.rules))
        else:
            draft.head.append(draw.choice(_BLOAT))
    _merge(draft, draw)
    return draft.text()


def rule_for(facet: Facet, draw: Random) -> str:
    """Return one wording of a facet, half the time with words around it."""
    rule = draw.choice(facet.says)
    return rule if draw.random() < 0.5 else f"{rule.rstrip('.')}{draw.choice(_TAILS)}."


def _fixes(world: World, weaknesses: Weaknesses, asked: dict[str, float], draw: Random) -> list[str]:
    rules: list[str] = []
    for criterion, deficit in weaknesses.deficits.items():
        if len(rules) == 2:
            break
        if draw.random() >= world.fix * min(1.0, 0.5 + deficit / 4):
            continue
        named = [facet for facet in OF_CRITERION[criterion] if facet.name in weaknesses.facets]
        options = named if named and draw.random() < 0.7 else list(OF_CRITERION[criterion])
        fresh = [facet for facet in options if asked.get(facet.name, 0.0) < 0.6] or [
            facet for facet in OF_CRITERION[criterion] if asked.get(facet.name, 0.0) < 0.6
        ]
        if fresh or draw.random() < 0.3:  # asking once more in other words sometimes helps a little
            facet = draw.choice(fresh or options)
            asked[facet.name] = 1.0
            rules.append(rule_for(facet, draw))
    if not weaknesses.deficits and draw.random() < 0.4:
        rules += _guesses(world, asked, draw)[:1]
    return rules


def _guesses(world: World, asked: dict[str, float], draw: Random) -> list[str]:
    rules: list[str] = []
    for _ in range(3):
        if draw.random() < world.guess:
            name = draw.choices(list(POPULAR), weights=list(POPULAR.values()))[0]
            if asked.get(name, 0.0) < 0.6:
                asked[name] = 1.0
                rules.append(rule_for(BY_NAME[name], draw))
    return rules


def _garbled(rule: str, draw: Random) -> str:
    if draw.random() < 0.7:
        return draw.choice(_GARBLED)
    return (
        f"Do not {rule[0].lower()}{rule[1:]}"
        if not rule.lower().startswith(("do not", "never", "avoid"))
        else rule.split(" ", 1)[1].capitalize()
    )


def _merge(draft: Draft, draw: Random) -> None:
    """Bring the rules down to eight: of two that ask for the same the older goes, then any that is not the newest."""
    while len(draft.rules) > MOST_RULES:
        asks = [
            frozenset(name for name, firm in read_guidance(rule).asked.items() if firm > 0.5) for rule in draft.rules
        ]
        covered = [place for place, mine in enumerate(asks[:-1]) if any(mine <= later for later in asks[place + 1 :])]
        del draft.rules[covered[0] if covered else draw.randrange(len(draft.rules) - 2)]
