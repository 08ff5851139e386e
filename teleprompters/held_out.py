"""The final selection: the best candidates and the seed on queries that the search never saw, judged afresh.

    finalists = what the search found, first what it expects most of; the seed is the control
    race them on the held-out queries (`racing.py`): few queries for all, the rest for the one that is left
    difference = reward of the winner minus that of the seed, query by query
    improved, if the whole 95 % interval of its mean is above 0; else the seed is returned

The value that the search itself gives to its best candidate is no evidence: the maximum of noisy numbers is too high
(winner's curse; SIREN, 2605.05973). The gap between both is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import dspy

from ..errors import BudgetExceededError
from ..metrics.judgement import to_unit
from ..metrics.reward import query_of
from ..metrics.statistics import PairedDifference, mean_reward, paired_difference
from ..programs.text import normalise
from .beam import Evaluation
from .board import Board, Member, Origin
from .racing import race
from .result import Comparison

SHARE = 0.5
"""Which part of the examples is held out at most, if no `valset` is given."""
FEWEST = 4
"""With fewer examples than this nothing is held out."""


class Part(StrEnum):
    """What a finalist has of the two stages."""

    SEED = "seed"
    """Nothing: the student as it was given."""
    INSTRUCTION = "instruction"
    """A new instruction."""
    DEMONSTRATIONS = "demonstrations"
    """Demonstrations under the seed's instruction."""
    BOTH = "both"
    """A new instruction and demonstrations."""


@dataclass(frozen=True, eq=False)
class Finalist:
    """A program that may be returned."""

    part: Part
    """What it has of the two stages."""
    program: dspy.Module
    """It, to be returned."""
    working: dspy.Module
    """The same, its LMs counted."""
    instructions: dict[str, str]
    """Predictor to instruction."""
    search_gain: float | None
    """What the search holds it to be better than the seed by, in [-1, 1]; None where it was not judged there."""


@dataclass(frozen=True)
class Selected:
    """The outcome of the final selection."""

    winner: Finalist
    """The best of the finalists, whatever it is worth beside the seed."""
    comparison: Comparison
    """Seed and winner."""
    differences: dict[Part, PairedDifference | None]
    """What each finalist is better than the seed by, on the held-out queries that it was judged on."""


def split(examples: Sequence[dspy.Example], *, num_val: int) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Return the examples of the search, in their order, and those held out.

    Which is which depends on the text of each alone, so that neither shuffling nor resuming can leak one; equal texts
    stay together. At most `SHARE` of them are held out.

    Args:
        examples: All of them.
        num_val: How many are to be held out.

    Example:
        >>> examples = [dspy.Example(query=str(number)).with_inputs("query") for number in range(10)]
        >>> [len(part) for part in split(examples, num_val=60)]
        [5, 5]
    """
    texts = [normalise(query_of(example)) for example in examples]
    distinct = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    held = set(distinct[: min(num_val, round(SHARE * len(distinct)))] if len(distinct) >= FEWEST else ())
    search = [example for example, text in zip(examples, texts, strict=True) if text not in held]
    return search, [example for example, text in zip(examples, texts, strict=True) if text in held]


def select_finalist(
    seed: Finalist,
    finalists: Sequence[Finalist],
    *,
    rungs: Sequence[int],
    start: Callable[[Finalist, int], Any],
    bootstrap_seed: int,
) -> Selected:
    """Return the winner of the finalists and what it is better than the seed by.

    Args:
        seed: The student.
        finalists: At least one; the favourite first.
        rungs: How many held-out queries each step of the race adds.
        start: Begins the evaluation of a finalist on a query.
        bootstrap_seed: Seed of the interval.
    """
    board: Board[Finalist] = Board()
    control = board.add(seed)
    members = [board.add(finalist, origin=Origin.REWRITE) for finalist in finalists]
    ends = [sum(rungs[: place + 1]) for place in range(len(rungs))]
    steps = [range(end - size, end) for end, size in zip(ends, rungs, strict=True)]
    ranked = race(
        board, members, rungs=steps, control=[control],
        start=lambda member, query: _Affordable(start(member.candidate, query)),
    )  # fmt: skip
    winner = ranked[0]

    def rewards(member: Member[Finalist]) -> list[float | None]:
        found = board.evaluations(member)
        return [
            to_unit(reward) if query in found and (reward := found[query].reward) is not None else None
            for query in range(sum(rungs))
        ]

    before = rewards(control)
    differences = {
        member.candidate.part: paired_difference(before, rewards(member), seed=bootstrap_seed) for member in members
    }
    after = rewards(winner)
    both = [(one, two) for one, two in zip(before, after, strict=True) if one is not None and two is not None]
    comparison = Comparison(
        mean_reward([one for one, _ in both]), mean_reward([two for _, two in both]),
        differences[winner.candidate.part],
    )  # fmt: skip
    return Selected(winner.candidate, comparison, differences)


class _Affordable:
    """An evaluation that counts as missing if a cap was reached before it ended: the others still say something."""

    def __init__(self, pending: Any) -> None:
        self._pending = pending

    def result(self) -> Evaluation:
        try:
            found: Evaluation = self._pending.result()
        except BudgetExceededError:
            return Evaluation(None)
        return found
