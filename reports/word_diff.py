"""Two texts word by word: what stays, what goes and what comes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Change(StrEnum):
    """What becomes of a piece of text."""

    SAME = "same"
    """It stands in both."""
    REMOVED = "removed"
    """It stands in the first only."""
    ADDED = "added"
    """It stands in the second only."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text."""

    change: Change
    """What becomes of it."""
    text: str
    """The text itself."""


def word_diff(before: str, after: str) -> list[Piece]:
    """Return the pieces of two texts, in order; those not removed are `after`, those not added are `before`.

    Example:
        >>> [(piece.change.value, piece.text) for piece in word_diff("Be brief.", "Be very brief.")]
        [('same', 'Be'), ('added', ' very'), ('same', ' brief.')]
    """
    return list(_pieces(_WORDS.findall(before), _WORDS.findall(after)))


def _pieces(before: list[str], after: list[str]) -> Iterator[Piece]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    gone: list[str] = []
    new: list[str] = []
    for tag, first, last, start, end in matcher.get_opcodes():
        same = "".join(before[first:last]) if tag == "equal" else ""
        # A blank between two changed words is part of the change: word by word, half of either is hard to read.
        inside = same.isspace() and (gone or new) and last < len(before) and end < len(after)
        if same and not inside:
            yield from _changed(gone, new)
            gone, new = [], []
            yield Piece(Change.SAME, same)
        else:
            gone += before[first:last]
            new += after[start:end]
    yield from _changed(gone, new)


def _changed(gone: list[str], new: list[str]) -> Iterator[Piece]:
    """Yield what a change removes and adds."""
    if gone:
        yield Piece(Change.REMOVED, "".join(gone))
    if new:
        yield Piece(Change.ADDED, "".join(new))
