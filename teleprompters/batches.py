"""Which queries a level judges on: those that can still tell candidates apart, no kind of them forgotten.

1. Saturated queries are set aside: all that were judged there got the highest reward (35 % of the published sibling
   triples tie fully; such a level costs calls and says nothing).
2. Among the others those come first where the current program errs, and where candidates differed so far.
3. Kinds take turns, so that a batch is not all of one kind; the kind is the example's field `kind` if it has one.
4. Equal ones follow a shuffled order that belongs to the seed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import dspy

from .board import Board, C, Member

HIGHEST = 5.0
"""The highest reward."""


class Batches:
    """The minibatches of one search.

    Args:
        examples: The queries of the search.
        seed: Draws the order of equals.
    """

    def __init__(self, examples: Sequence[dspy.Example], *, seed: int) -> None:
        self._order = list(range(len(examples)))
        random.Random(seed).shuffle(self._order)
        self._kinds = [str(example.get("kind") or "") for example in examples]

    def first(self, size: int) -> list[int]:
        """Return the queries that the seed is judged on, at most all."""
        return self._by_turns(self._order)[:size]

    def next(self, board: Board[C], leader: Member[C], size: int) -> list[int]:
        """Return the queries of the next level, those that tell most first.

        Args:
            board: What was judged so far; queries that nobody was judged on are not considered.
            leader: The best member now.
            size: How many, at most all that are left.
        """
        seen = [query for query in self._order if board.rewards(query)]
        own = board.evaluations(leader)

        def worth(query: int) -> tuple[bool, float]:
            rewards = board.rewards(query)
            saturated = len(rewards) > 1 and min(rewards) >= HIGHEST
            found = own.get(query)
            reward = found.reward if found is not None and found.reward is not None else sum(rewards) / len(rewards)
            return not saturated, (HIGHEST - reward) + (max(rewards) - min(rewards))

        return self._by_turns(sorted(seen, key=worth, reverse=True))[:size]

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
