"""Which queries a level judges on: those that can still tell candidates apart, no kind of them forgotten.

1. Saturated queries are set aside: all that were judged there got the highest reward (35 % of the published sibling
   triples tie fully; such a level costs calls and says nothing).
2. The others follow a shuffled order that belongs to the seed and the level.
3. Kinds take turns, so that a batch is not all of one kind; the kind is the example's field `kind` if it has one.

Choosing those first where the program errs and candidates differ was tried: it found nothing better at 400 or 1,600
calls (`docs/results.md`), since what loses points is told to the rewriter anyway.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import dspy

from .board import Board, C

HIGHEST = 5.0 - 1e-9
"""The highest reward; a weighted mean of fives may miss it by a bit."""


class Batches:
    """The minibatches of one search.

    Args:
        examples: The queries of the search.
        seed: Draws the order.
    """

    def __init__(self, examples: Sequence[dspy.Example], *, seed: int) -> None:
        self._seed, self._order = seed, list(range(len(examples)))
        random.Random(seed).shuffle(self._order)
        self._kinds = [str(example.get("kind") or "") for example in examples]

    def first(self, size: int) -> list[int]:
        """Return the queries that the seed is judged on, at most all."""
        return self._by_turns(self._order)[:size]

    def next(self, board: Board[C], size: int) -> list[int]:
        """Return the queries of the next level.

        Args:
            board: What was judged so far; queries that nobody was judged on are not considered.
            size: How many, at most all that were judged.
        """
        seen = [query for query in self._order if board.rewards(query)]
        random.Random(f"{self._seed} {len(board.members)}").shuffle(seen)

        def saturated(query: int) -> bool:
            rewards = board.rewards(query)
            return len(rewards) > 1 and min(rewards) >= HIGHEST

        telling = [query for query in seen if not saturated(query)]
        # Only behind all others: of a kind that is saturated, none takes the turn of a query that tells something.
        return [*self._by_turns(telling), *self._by_turns([query for query in seen if saturated(query)])][:size]

    def _by_turns(self, queries: Sequence[int]) -> list[int]:
        """Return queries with kinds in turn, each kind's in the order given."""
        by_kind: dict[str, list[int]] = defaultdict(list)
        for query in queries:
            by_kind[self._kinds[query]].append(query)
        turns: list[int] = []
        rows = list(by_kind.values())
        for place in range(max(map(len, rows), default=0)):
            turns += [row[place] for row in rows if place < len(row)]
        return turns
