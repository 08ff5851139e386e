"""The final selection of the default mode: which programs run in it, and their race over the run's held-out queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from ..errors import BudgetExceededError
from ..metrics.ledger import Entry
from .beam import Evaluation
from .budget import Budget, Calls, times, together
from .candidates import Candidate, candidate_of, instruct
from .demo_pool import Demonstrations, with_demonstrations
from .held_out import Finalist, Part, Selected, select_finalist
from .plan import held_out_calls
from .pool import Task
from .run import Run, check_criteria
from .steps import total

FIRST = 8
"""Queries on which all finalists are judged at least, before all but one drop out."""
FIRST_SHARE = 1 / 6
"""The same as a share of the held-out queries."""
TWICE = 0.03
"""Share of calls that is left for judgements that are asked for twice, where a cap is to be used up."""


class FinalSelection:
    """The last part of a default-mode run.

    Args:
        run: The run.
        held: The held-out examples.
        budget: What may still be spent.
        evaluation: The calls that it takes to answer and judge a query.
        spare: More held-out examples, for calls that are left.
        fill: Whether a cap is to be used up: what is left then makes the choice among the finalists surer.
        criteria: The calls that it takes to choose the criteria of one.
    """

    def __init__(
        self,
        run: Run,
        held: Sequence[dspy.Example],
        budget: Budget,
        *,
        evaluation: Calls,
        spare: Sequence[dspy.Example] = (),
        fill: bool = False,
        criteria: float = 1.0,
    ) -> None:
        self.held = [*held, *spare]
        """The held-out examples that it may be made on."""
        self._run, self._usual, self._budget, self._evaluation, self._fill = run, len(held), budget, evaluation, fill
        self._each = held_out_calls(evaluation, criteria=criteria)
        self.seed = Finalist(Part.SEED, run.base, run.working, dict(run.root), 0.0)
        """The student as it was given."""

    def finalists(
        self, candidate: Candidate, demonstrations: Demonstrations, *, k: int, search_gain: float
    ) -> list[Finalist]:
        """Return who runs in it, the favourite first; nobody if the search found nothing.

        Args:
            candidate: The best instructions of the search.
            demonstrations: What stage 1 found; may be empty.
            k: Demonstrations shown per query.
            search_gain: What the search holds the instructions to be better than the seed's by, in [-1, 1].
        """
        run = self._run
        new, shown = candidate != run.root, bool(demonstrations)

        def finalist(part: Part, instructions: Candidate, *, demos: bool, gain: float | None) -> Finalist:
            base, working = run.base, run.working
            if demos:
                base, working = (with_demonstrations(one, demonstrations, k=k) for one in (base, working))
            program = instruct(base, instructions)
            return Finalist(part, program, instruct(working, instructions), dict(candidate_of(program)), gain)

        return [
            *([finalist(Part.BOTH, candidate, demos=True, gain=None)] if new and shown else []),
            *([finalist(Part.INSTRUCTION, candidate, demos=False, gain=search_gain)] if new else []),
            *([finalist(Part.DEMONSTRATIONS, run.root, demos=True, gain=None)] if shown else []),
        ]

    def select(self, finalists: Sequence[Finalist]) -> Selected | None:
        """Return the outcome; None if there is nothing to select from, or on, or no calls are left for it."""
        run, evaluation, held = self._run, self._evaluation, len(self.held)
        first = max(FIRST, int(self._usual * FIRST_SHARE)) if len(finalists) > 1 else 0
        others = times(first * (len(finalists) - 1), evaluation)
        number = int(min(held, self._budget.fits(self._each, besides=others)))
        if len(finalists) > 1 and number < min(first, held):  # no calls for a race: the favourite alone
            return self.select(finalists[:1])
        if not finalists or number < 2:
            return None
        if self._fill and len(finalists) > 1 and number == held:
            another, reserved = times(len(finalists) - 1, evaluation), times((1 + TWICE) * number, self._each)
            first += int(min(number - first, self._budget.fits(another, besides=together(others, reserved))))
            others = times(first, another)
        run.progress.begin("final selection", calls=total(times(number, held_out_calls(evaluation))) + total(others))
        run.progress.say(f"final selection: {len(finalists)} finalists and the seed on {number} held-out queries")
        ahead = [
            run.pool.start(f"held-out criteria {query}", run.criteria_of, self.held[query]) for query in range(number)
        ]
        rest = number - min(first, number)
        # A cap that is reached all the same costs the whole rung: then a part is better than nothing.
        parts = 1 if self._budget.unlimited else 4
        rungs = [min(first, number), *(rest * (part + 1) // parts - rest * part // parts for part in range(parts))]

        def start(finalist: Finalist, query: int) -> Judging:
            label = f"held-out {finalist.part.value}/{query}"
            return Judging(run.pool.start(label, run.judge, (finalist.working, self.held[query])))

        selected = select_finalist(
            self.seed, finalists, rungs=[rung for rung in rungs if rung], start=start, bootstrap_seed=run.seed
        )
        run.pool.settle()
        check_criteria([entry for task in ahead if (entry := settled(task)) is not None])
        return selected


class Judging:
    """A judgement under way, as a race waits for it."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def result(self) -> Evaluation:
        """Wait for it."""
        judged = self._task.result()
        return Evaluation(judged.reward, detail=judged)


def settled(task: Task[Entry | None]) -> Entry | None:
    """Return what a task found, None if a cap ended it, which is known already."""
    try:
        return task.result()
    except BudgetExceededError:
        return None
