"""Two programs' answers side by side: each pair is judged in both orders, and only what holds in both counts.

    shown (one, other)    shown (other, one)    outcome for `one`
    first                 second                win
    second                first                 loss
    tie                   tie                   tie
    anything else that can be read              inconsistent
    a verdict that cannot be read               missing

A judge that leans towards a place is inconsistent then, instead of right half of the time; the lean itself is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import dspy

from ..programs.judge import Asked
from ..programs.pairwise import Comparison, PairwiseJudge, Preferred
from .statistics import share_interval


class Outcome(StrEnum):
    """What two orders of one pair say of its `one`."""

    WIN = "win"
    """It is preferred in both orders."""
    TIE = "tie"
    """Neither is preferred in either order."""
    LOSS = "loss"
    """The other one is preferred in both orders."""
    INCONSISTENT = "inconsistent"
    """The orders disagree: the judge does not tell."""


_SWAPPED = {Preferred.FIRST: Preferred.SECOND, Preferred.SECOND: Preferred.FIRST, Preferred.TIE: Preferred.TIE}
_OUTCOMES = {Preferred.FIRST: Outcome.WIN, Preferred.SECOND: Outcome.LOSS, Preferred.TIE: Outcome.TIE}


@dataclass(frozen=True)
class Duel:
    """One pair of answers to one query, judged in both orders."""

    query: str
    """What both were asked."""
    forward: Comparison | None
    """The comparison with `one` shown first; None: no verdict could be read."""
    backward: Comparison | None
    """The comparison with `one` shown second; None: no verdict could be read."""

    @property
    def outcome(self) -> Outcome | None:
        """What both orders say together, None if one of them is missing."""
        if self.forward is None or self.backward is None:
            return None
        verdict = self.forward.verdict
        return _OUTCOMES[verdict] if self.backward.verdict is _SWAPPED[verdict] else Outcome.INCONSISTENT

    @property
    def place(self) -> Preferred | None:
        """The place that was preferred in both orders, whichever answer stood there; None if there is none."""
        if self.forward is None or self.backward is None or self.forward.verdict is Preferred.TIE:
            return None
        return self.forward.verdict if self.forward.verdict is self.backward.verdict else None


def duel(judge: PairwiseJudge, *, lm: dspy.BaseLM, query: str, one: str, other: str, criteria: Sequence[Asked]) -> Duel:
    """Return two answers judged in both orders: two calls, more where a verdict cannot be read.

    Args:
        judge: The judge.
        lm: The LM that it asks.
        query: What both were asked.
        one: The answer whose outcome it is.
        other: The answer that it is compared with.
        criteria: What they are compared on, at least one.
    """
    forward = judge(lm=lm, query=query, first=one, second=other, criteria=criteria)
    backward = judge(lm=lm, query=query, first=other, second=one, criteria=criteria)
    return Duel(query, forward, backward)


@dataclass(frozen=True)
class WinRate:
    """How often one of two programs is preferred, and how far the judge can be believed."""

    wins: int
    """Pairs that `one` wins in both orders."""
    ties: int
    """Pairs that are ties in both orders."""
    losses: int
    """Pairs that `one` loses in both orders."""
    inconsistent: int
    """Pairs on which the two orders disagree."""
    missing: int
    """Pairs of which a verdict could not be read; they count nowhere else."""
    win_rate: float | None
    """(wins + ties / 2) / (wins + ties + losses), 0 to 1; None if no pair is consistent."""
    win_rate_ci: tuple[float, float] | None
    """Its 95 % interval; None if no pair is consistent."""
    consistency: float | None
    """Share of the pairs with both verdicts on which the orders agree, 0 to 1; None if there is none."""
    consistency_ci: tuple[float, float] | None
    """Its 95 % interval."""
    first_rate: float | None
    """Share of the verdicts other than `tie` that name the answer shown first, 0 to 1. Both orders are asked of each
    pair, so a judge without a preference for a place has 0.5. None if there is no such verdict."""


def win_rate(duels: Sequence[Duel]) -> WinRate:
    """Return what a set of duels says of their `one`.

    Args:
        duels: One per query.

    Example:
        >>> first, second = Comparison(preferred="first"), Comparison(preferred="second")
        >>> found = win_rate([Duel("a", first, second), Duel("b", first, first)])
        >>> found.wins, found.inconsistent, found.win_rate, found.first_rate
        (1, 1, 1.0, 0.75)
    """
    outcomes = [one.outcome for one in duels]
    wins, ties, losses, unsure = (outcomes.count(outcome) for outcome in Outcome)
    agreed = wins + ties + losses
    read = agreed + unsure
    decided = [
        said.verdict
        for one in duels
        if one.forward is not None and one.backward is not None
        for said in (one.forward, one.backward)
        if said.verdict is not Preferred.TIE
    ]
    return WinRate(
        wins=wins,
        ties=ties,
        losses=losses,
        inconsistent=unsure,
        missing=outcomes.count(None),
        win_rate=(wins + ties / 2) / agreed if agreed else None,
        win_rate_ci=share_interval(wins + ties / 2, agreed),
        consistency=agreed / read if read else None,
        consistency_ci=share_interval(agreed, read),
        first_rate=decided.count(Preferred.FIRST) / len(decided) if decided else None,
    )
