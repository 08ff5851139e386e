"""Order: whether the judge prefers an answer, or the place in which it stands."""

from __future__ import annotations

from ...programs.pairwise import Preferred
from ..pairwise import Outcome, win_rate
from ..statistics import mean_interval
from .evidence import Evidence, Kind, Pair
from .lights import Bounds, Light, Measure, measure

CONSISTENCY = Bounds(0.90, 0.70)
"""Share of clear pairs with the same verdict in both orders. With 0.70 three of ten clear cases are a matter of order
or of chance."""
CLEAR = 0.25
"""By how much the rewards of two answers, judged one by one, differ in a clear pair: a whole level of five."""
ENOUGH = 5
"""Clear pairs that it takes to say something."""
POSITION = Bounds(0.15, 0.30)
"""How much more often one place is preferred in both orders than the other one, as a share of all pairs. Chance alone
falls to both sides alike; from 0.30 on, the place decides a third of the pairs."""


def order_consistency(evidence: Evidence) -> Measure:
    """Return how often both orders give one verdict where the judge itself, one by one, sees a clear difference."""
    clear = [pair.duel for pair in evidence.pairs if abs(_lead(evidence, pair)) >= CLEAR]
    found = win_rate(clear)
    count = found.wins + found.ties + found.losses + found.inconsistent
    told = f"On {count - found.inconsistent} of {count} clear pairs both orders give one verdict"
    return measure(
        "order_consistency", "order consistency", found.consistency if count >= ENOUGH else None,
        found.consistency_ci, bounds=CONSISTENCY, count=count,
        details={"wins": found.wins, "ties": found.ties, "losses": found.losses},
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Believe win rates of both orders only.",
            Light.RED: f"{told}: do not compare with this judge side by side; scores one by one may still do.",
        },
        unmeasured=f"Fewer than {ENOUGH} pairs of answers differ by a level one by one.",
    )  # fmt: skip


def position_preference(evidence: Evidence, *, seed: int) -> Measure:
    """Return how much more often the judge takes one place, whatever stands there, than the other one."""
    signs = {Preferred.FIRST: 1.0, Preferred.SECOND: -1.0}
    leans = [
        0.0 if pair.duel.place is None else signs[pair.duel.place]
        for pair in evidence.pairs
        if pair.duel.outcome is not None
    ]
    lean = sum(leans) / len(leans) if leans else None
    interval = mean_interval(leans, seed=seed)
    side = "first" if (lean or 0) >= 0 else "second"
    size = None if lean is None else abs(lean)
    sized = None
    if lean is not None and interval is not None:
        sized = interval if lean >= 0 else (-interval[1], -interval[0])
    near = win_rate([pair.duel for pair in evidence.pairs if pair.other is Kind.OTHER])
    told = f"It takes the {side} place whatever stands there in {size or 0:.0%} more of the pairs than the other place"
    return measure(
        "position_preference", "position preference", size, sized, bounds=POSITION, count=len(leans),
        details={
            "place": side,
            "inconsistent": sum(pair.duel.outcome is Outcome.INCONSISTENT for pair in evidence.pairs),
            "consistency_of_close_pairs": near.consistency,
        },
        says={
            Light.GREEN: "Neither place is preferred when answers change sides.",
            Light.AMBER: f"{told}. Believe win rates of both orders only.",
            Light.RED: f"{told}: its comparisons tell the order. Compare by scores, or take another judge.",
        },
    )  # fmt: skip


def _lead(evidence: Evidence, pair: Pair) -> float:
    """Return by how much the own answer's reward is higher, 0 where one of them is missing."""
    own, other = evidence.reward(Kind.OWN, pair.query, sample=1), evidence.reward(pair.other, pair.query)
    return 0.0 if own is None or other is None else own - other
