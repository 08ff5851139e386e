"""A search in numbers: boards filled by hand, evaluations that are made when asked for, rewards from a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.board import Board, Member

Reward = Callable[[Any, int], float | None]
"""From a candidate and a query to its reward."""


@dataclass(frozen=True)
class Later:
    """An evaluation under way that is made when its result is asked for."""

    make: Callable[[], Evaluation]

    def result(self) -> Evaluation:
        return self.make()


class Stopwatch:
    """Begins evaluations, and writes down what was begun and asked for, in this order.

    Args:
        reward: What an evaluation gives.
        early: Whether evaluations are made when they are begun, rather than when their result is asked for.
    """

    def __init__(self, reward: Reward, *, early: bool = False) -> None:
        self.events: list[tuple[str, Any, int]] = []
        self._reward, self._early = reward, early

    def start(self, member: Member[Any], query: int) -> Later:
        self.events.append(("start", member.candidate, query))
        early = Evaluation(self._reward(member.candidate, query)) if self._early else None

        def make() -> Evaluation:
            self.events.append(("result", member.candidate, query))
            return early or Evaluation(self._reward(member.candidate, query))

        return Later(make)

    @property
    def started(self) -> list[tuple[Any, int]]:
        """(candidate, query) of each evaluation, in the order they were begun."""
        return [(candidate, query) for kind, candidate, query in self.events if kind == "start"]


def family(*parents: int | None, shrinkage: float = 6.0, candidates: Sequence[Any] | None = None) -> Board[Any]:
    """Return a board with a seed and one member per parent given; candidates are numbers unless they are given."""
    board: Board[Any] = Board(shrinkage=shrinkage)
    for number, parent in enumerate([None, *parents]):
        candidate = number if candidates is None else candidates[number]
        board.add(candidate, parent=None if parent is None else board.members[parent], level=int(number > 0))
    return board


def give(board: Board[Any], number: int, rewards: Mapping[int, float | None]) -> None:
    """Record rewards of a member, by query."""
    for query, reward in rewards.items():
        board.record(board.members[number], query, Evaluation(reward))


def hash_reward(salt: str, candidate: object, query: int) -> float:
    """Return the mean of three aspects from 2 to 5, as in the official search's mock."""

    def score(aspect: int) -> int:
        return 2 + int(hashlib.sha256(f"{salt}|{candidate}|q{query}|{aspect}".encode()).hexdigest(), 16) % 4

    return sum(map(score, range(3))) / 3
