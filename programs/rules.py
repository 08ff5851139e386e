"""An instruction as an opening and rules, so that rules of several rewrites can be kept together without an LM."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .text import normalise


@dataclass(frozen=True)
class Outline:
    """What an instruction consists of."""

    opening: tuple[str, ...]
    """The lines that are no bullets, in their order, blank ones included."""
    rules: tuple[str, ...]
    """The texts of the bullets without their marks, one line each."""

    @property
    def text(self) -> str:
        """The opening, then one `- ` line per rule."""
        return "\n".join((*self.opening, *(f"- {rule}" for rule in self.rules)))


def outline(instruction: str) -> Outline:
    r"""Return the opening and the rules of an instruction.

    A bullet is a line that begins with `-`, `*`, `•`, `1.` or `1)`; indented lines below it belong to it. An indented
    bullet is a rule of its own.

    Example:
        >>> outline("You help people.\n- Be kind,\n  and brief.\n2) Ask back.")
        Outline(opening=('You help people.',), rules=('Be kind, and brief.', 'Ask back.'))
    """
    opening, bullets = _parsed(instruction)
    return Outline(opening, tuple(bullet.text for bullet in bullets))


def words(text: str) -> list[str]:
    """Return the words of a text, caseless: runs of letters and digits, with their apostrophes and combining marks.

    Scripts that put no spaces between words (Chinese, Japanese, Thai, ...) give pairs of neighbouring characters, so
    that lengths and overlaps mean about the same in every script.

    Example:
        >>> words("Don't guess: ask!"), words("请简洁")
        (["don't", 'guess', 'ask'], ['请简', '简洁'])
    """
    spaced = _NO_LETTER.sub(_spacing, unicodedata.normalize("NFKC", text).casefold())
    tokens = [token for part in spaced.split() if (token := part.strip("'"))]
    return tokens if spaced.isascii() else [piece for token in tokens for piece in _pieces(token)]


def alike(one: str, other: str) -> bool:
    """Tell whether two rules ask the same in other words.

    They do if they are equal but for case and spacing, or if at least 60 % of the shorter one's distinct words are in
    the other; never if exactly one of them contains a negation. Function words count only in rules of nothing else.

    Example:
        >>> alike("Give a short example.", "Give an example"), alike("Use jargon.", "Never use jargon.")
        (True, False)
    """
    return _same_matter(one, other) and _gist(one)[2] == _gist(other)[2]


def contradicts(one: str, other: str) -> bool:
    """Tell whether two rules speak of the same matter and exactly one of them contains a negation.

    Example:
        >>> contradicts("Use jargon.", "Never use jargon."), contradicts("Use jargon.", "Use short words.")
        (True, False)
    """
    return _same_matter(one, other) and _gist(one)[2] != _gist(other)[2]


def _same_matter(one: str, other: str) -> bool:
    (one_key, one_words, _), (other_key, other_words, _) = _gist(one), _gist(other)
    shorter = min(len(one_words), len(other_words))
    return one_key == other_key or 0 < 6 * shorter <= 10 * len(one_words & other_words)


def added(parent: str, child: str) -> tuple[str, ...]:
    """Return the rules that a rewrite added: those alike to no rule of the parent and to no earlier addition."""
    return _new(list(outline(parent).rules), outline(child).rules)


def merged(parent: str, children: Sequence[str], *, max_rules: int, max_words: int) -> str:
    r"""Return the parent with the rules that its rewrites added, each once.

    The additions of the first child come first. They stand below the parent's last bullet, marked like its bullets;
    nothing of the parent is changed. A rule that contradicts one that is there already is left out: one of both was
    a slip, and together they say nothing.

    Args:
        parent: An instruction.
        children: Rewrites of it.
        max_rules: Most rules of the result, the parent's included.
        max_words: Most words of the result, as `words` counts them. An addition beyond either limit is left out; a
            shorter one after it may still fit. A parent beyond them stays as it is.

    Example:
        >>> merged("Help.\n- Be kind.", ["Help.\n- Ask back.", "Assist!\n- Give examples."], max_rules=8, max_words=99)
        'Help.\n- Be kind.\n- Ask back.\n- Give examples.'
    """
    _, bullets = _parsed(parent)
    known = [bullet.text for bullet in bullets]
    length = len(words(parent))
    additions: list[str] = []
    for child in children:
        for rule in outline(child).rules:
            longer = length + len(words(_marked([*additions, rule], bullets)[-1]))  # a number is a word too
            fits = len(known) < max_rules and longer <= max_words
            if fits and _new(known, [rule]) and not any(contradicts(rule, other) for other in known):
                known.append(rule)
                additions.append(rule)
                length = longer
    if not additions:
        return parent
    lines = parent.rstrip().split("\n") if parent.strip() else []
    below = bullets[-1].end if bullets else len(lines)
    lines[below:below] = _marked(additions, bullets)
    return "\n".join(lines)


@dataclass(frozen=True)
class _Bullet:
    indent: int
    mark: str
    text: str
    end: int  # the number of the line after it


def _parsed(instruction: str) -> tuple[tuple[str, ...], list[_Bullet]]:
    lines = instruction.rstrip().split("\n") if instruction.strip() else []
    opening: list[str] = []
    bullets: list[_Bullet] = []
    number = 0
    while number < len(lines):
        found = _BULLET.match(lines[number])
        if not found:
            opening.append(lines[number])
            number += 1
            continue
        parts = [lines[number][found.end() :].strip()]
        number += 1
        while number < len(lines) and _CONTINUED.match(lines[number]) and not _BULLET.match(lines[number]):
            parts.append(lines[number].strip())
            number += 1
        bullets.append(_Bullet(len(found[1]), found[2] or found[3], " ".join(parts), number))
    return tuple(opening), bullets


def _marked(additions: Sequence[str], bullets: Sequence[_Bullet]) -> list[str]:
    outermost = min((bullet.indent for bullet in bullets), default=0)
    mark = next((bullet.mark for bullet in reversed(bullets) if bullet.indent == outermost), "-")
    if not mark[:-1].isdecimal():
        return [f"{' ' * outermost}{mark} {rule}" for rule in additions]
    first = int(mark[:-1]) + 1
    # Beyond three digits a number is a year rather than a mark, to our own reading too.
    marks = [f"{first + place}{mark[-1]}" if first + place < 1000 else "-" for place in range(len(additions))]
    return [f"{' ' * outermost}{mark} {rule}" for mark, rule in zip(marks, additions, strict=True)]


def _new(known: list[str], rules: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for rule in rules:
        if not any(alike(rule, other) for other in (*known, *found)):
            found.append(rule)
    return tuple(found)


@lru_cache(maxsize=8192)
def _gist(rule: str) -> tuple[str, frozenset[str], bool]:
    found = frozenset(words(rule))
    key = normalise(rule)
    negated = not found.isdisjoint(_NEGATIONS) or any(word.endswith("n't") for word in found) or "不" in key
    return key, (found - _FUNCTION_WORDS) or found, negated


def _spacing(found: re.Match[str]) -> str:
    kind = unicodedata.category(found[0])
    # Vowel signs belong to the word; so do invisible joiners, which would only split it.
    return found[0] if kind[0] == "M" else "" if kind == "Cf" else "'" if found[0] == "\u2019" else " "


def _pieces(token: str) -> list[str]:
    pieces: list[str] = []
    for run in _RUNS.findall(token):
        alone = len(run) < 3 or not _UNSPACED.match(run)
        pieces += [run] if alone else [run[place : place + 2] for place in range(len(run) - 1)]
    return pieces


_BULLET = re.compile(r"(\s*)(?:(•)\s*|([-*]|\d{1,3}[.)])\s+)(?=\S)")
_CONTINUED = re.compile(r"\s+\S")
_NO_LETTER = re.compile(r"[^\w\s']|_")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_RUNS = re.compile(rf"{_UNSPACED.pattern}|[^{_UNSPACED.pattern[1:-2]}]+")
_NEGATIONS = frozenset(
    {"not", "no", "never", "nor", "neither", "none", "without", "avoid", "avoids", "avoiding", "refrain", "cannot"}
    | {"dont", "stop", "skip", "omit", "nicht", "kein", "keine", "keinen", "nie", "niemals", "ne", "pas", "jamais"}
    | {"nunca", "jamás", "non", "não", "не", "никогда", "避免"}
)
_FUNCTION_WORDS = frozenset(
    {
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "by",
        "with",
        "from",
        "as",
        "if",
        "when",
    }
    | {"it", "its", "is", "are", "be", "that", "this", "your", "you", "their", "them", "they", "any", "all"}
)
"""Words that say little of what a rule asks; with them "Explain the refusal" would equal "Explain the premise"."""
