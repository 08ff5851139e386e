"""The scoreboard of the default search: who was judged on what, and what that says of everybody's value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from .beam import Evaluation
from .values import SHRINKAGE, shrunken_values

C = TypeVar("C")
"""A candidate; the board only passes it on."""


class Origin(StrEnum):
    """Where a candidate comes from."""

    SEED = "seed"
    """The student as it was given."""
    REWRITE = "rewrite"
    """One rewrite of its parent."""
    MERGED = "merged"
    """Its parent with what all of its siblings added."""


@dataclass(frozen=True, eq=False)
class Member(Generic[C]):
    """One candidate of the search."""

    number: int
    """Its place on the board; the seed is 0."""
    candidate: C
    """What it is."""
    parent: Member[C] | None
    """What it was made from; None for the seed."""
    origin: Origin
    """How it was made."""
    level: int
    """In which level; 0 for the seed."""

    @property
    def path(self) -> tuple[Member[C], ...]:
        """Return the members from the seed to this one."""
        return (*(self.parent.path if self.parent else ()), self)


class Board(Generic[C]):
    """All members and their evaluations; values are computed anew after each change.

    Args:
        shrinkage: As for `shrunken_values`.
        length: How long a candidate is, which breaks ties. None: it does not count.
    """

    def __init__(self, *, shrinkage: float = SHRINKAGE, length: Callable[[C], int] | None = None) -> None:
        self.members: list[Member[C]] = []
        """In the order they were added, the seed first."""
        self._evaluations: dict[tuple[int, int], Evaluation] = {}
        self._shrinkage = shrinkage
        self._length: Callable[[C], int] = length or (lambda candidate: 0)
        self._values: list[float] | None = None

    def add(
        self, candidate: C, *, parent: Member[C] | None = None, origin: Origin = Origin.SEED, level: int = 0
    ) -> Member[C]:
        """Return a new member."""
        member = Member(len(self.members), candidate, parent, origin, level)
        self.members.append(member)
        self._values = None
        return member

    def mark(self) -> Callable[[], None]:
        """Return what undoes all that happens from now on."""
        count, evaluations = len(self.members), dict(self._evaluations)

        def undo() -> None:
            del self.members[count:]
            self._evaluations, self._values = evaluations, None

        return undo

    def record(self, member: Member[C], query: int, evaluation: Evaluation) -> None:
        """Keep an evaluation; a member has one per query."""
        self._evaluations[member.number, query] = evaluation
        self._values = None

    def evaluations(self, member: Member[C]) -> dict[int, Evaluation]:
        """Return query to evaluation of a member, missing judgements included, by ascending query."""
        return {query: self._evaluations[number, query] for number, query in sorted(self._evaluations)
                if number == member.number}  # fmt: skip

    def rewards(self, query: int) -> list[float]:
        """Return the rewards that members got on a query."""
        return [found.reward for (_, asked), found in sorted(self._evaluations.items(), key=lambda item: item[0])
                if asked == query and found.reward is not None]  # fmt: skip

    def judged(self, member: Member[C], query: int) -> bool:
        """Tell whether a member was judged on a query, or failed to be."""
        return (member.number, query) in self._evaluations

    def count(self, member: Member[C]) -> int:
        """Return on how many queries a member has a reward."""
        return sum(found.reward is not None for found in self.evaluations(member).values())

    def value(self, member: Member[C]) -> float:
        """Return a member's shrunken difference from the seed, in levels of the reward."""
        if self._values is None:
            rewards = {key: found.reward for key, found in self._evaluations.items() if found.reward is not None}
            parents = [member.parent.number if member.parent else None for member in self.members]
            self._values = shrunken_values(rewards, parents, shrinkage=self._shrinkage)
        return self._values[member.number]

    def expected(self, member: Member[C]) -> float:
        """Return the reward, 1 to 5, to expect of a member on the queries that the seed was judged on."""
        seed = [found.reward for found in self.evaluations(self.members[0]).values() if found.reward is not None]
        level = sum(seed) / len(seed) if seed else 0.0
        return min(5.0, max(1.0, level + self.value(member)))

    def differences(self, member: Member[C], other: Member[C]) -> list[float]:
        """Return reward of `member` minus that of `other`, query by query, where both have one."""
        mine, theirs = self.evaluations(member), self.evaluations(other)
        return [
            first - second
            for query, found in mine.items()
            if query in theirs and (first := found.reward) is not None and (second := theirs[query].reward) is not None
        ]

    def ranked(self, members: Iterable[Member[C]]) -> list[Member[C]]:
        """Return members by value, best first; of equals that with more evaluations, the shorter, the earlier one."""

        def order(member: Member[C]) -> tuple[float, int, int, int]:
            return -self.value(member), -self.count(member), self._length(member.candidate), member.number

        return sorted(members, key=order)
