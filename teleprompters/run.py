"""One compile under way: the search over the real student, the comparison, and what they leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from ..errors import BudgetExceededError, JudgeError
from ..metrics.judgement import to_unit
from ..metrics.ledger import Entry, Source
from ..metrics.reward import DynamicReward
from ..metrics.statistics import mean_reward, paired_difference
from ..serving.simulated import world_of
from .beam import Evaluation, Level, Node, beam_search
from .candidates import Candidate, candidate_of, instruct
from .evaluation import EASY, Evaluator, Judged
from .pool import TaskPool
from .presets import SearchSettings
from .progress import Progress
from .proposal import Proposals
from .result import Comparison, result_data
from .roles import RunLMs
from .run_directory import RunDirectory
from .trace import trace_data, trace_markdown


class Run:
    """The work of one `compile`, once everything is checked and resolved.

    Args:
        base: The student's copy that candidates are made from.
        lms: The run's LMs, counted.
        pool: Where all of its calls are made.
        evaluator: Answers and judges.
        proposals: Proposes instructions.
        trainset: Queries of the search, in order.
        valset: Held-out queries; may be empty.
        directory: Where it is written down. None: nowhere.
        progress: Told each level.
    """

    def __init__(
        self,
        base: dspy.Module,
        *,
        lms: RunLMs,
        pool: TaskPool,
        evaluator: Evaluator,
        proposals: Proposals,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
        directory: RunDirectory | None,
        progress: Progress,
    ) -> None:
        self._base, self._root = base, candidate_of(base)
        self._working = lms.working(base)
        self._lms, self._pool, self._evaluator, self._proposals = lms, pool, evaluator, proposals
        self._trainset, self._valset = trainset, valset
        self._directory, self._progress = directory, progress
        self._ahead = _CriteriaAhead(lms.reward, trainset)
        self._levels: list[Level[Candidate]] = []

    def search(self, settings: SearchSettings) -> None:
        """Search until the end, or until a cap is reached: the best so far is the result then.

        Raises:
            BudgetExceededError: If a cap is reached before even the student was judged.
            LMError, ProgramFailureError, JudgeError: If there is nothing to judge by.
        """
        self._ahead.reach(settings.depth)
        levels = beam_search(
            self._root,
            num_queries=len(self._trainset),
            propose=self._proposals,
            evaluate=self._evaluate,
            beam_size=settings.beam_size,
            depth=settings.depth,
            max_depth_increase=settings.max_depth_increase,
        )
        try:
            for level in levels:
                self._levels.append(level)
                self._ahead.reach(level.depth)
                self._progress.level(level, self._lms.meter)
                self._save_trace()
        except BudgetExceededError as error:
            if not self._levels:
                raise
            self._progress.say(f"stopped: {error}; the best program so far is returned")
        else:
            self._proposals.check()
        self._evaluator.check()
        self._lms.meter.check()

    def compare(self, *, seed: int) -> Comparison | None:
        """Return the comparison of student and result on the held-out queries; equal ones are judged once.

        Args:
            seed: Seed of the bootstrap.

        Returns:
            None if nothing is held out, or if a cap is reached before all is judged.
        """
        if not self._valset:
            return None
        candidates = [self._root] if self._best.candidate == self._root else [self._root, self._best.candidate]
        programs = [instruct(self._working, candidate) for candidate in candidates]
        tasks = [(program, example) for program in programs for example in self._valset]
        try:
            judged = self._pool.map("held-out judge", lambda task: self._evaluator(*task), tasks)
        except BudgetExceededError as error:
            self._progress.say(f"stopped: {error}; the held-out comparison is left out")
            return None
        rewards = [None if one.reward is None else to_unit(one.reward) for one in judged]
        first, second = rewards[: len(self._valset)], rewards[-len(self._valset) :]
        return Comparison(mean_reward(first), mean_reward(second), paired_difference(first, second, seed=seed))

    def finish(self, comparison: Comparison | None, *, seed: int) -> tuple[dspy.Module, dict[str, Any]]:
        """Return the compiled program and what `result.json` says, both written down if there is a directory."""
        program = instruct(self._base, self._best.candidate)
        result = result_data(
            candidate=self._best.candidate,
            search_value=self._best.value,
            comparison=comparison,
            meter=self._lms.meter,
            models=self._lms.models,
            num_train=len(self._trainset),
            num_val=len(self._valset),
            missing_judgements=self._evaluator.missing_judgements,
            program_errors=self._evaluator.program_errors,
            unusable_proposals=self._proposals.unusable,
            true_gain=self._true_gain(program),
            seed=seed,
        )
        if self._directory is not None:
            self._directory.replace("program.json", program.save)
            if self._lms.reward is not None:
                self._directory.replace("ledger.json", self._lms.reward.ledger.save)
            self._directory.write_json("result.json", result)
        return program, result

    def candidate_programs(self) -> list[dict[str, Any]]:
        """Return the distinct candidates of the last beam, best first, as DSPy's optimizers do."""
        distinct: dict[Candidate, Node[Candidate]] = {}
        for node in self._levels[-1].beam:  # ties stay in the beam's order, so the first is the program returned
            distinct.setdefault(node.candidate, node)
        return [
            {
                "score": to_unit(node.value) if node.count else 0.0,
                "instructions": dict(node.candidate),
                "program": instruct(self._base, node.candidate),
            }
            for node in sorted(distinct.values(), key=lambda node: node.value, reverse=True)
        ]

    @property
    def _best(self) -> Node[Candidate]:
        return self._levels[-1].best

    def _true_gain(self, program: dspy.Module) -> float | None:
        """Return the noise-free gain over the student, which only a simulated task LM's world knows."""
        world = world_of(self._lms.task)
        if world is None:
            return None
        queries = self._valset or self._trainset
        return world.true_quality(program, queries) - world.true_quality(self._base, queries)

    def _evaluate(self, candidates: Sequence[Candidate], number: int) -> list[Evaluation]:
        """Judge the candidates of a level on one query, and fetch criteria ahead meanwhile."""
        example = self._trainset[number]
        tasks: list[Any] = [(instruct(self._working, candidate), example) for candidate in candidates]
        done = self._pool.map(f"level {number} judge", self._judge_or_fetch, [*tasks, *self._ahead.due()])
        _check_criteria([entry for entry in done if isinstance(entry, Entry)])
        return [
            Evaluation(judged.reward, easy=judged.reward is not None and judged.reward > EASY, detail=judged)
            for judged in done
            if isinstance(judged, Judged)
        ]

    def _judge_or_fetch(self, task: Any) -> Judged | Entry:
        return self._ahead.fetch(task) if isinstance(task, dspy.Example) else self._evaluator(*task)

    def _save_trace(self) -> None:
        if self._directory is not None:
            data = trace_data(self._levels)
            self._directory.write_json("trace.json", data)
            self._directory.write_text("trace.md", trace_markdown(data))


