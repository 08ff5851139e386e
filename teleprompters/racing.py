"""Racing: judge contenders on common queries, step by step, so that calls go to those that may still win.

    for each rung of queries:
        everybody left, and the control, answers the rung's queries
        the favourite gives way to one that is better beyond doubt (t-test of the paired differences, 5 %)
        the favourite and the best others go on, half of all
    the favourite wins

The favourite is the contender that is best before any judgement (the merged rewrite in a level, instruction with
demonstrations in the final selection). With four judgements each, the best of several means is more often lucky than
best; a favourite that yields only to evidence loses less to that.

Source: successive halving (Karnin et al. 2013; TRIPLE, 2402.09723, for instructions); paired t-test racing (Maron and
Moore 1994; CAPO, 2504.16005, for instructions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Protocol, TypeVar

from .beam import Evaluation
from .board import Board, Member

C = TypeVar("C")

DOUBT = 0.05
"""With which probability the favourite may give way to one that is no better, per comparison: with three others at its
side and two rungs it does so in about 8 % of races."""


class Pending(Protocol):
    """An evaluation under way."""

    def result(self) -> Evaluation:
        """Wait for it."""


StartFn = Callable[[Member[C], int], Pending]
"""From a member and the index of a query to the evaluation, begun."""


def race(
    board: Board[C],
    contenders: Iterable[Member[C]],
    *,
    rungs: Sequence[Sequence[int]],
    start: StartFn[C],
    control: Sequence[Member[C]] = (),
    favourite_of: Callable[[Sequence[Member[C]]], Member[C]] = lambda members: members[0],
) -> list[Member[C]]:
    """Return the contenders, the winner first, then by how far they came and by value.

    Args:
        board: Where evaluations are kept; none that is there is repeated.
        contenders: Each is judged on the first rung as soon as it arrives.
        rungs: Indices of the queries of each step, one rung or more.
        start: Begins an evaluation.
        control: Members that answer all queries and never drop out: the parents, or the seed.
        favourite_of: Which of the contenders is the favourite. Default: the first.
    """
    first, *others = rungs
    begun = [_begin(board, member, first, start) for member in control]
    arrived: list[Member[C]] = []
    for member in contenders:
        arrived.append(member)
        begun.append(_begin(board, member, first, start))
    _finish(board, begun)
    if not arrived:
        return []
    favourite, left, out = favourite_of(arrived), arrived, list[Member[C]]()
    for rung in others:
        favourite = favourite_among(board, favourite, left)
        ranked = _first(favourite, board.ranked(left))
        half = max(1, len(ranked) // 2)
        left, out = ranked[:half], [*ranked[half:], *out]
        _finish(board, [_begin(board, member, rung, start) for member in [*control, *left]])
    favourite = favourite_among(board, favourite, left)
    return [*_first(favourite, board.ranked(left)), *out]


def _first(favourite: Member[C], ranked: Sequence[Member[C]]) -> list[Member[C]]:
    return [favourite, *(member for member in ranked if member is not favourite)]


def favourite_among(board: Board[C], favourite: Member[C], left: Sequence[Member[C]]) -> Member[C]:
    """Return who leads: the favourite, unless another is better beyond doubt."""
    ahead = {member: _lead(board.differences(member, favourite)) for member in left if member is not favourite}
    best = max(ahead, key=lambda member: (ahead[member], -member.number), default=favourite)
    return best if best is not favourite and ahead[best] > 0 else favourite


def _lead(differences: Sequence[float]) -> float:
    """Return the lower end of the one-sided interval of a mean difference; minus infinity below three pairs."""
    count = len(differences)
    if count < 3:
        return -math.inf
    mean = sum(differences) / count
    variance = sum((difference - mean) ** 2 for difference in differences) / (count - 1)
    return mean - _quantile(count - 1) * math.sqrt(variance / count)


@cache
def _quantile(freedom: int) -> float:
    from scipy import special  # the same number as `stats.t.ppf`, which takes a second to import

    return float(special.stdtrit(freedom, 1 - DOUBT))


_Begun = list[tuple[Member[C], int, Pending]]


def _begin(board: Board[C], member: Member[C], queries: Sequence[int], start: StartFn[C]) -> _Begun[C]:
    return [(member, query, start(member, query)) for query in queries if not board.judged(member, query)]


def _finish(board: Board[C], begun: Sequence[_Begun[C]]) -> None:
    # All or nothing: which of them end before a cap is reached depends on the threads.
    finished = [(member, query, pending.result()) for some in begun for member, query, pending in some]
    for member, query, evaluation in finished:
        board.record(member, query, evaluation)
