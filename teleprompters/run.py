"""What both searches share: one compile under way, from the resolved LMs to the files that it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..errors import JudgeError
from ..metrics.ledger import Entry, Source
from ..metrics.reward import query_of
from ..programs.lm_state import save
from ..programs.outages import is_given_up
from ..serving.calls import current_task
from ..serving.roles import Role
from ..serving.simulated import world_of
from .budget import Budget, Calls, together
from .candidates import Candidate, candidate_of, instruct
from .evaluation import Evaluator, Judged
from .plan import evaluation_calls
from .pool import TaskPool
from .progress import Progress
from .proposal import Writer
from .result import Comparison, Decision, bill_data, result_data
from .roles import RunLMs
from .run_directory import RunDirectory
from .shown_result import ShownResult


@dataclass(frozen=True)
class Outcome:
    """What a search ends with."""

    optimizer: str
    """Its name in `result.json`."""
    program: dspy.Module
    """What is returned."""
    decision: Decision | None
    """What is to be thought of the best candidate; None if nothing can be said."""
    comparison: Comparison | None
    """Seed and best candidate on held-out queries; None if there are none."""
    search_value: float | None
    """What the search itself thinks of its best candidate, in [0, 1]."""
    candidates: list[dict[str, Any]]
    """Distinct candidates, best first: `score`, `instructions`, `program`."""
    num_train: int
    """Queries of the search."""
    num_val: int
    """Queries held out."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further keys of `result.json`."""


