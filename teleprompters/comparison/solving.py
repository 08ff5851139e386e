"""Settings from a budget: how many queries, candidates and rounds an optimizer can pay for.

    an evaluation = what the program asks to answer one query, and one call of the judge
    all optimizers draw their queries from the training set; how many they judge on grows with the square root of the
    budget, so that more calls buy both more candidates and better judgements of each

The counts of calls are those of DSPy 3.4.1, derived from its source and held by `tests/teleprompters/comparison`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import dspy

from ...errors import ConfigError
from .assignment import Assignment

T = TypeVar("T")


@dataclass(frozen=True)
class Purse:
    """What an entrant can spend, and what things cost."""

    budget: int
    """LM calls over all roles."""
    evaluation: int
    """Calls that answer and judge one query."""
    predictors: int
    """How many predictors the student has."""
    queries: int
    """How many training queries there are."""

    def sample(self, share: float) -> int:
        """Return on how many queries candidates are judged: a share of the square root of the budget, at least four."""
        wanted = round(share * math.sqrt(self.budget * 2 / self.evaluation))
        return max(1, min(max(4, wanted), self.queries * 2 // 3))

    def need(self, name: str, least: int) -> None:
        """Raise unless the budget is enough for the smallest run of an entrant.

        Raises:
            ConfigError: If it is not.
        """
        if self.budget < least:
            raise ConfigError(
                f"budget={self.budget!r}: {name} needs at least {least} LM calls with this program; give it more, or "
                "leave it out"
            )


def purse_of(assignment: Assignment) -> Purse:
    """Return what the entrant of an assignment can spend.

    How many calls a program makes for a query is not known before it has run: one per predictor is supposed.
    """
    predictors = len(assignment.student.predictors())
    return Purse(assignment.budget, max(1, predictors) + 1, max(1, predictors), len(assignment.trainset))


def drawn(assignment: Assignment, *sizes: int) -> list[list[dspy.Example]]:
    """Return disjoint samples of the training set, drawn by the assignment's seed."""
    order = list(assignment.trainset)
    random.Random(f"entrant {assignment.seed}").shuffle(order)
    samples = []
    for size in sizes:
        samples.append(order[:size])
        order = order[size:]
    return samples


def nearest(options: Sequence[tuple[float, T]]) -> T:
    """Return the option with the least distance, the first among equals."""
    return min(options, key=lambda option: option[0])[1]