class _CriteriaAhead:
    """Fetches the criteria of queries before they are needed, but only of those that the search reaches in any case."""

    def __init__(self, reward: DynamicReward | None, trainset: Sequence[dspy.Example]) -> None:
        self._reward, self._trainset = reward, trainset
        self._fetched = self._certain = 0

    def reach(self, depth: int) -> None:
        """Say that the search will use this many queries, if there are so many."""
        self._certain = min(depth, len(self._trainset)) if self._reward is not None else 0

    def due(self) -> Sequence[dspy.Example]:
        """Return the examples to fetch now, each once."""
        ahead = self._trainset[self._fetched : self._certain]
        self._fetched = max(self._fetched, self._certain)
        return ahead

    def fetch(self, example: dspy.Example) -> Entry:
        """Return the pinned criteria of an example."""
        assert self._reward is not None  # nothing is due without it
        return self._reward.criteria_of(example)


def _check_criteria(fetched: Sequence[Entry]) -> None:
    """Raise if the criteria LM refused each of several queries: then it is no matter of the queries."""
    refused = [entry.analysis for entry in fetched if entry.source is Source.FALLBACK and entry.analysis]
    if len(fetched) > 1 and len(refused) == len(fetched):
        raise JudgeError(
            f"the criteria LM refused all {len(refused)} queries, the last with: {refused[-1]}; check criteria_lm"
        )
