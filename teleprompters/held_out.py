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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from .racing import favourite_among, race
from .result import FEWEST_PAIRS, Comparison

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
    search_gain: float | None
    """What the search held the new instruction to be better than the seed's by; None if there is none."""
    judged: tuple[tuple[Finalist, Mapping[int, Evaluation]], ...] = ()
    """The seed and the finalists, each with its evaluations by the number of the held-out query."""

    @property
    def winner_curse(self) -> float | None:
        """By how much the search thought more of its instruction than held-out queries do; None if too few say so."""
        held = self.differences.get(Part.INSTRUCTION)
        if held is None or self.search_gain is None or held.count < FEWEST_PAIRS:
            return None
        return self.search_gain - held.mean

    @property
    def ablation(self) -> dict[str, dict[str, Any] | None]:
        """The differences as plain data."""
        return {part.value: asdict(found) if found else None for part, found in self.differences.items()}


def split(
    examples: Sequence[dspy.Example], *, num_val: int, num_search: int
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Return the examples of the search, in their order, and those held out.

    Which is which depends on the text of each alone, so that neither shuffling nor resuming can leak one; equal texts
    stay together. The search keeps what it can use, or half of all if that is less.

    Args:
        examples: All of them.
        num_val: How many are to be held out, at most.
        num_search: How many the search can use.

    Example:
        >>> examples = [dspy.Example(query=str(number)).with_inputs("query") for number in range(10)]
        >>> [len(part) for part in split(examples, num_val=60, num_search=6)]
        [5, 5]
    """
    texts = [normalise(query_of(example)) for example in examples]
    distinct = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    spare = len(distinct) - min(num_search, (len(distinct) + 1) // 2)
    held = set(distinct[: min(num_val, spare)] if len(distinct) >= FEWEST else ())
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
    try:
        winner = race(
            board, members, rungs=steps, control=[control], start=lambda member, query: start(member.candidate, query)
        )[0]
    except BudgetExceededError:  # the rungs that were finished still say something
        winner = favourite_among(board, members[0], members)

    def rewards(member: Member[Finalist]) -> list[float | None]:
        found = board.evaluations(member)
        return [
            to_unit(reward) if query in found and (reward := found[query].reward) is not None else None
            for query in range(sum(rungs))
        ]

    before = rewards(control)
    gains = {member: paired_difference(before, rewards(member), seed=bootstrap_seed) for member in members}
    # Of several finalists of a part it is the winner's that counts, if it is one of them.
    differences = {member.candidate.part: gains[member] for member in [*members, winner]}
    after = rewards(winner)
    both = [(one, two) for one, two in zip(before, after, strict=True) if one is not None and two is not None]
    comparison = Comparison(
        mean_reward([one for one, _ in both]), mean_reward([two for _, two in both]),
        gains[winner],
    )  # fmt: skip
    search_gain = next((one.search_gain for one in finalists if one.part is Part.INSTRUCTION), None)
    judged = tuple((member.candidate, board.evaluations(member)) for member in board.members)
    return Selected(winner.candidate, comparison, differences, search_gain, judged)