class Run:
    """One compile, once everything is checked and resolved.

    Args:
        base: The student's copy that candidates are made from.
        lms: The run's LMs, counted.
        pool: Where all of its calls are made.
        evaluator: Answers and judges.
        writer: Asks for instructions.
        trainset: Examples of the search.
        valset: Held-out examples; may be empty.
        directory: Where it is written down. None: nowhere.
        progress: Told each level.
        seed: The run's seed.
    """

    def __init__(
        self,
        base: dspy.Module,
        *,
        lms: RunLMs,
        pool: TaskPool,
        evaluator: Evaluator,
        writer: Writer,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
        directory: RunDirectory | None,
        progress: Progress,
        seed: int,
    ) -> None:
        self.base, self.root = base, candidate_of(base)
        self.working = lms.working(base)
        """The same with its own LMs counted: what candidates are judged as."""
        self.lms, self.pool, self.evaluator, self.writer = lms, pool, evaluator, writer
        self.trainset, self.valset = trainset, valset
        self.directory, self.progress, self.seed = directory, progress, seed
        self.ended_early: str | None = None
        """Which cap kept the search from another level; None if none did."""

    def affords(self, step: Calls, *, final: Calls) -> bool:
        """Tell whether another step leaves enough for the end of the run; if not, the result will say so."""
        budget, both = Budget(self.lms.meter), together(step, final)
        if budget.fits(both) >= 1:
            return True
        self.ended_early = f"{budget.tightest(both)} leaves no room for another level"
        self.progress.say(f"the search ends here: {self.ended_early}")
        return False

    def rebase(self, base: dspy.Module) -> None:
        """Make candidates from another copy of the student from now on, one with other demonstrations."""
        self.base, self.working = base, self.lms.working(base)

    def judge(self, task: tuple[dspy.Module, dspy.Example]) -> Judged:
        """Return the judged answer of a program to an example, with what it took."""
        judged = self.evaluator(*task)
        return replace(judged, usage=self.lms.meter.of_task(current_task()))

    def check(self) -> None:
        """Raise if there is nothing to judge by: nothing answered, nothing judged, or every request of a role failed.

        Raises:
            LMError, ProgramFailureError, JudgeError: What is wrong.
        """
        self.evaluator.check()
        self.lms.meter.check()

    @property
    def evaluation_calls(self) -> Calls:
        """How many calls it takes to answer and judge a query: a program may make more than it has predictors."""
        usage, judged = self.lms.meter.usage, self.evaluator.judgements
        if not judged:
            return evaluation_calls(task=len(self.root))
        return evaluation_calls(task=usage[Role.TASK].calls / judged, judge=usage[Role.JUDGE].calls / judged)

    @property
    def criteria_calls(self) -> float:
        """How many calls it takes to choose the criteria of a query: fewer than one if some are given.

        What an LM chose counts as not given, else a run that is begun again would plan another way than before.
        """
        reward, examples = self.lms.reward, [*self.trainset, *self.valset]
        if reward is None:
            return 1.0
        entries = [reward.ledger.get(query_of(example)) for example in examples]
        given = sum(entry is not None and entry.source in (Source.USER, Source.OFFICIAL) for entry in entries)
        return 1.0 - given / len(examples)

    def criteria_of(self, example: dspy.Example) -> Entry | None:
        """Return the pinned criteria of an example; None if the request took too long, or the metric has no criteria.

        Whoever judges the example asks again then.
        """
        if self.lms.reward is None:
            return None
        try:
            return self.lms.reward.criteria_of(example)
        except LMError as error:
            if not is_given_up(error):
                raise
            return None

    def write_trace(self, data_of: Callable[[], dict[str, Any]], markdown_of: Callable[[dict[str, Any]], str]) -> None:
        """Write the tree of the search as it is now, if there is a directory for it."""
        if self.directory is not None:
            data = data_of()
            self.directory.write_json("trace.json", data)
            self.directory.write_text("trace.md", markdown_of(data))

    def finish(self, outcome: Outcome) -> tuple[dspy.Module, dict[str, Any]]:
        """Return the compiled program, and its figures with the bill; all is written down if there is a directory."""
        result = result_data(
            optimizer=outcome.optimizer,
            candidate=candidate_of(outcome.program),
            search_value=outcome.search_value,
            decision=outcome.decision,
            comparison=outcome.comparison,
            meter=self.lms.meter,
            models=self.lms.models,
            num_train=outcome.num_train,
            num_val=outcome.num_val,
            missing_judgements=self.evaluator.missing_judgements,
            program_errors=self.evaluator.program_errors,
            unusable_proposals=self.writer.unusable,
            true_gain=self._true_gain(outcome.program),
            stopped=self.lms.meter.stopped or self.ended_early,
            seed=self.seed,
            details=outcome.details,
        )
        bill = bill_data(self.lms.meter, self.lms.models)
        if self.directory is not None:
            self.directory.replace("program.json", partial(save, outcome.program))
            if self.lms.reward is not None:
                self.directory.replace("ledger.json", self.lms.reward.ledger.save)
            self.directory.write_json("bill.json", bill)
            # The last file: a directory that has it is finished.
            self.directory.write_json("result.json", result)
        return outcome.program, ShownResult(result, bill=bill)

    def described(self, candidate: Candidate, score: float | None) -> dict[str, Any]:
        """Return a candidate as `candidate_programs` lists it."""
        return {"score": score, "instructions": dict(candidate), "program": instruct(self.base, candidate)}

    def _true_gain(self, program: dspy.Module) -> float | None:
        """Return the noise-free gain over the student, which only a simulated task LM's world knows."""
        world = world_of(self.lms.task)
        if world is None:
            return None
        queries = self.valset or self.trainset
        return world.true_quality(program, queries) - world.true_quality(self.base, queries)


def check_criteria(fetched: Sequence[Entry]) -> None:
    """Raise if the criteria LM refused each of several queries: then it is no matter of the queries.

    Raises:
        JudgeError: It says why the last one was refused.
    """
    refused = [entry.analysis for entry in fetched if entry.source is Source.FALLBACK and entry.analysis]
    if len(fetched) > 1 and len(refused) == len(fetched):
        raise JudgeError(
            f"the criteria LM refused all {len(refused)} queries, the last with: {refused[-1]}; check criteria_lm"
        )
