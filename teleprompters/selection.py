"""Which members go on to the next level: strategies of selection, each a line of the paper's ablation.

| `select` | the next beam | |
|---|---|---|
| `beam` | the best by value, at least one of them no sibling of the first | ours |
| `greedy` | the best alone | the paper's greedy search |
| `pareto` | those that are best on some criterion or query, by how often | after GEPA |
| `mc` | the seed, always: independent rewrites of it | the paper's Monte Carlo search |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from ..errors import ConfigError
from .board import Board, C, Member


class Selection(StrEnum):
    """Names of the strategies."""

    BEAM = "beam"
    """Best by value, not all from one parent."""
    GREEDY = "greedy"
    """The best one."""
    PARETO = "pareto"
    """Best somewhere."""
    MC = "mc"
    """Always the seed."""


class Select(Protocol):
    """A strategy."""

    def __call__(self, board: Board[C], leader: Member[C], *, beam_size: int) -> list[Member[C]]:
        """Return the next beam, its best member first.

        Args:
            board: All members and what they got.
            leader: Who won the last race.
            beam_size: At most how many.
        """


def select_beam(board: Board[C], leader: Member[C], *, beam_size: int) -> list[Member[C]]:
    """Return the leader and the best others; if all would be its siblings or itself, the last gives way to another."""
    others = [member for member in board.ranked(board.members) if member is not leader]
    beam = [leader, *others[: beam_size - 1]]
    if beam_size > 1 and all(member.parent is leader.parent for member in beam):
        stranger = next((member for member in others if member.parent is not leader.parent), None)
        beam = [*beam[: beam_size - 1], stranger] if stranger is not None else beam
    return beam


def select_greedy(board: Board[C], leader: Member[C], *, beam_size: int) -> list[Member[C]]:
    """Return the leader."""
    return [leader]


def select_pareto(board: Board[C], leader: Member[C], *, beam_size: int) -> list[Member[C]]:
    """Return the leader and those that are best on most criteria and queries (ties count for all).

    Source: GEPA (2507.19457), Algorithm 2, with criteria as further objectives; the choice is the most frequent ones
    instead of a draw, so that a run repeats.
    """
    objectives: dict[object, dict[int, float]] = defaultdict(dict)
    for member in board.members:
        for objective, value in _objectives(board, member).items():
            objectives[objective][member.number] = value
    wins: Counter[int] = Counter()
    for values in objectives.values():
        best = max(values.values())
        if len(values) > 1:
            wins.update(number for number, value in values.items() if value >= best - 1e-12)
    others = sorted(
        (member for member in board.members if member is not leader),
        key=lambda member: (-wins[member.number], -board.value(member), member.number),
    )
    return [leader, *others[: beam_size - 1]]


def select_monte_carlo(board: Board[C], leader: Member[C], *, beam_size: int) -> list[Member[C]]:
    """Return the seed."""
    return [board.members[0]]


def selection(name: str | None) -> Select:
    """Return the strategy of a name; None is `beam`.

    Raises:
        ConfigError: If there is none.
    """
    try:
        return _STRATEGIES[Selection.BEAM if name is None else Selection(name)]
    except ValueError:
        raise ConfigError(f"select={name!r}: choose one of {', '.join(map(repr, map(str, Selection)))}") from None


_STRATEGIES: Mapping[Selection, Select] = {
    Selection.BEAM: select_beam,
    Selection.GREEDY: select_greedy,
    Selection.PARETO: select_pareto,
    Selection.MC: select_monte_carlo,
}


def _objectives(board: Board[C], member: Member[C]) -> dict[object, float]:
    """Return what a member got: its reward per query, and its mean score per criterion."""
    found: dict[object, float] = {}
    scores: dict[str, list[int]] = defaultdict(list)
    for query, evaluation in board.evaluations(member).items():
        if evaluation.reward is not None:
            found["query", query] = evaluation.reward
        given: Sequence[object] = getattr(evaluation.detail, "scores", ())
        for score in given:
            value = getattr(score, "value", None)
            if value is not None:
                scores[str(getattr(score, "criterion", ""))].append(value)
    return found | {("criterion", name): sum(values) / len(values) for name, values in scores.items()}
